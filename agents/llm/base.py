"""The interface of chat models: `ask(messages, Schema) -> Schema`.

The answer comes from a server over HTTP or from the offline stand-in; `server.open_chat` decides which.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from pydantic import BaseModel

Answer = TypeVar("Answer", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat.

    `facts`: the structured material from which the text was written (exemplars, rows, directives). A server never gets it; the offline
    stand-in reads nothing else, so that both work from the same evidence.
    """

    role: Literal["system", "user", "assistant"]
    content: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Usage:
    """What the chat model used. `rejected`: unusable answers; `retried`: requests repeated after an error. Thread-safe."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = None
    retried: int = 0
    repaired: int = 0
    rejected: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def add(self, earlier: Usage) -> None:
        """Adds what an earlier process of the same run used."""
        self.count(**{name: amount for name, amount in earlier.counts().items() if amount is not None})

    def count(self, **amounts: float) -> None:
        """Adds `amounts`, by field, in one step."""
        with self._lock:
            for name, amount in amounts.items():
                setattr(self, name, (getattr(self, name) or 0) + amount)

    def counts(self) -> dict[str, float | None]:
        """Returns all fields at one moment."""
        with self._lock:
            return asdict(self)


class ChatModel(Protocol):
    """Answers messages with an instance of a pydantic schema.

    An implementation validates every answer against the schema, asks for a repair at most once and then raises NoAnswer; retries transport
    errors with backoff, then raises NoAnswer; and charges each request to the Budget as one LLM call before sending it.
    """

    name: str
    """Part of every output: the model's name, or `offline`."""

    usage: Usage

    parallel: int
    """Number of questions that may be asked at once, each in its own thread."""

    def ask(self, messages: Sequence[Message], schema: type[Answer], *, temperature: float = 0.0, seed: int | None = None) -> Answer:
        """Returns an answer that fits `schema`.

        Raises NoAnswer where there is no valid one, BudgetSpent where no further call is allowed.
        """
        ...


class NoAnswer(Exception):
    """The chat model gave no usable answer: callers drop and count the candidate and continue. `reason` is one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
