"""The one seam to chat models: `ask(messages, Schema) -> Schema`.

Everything above sees only this; who answers (a server over HTTP, or the offline stand-in) is decided once, in main.py.
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
    """One message. `facts` carries the structured material that the text was written from (exemplars, rows, directives): a server never
    sees it, the offline stand-in reads nothing else, so that both are handed the same evidence."""

    role: Literal["system", "user", "assistant"]
    content: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Usage:
    """What the chat model cost. `rejected` counts answers thrown away, `retried` requests repeated after an error. Thread-safe."""

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
        """Count what an earlier process of the same run used too."""
        self.count(**{name: amount for name, amount in earlier.counts().items() if amount is not None})

    def count(self, **amounts: float) -> None:
        """Count `amounts` (by field), all at once."""
        with self._lock:
            for name, amount in amounts.items():
                setattr(self, name, (getattr(self, name) or 0) + amount)

    def counts(self) -> dict[str, float | None]:
        """All fields as they stand at one moment."""
        with self._lock:
            return asdict(self)


class ChatModel(Protocol):
    """Answers messages with an instance of a pydantic schema.

    Duties: every answer is validated against the schema, repaired at most once, else NoAnswer; transport errors are retried
    with backoff, then NoAnswer; each request that reached a model is spent on the Budget as one LLM call, before it is sent.
    """

    name: str
    """Written into every output: the model's name, or `offline`."""

    usage: Usage

    parallel: int
    """Questions that may be asked at once, each in a thread of its own."""

    def ask(self, messages: Sequence[Message], schema: type[Answer], *, temperature: float = 0.0, seed: int | None = None) -> Answer:
        """Raises NoAnswer when no valid answer could be had, BudgetSpent when no further call is allowed."""
        ...


class NoAnswer(Exception):
    """The chat model gave nothing usable: the candidate is dropped and counted, the run goes on. `reason` is one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
