"""The DPO-Diff solver with what a run brings: words asked of its chat model, and for an attack the meaning filter.

Knows nothing of how the search works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from agents.messages import ChatModel, Message, NoAnswer
from graph.state import Context
from promptdb.errors import BadInput
from tools.budget import BudgetSpent
from tools.dpo_diff.build import PARTS
from tools.dpo_diff.meaning import meaning_kept
from tools.dpo_diff.settings import SEARCHES, DpoSettings, SearchName
from tools.dpo_diff.solver import DpoDiff, anything
from tools.lexicon.asked import ask_lexicon
from tools.lexicon.lexicon import WordSource
from tools.lexicon.offline import offline

METHOD = "dpo-diff"
OBJECTIVE = "spherical_clip"
"""What the paper minimises; the objective of this method where none is named."""

OFFLINE = "offline"
Answer = TypeVar("Answer", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class DpoOptions:
    """What a person may choose. `attack`: the sign reversed, meaning kept. Raises BadInput for a space or a search that does not exist."""

    space: str = DpoSettings().space
    search: str = DpoSettings().search
    attack: bool = False

    def __post_init__(self) -> None:
        parts = self.space.split("+")
        if not set(parts) <= set(PARTS) or len(set(parts)) != len(parts):
            raise BadInput(f"there is no search space {self.space!r}: join some of {', '.join(PARTS)} with +, as in antonym+library")
        if self.search not in SEARCHES:
            raise BadInput(f"there is no search {self.search!r}; choose one of {', '.join(SEARCHES)}")

    def to_json(self) -> dict[str, Any]:
        return {"space": self.space, "search": self.search, "attack": self.attack}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> DpoOptions:
        return cls(**{name: document[name] for name in ("space", "search", "attack") if name in document})


def with_solver(context: Context, options: DpoOptions) -> Context:
    """The same context, whose solver of this method follows the options."""

    # Who names a space gets all of it; by default a prompt's words give way to such alone as the checkpoint is known to read as the same.
    taught = not options.attack and options.space == DpoSettings().space

    def solver() -> DpoDiff:
        settings = DpoSettings(options.space, cast(SearchName, options.search))
        return DpoDiff(settings, word_source(context, taught), meaning_kept if options.attack else anything)

    return replace(context, solvers={**context.solvers, METHOD: solver})


def word_source(context: Context, taught: bool = True) -> Callable[[str], WordSource]:
    """Candidates for a prompt's words: the chat model's lists where there is one, else WordNet's file with the checkpoint's own groups.
    `taught`: synonyms too are words that the checkpoint was taught, none where it does not say which."""
    fallback = offline(context.card.vocabulary(), taught)

    def source(prompt: str) -> WordSource:
        if context.chat.name == OFFLINE:
            return fallback
        try:
            return ask_lexicon(prompt, _Asking(context.chat), context.chat.name, context.db, fallback)
        except BudgetSpent:
            return fallback

    return source


@dataclass(frozen=True)
class _Asking:
    """One question to the chat model; None where it has no valid answer."""

    chat: ChatModel

    def __call__(self, question: str, schema: type[Answer], seed: int) -> Answer | None:
        try:
            return self.chat.ask([Message("user", question)], schema, temperature=1.0 if seed else 0.0, seed=seed)
        except NoAnswer:
            return None
