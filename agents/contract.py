"""The intent contract: what no method may lose from a prompt or bring into it.

Pinned words and trigger tokens must occur in a prompt and must not be negated, banned words must not occur; this module checks that on the
text. A trait ("blue eyes") may be reworded: the alignment scorer decides whether it can still be *seen* (graph/intent.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from limner.agents import guard
from limner.promptdb.errors import BadInput
from limner.promptdb.records import canonical_text

Clause = Literal["pins", "triggers", "bans", "traits"]
Breach = Literal["lost pin", "negated pin", "lost trigger", "banned word", "lost trait"]

LONGEST = 120  # most characters of a clause


@dataclass(frozen=True, slots=True)
class Contract:
    """`pins`: words that must stay, in any case. `triggers`: tokens of a LoRA or embedding that must stay letter by letter. `bans`: words
    that must not occur. `traits`: what must still be visible.
    """

    pins: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    bans: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.pins or self.triggers or self.bans or self.traits)

    @property
    def kept(self) -> tuple[str, ...]:
        """The pins and triggers, which a rewriter is asked to preserve."""
        return self.pins + self.triggers

    def breach(self, text: str, negative: str = "") -> tuple[Breach, str] | None:
        """Returns the first violation by a prompt, as (kind, a line for people); None where there is none."""
        for pin in self.pins:
            if not guard.holds(text, pin):
                return "lost pin", f"lost the pinned words {pin!r}"
            if pin.strip() and guard.holds(negative, pin):
                return "negated pin", f"has the pinned words {pin!r} in its negative prompt"
        for trigger in self.triggers:
            if canonical_text(trigger) not in canonical_text(text):
                return "lost trigger", f"lost the trigger token {trigger!r}"
        for ban in self.bans:
            if ban.strip() and guard.holds(text, ban):
                return "banned word", f"holds the banned words {ban!r}"
        return None

    def check(self) -> Contract:
        """Returns the contract itself. Raises BadInput where no prompt could satisfy it, or a clause is too long."""
        for pin in self.kept:
            if any(ban.strip() and guard.holds(pin, ban) for ban in self.bans):
                raise BadInput(f"{pin!r} is both pinned and banned; give up one of the two")
        for item in fields(self):
            for words in getattr(self, item.name):
                if len(words) > LONGEST:
                    raise BadInput(f"{guard.shown(words)} is too long to be pinned or banned; {LONGEST} characters are the limit")
        return self

    def check_prompt(self, prompt: str) -> None:
        """Raises BadInput where the user's own prompt has banned words, as every candidate then would."""
        for ban in self.bans:
            if ban.strip() and guard.holds(prompt, ban):
                raise BadInput(f"the prompt itself holds the banned words {ban!r}; take them out of it, or do not ban them")

    def adding(self, clause: Clause, words: Sequence[str]) -> Contract:
        """Returns the contract with `words` added to a clause and removed from contradicting clauses: the later wish counts."""
        new = [text for word in words if (text := " ".join(canonical_text(word).split()))]
        changed = self
        against: dict[Clause, tuple[Clause, ...]] = {"bans": ("pins", "triggers", "traits")}
        for other in against.get(clause, ("bans",)):
            changed = changed.without(other, new)
        own = {guard.key(word): word for word in (*getattr(changed, clause), *new)}
        return replace(changed, **{clause: tuple(own.values())})

    def without(self, clause: Clause, words: Sequence[str]) -> Contract:
        """Returns the contract with `words` removed from a clause."""
        gone = {guard.key(word) for word in words}
        return replace(self, **{clause: tuple(word for word in getattr(self, clause) if guard.key(word) not in gone)})

    def to_json(self) -> dict[str, list[str]]:
        """Returns the contract as a JSON-able dict."""
        return {item.name: list(getattr(self, item.name)) for item in fields(self)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Contract:
        """Returns the contract of a dict made by `to_json`; missing clauses are empty."""
        return cls(**{item.name: tuple(map(str, document.get(item.name, ()))) for item in fields(cls)})
