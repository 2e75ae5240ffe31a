"""The intent contract: what no method may lose or bring in, whoever proposes it.

Pinned words and trigger tokens must stand in a prompt and must not be negated, banned words must not stand in it; that is judged here, on
the string. A trait ("blue eyes") may be put in other words: whether it is still *seen* is the alignment scorer's to say (graph/intent.py).
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

LONGEST = 120  # characters of one clause: more is a prompt, not a word


@dataclass(frozen=True, slots=True)
class Contract:
    """`pins`: words that stay, in any case. `triggers`: tokens of a LoRA or embedding, that stay letter by letter. `bans`: words that may
    not come in. `traits`: what must still be seen."""

    pins: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    bans: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.pins or self.triggers or self.bans or self.traits)

    @property
    def kept(self) -> tuple[str, ...]:
        """What a rewriter is told to keep."""
        return self.pins + self.triggers

    def breach(self, text: str, negative: str = "") -> tuple[Breach, str] | None:
        """The first clause that a prompt breaks, and a line about it for people; None where it keeps all."""
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
        """Itself. Raises BadInput where no prompt could keep it, or a clause is too long to be words."""
        for pin in self.kept:
            if any(ban.strip() and guard.holds(pin, ban) for ban in self.bans):
                raise BadInput(f"{pin!r} is both pinned and banned; give up one of the two")
        for item in fields(self):
            for words in getattr(self, item.name):
                if len(words) > LONGEST:
                    raise BadInput(f"{guard.shown(words)} is too long to be pinned or banned; {LONGEST} characters are the limit")
        return self

    def check_prompt(self, prompt: str) -> None:
        """Raises BadInput where the user's own prompt holds banned words: every candidate would."""
        for ban in self.bans:
            if ban.strip() and guard.holds(prompt, ban):
                raise BadInput(f"the prompt itself holds the banned words {ban!r}; take them out of it, or do not ban them")

    def adding(self, clause: Clause, words: Sequence[str]) -> Contract:
        """With these words; a word is pinned or banned, never both: the later wish counts."""
        new = [text for word in words if (text := " ".join(canonical_text(word).split()))]
        changed = self
        against: dict[Clause, tuple[Clause, ...]] = {"bans": ("pins", "triggers", "traits")}
        for other in against.get(clause, ("bans",)):
            changed = changed.without(other, new)
        own = {guard.key(word): word for word in (*getattr(changed, clause), *new)}
        return replace(changed, **{clause: tuple(own.values())})

    def without(self, clause: Clause, words: Sequence[str]) -> Contract:
        gone = {guard.key(word) for word in words}
        return replace(self, **{clause: tuple(word for word in getattr(self, clause) if guard.key(word) not in gone)})

    def to_json(self) -> dict[str, list[str]]:
        return {item.name: list(getattr(self, item.name)) for item in fields(self)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Contract:
        return cls(**{item.name: tuple(map(str, document.get(item.name, ()))) for item in fields(cls)})
