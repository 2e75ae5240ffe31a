"""The intent contract: what no method may lose from a prompt or bring into it.

Pinned words and trigger tokens must occur in a prompt and must not be negated, banned words must not occur; this module checks that on the
text. What a prompt itself says to the letter, such as a count or "no people", is pinned or banned without being asked for
(intent_words.py), until it is let go of. A trait ("blue eyes") may be reworded: the alignment scorer decides whether it can still be *seen*
(graph/intent.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from limner.agents import guard
from limner.agents.clause import Clause as Automatic
from limner.agents.clause import unnegated
from limner.promptdb.errors import BadInput
from limner.promptdb.records import canonical_text

Clause = Literal["pins", "triggers", "bans", "traits"]
Breach = Literal["lost pin", "negated pin", "lost trigger", "banned word", "lost trait"]

WRITTEN = ("pins", "triggers", "bans", "traits", "let_go")
"""What a person asks for, by field."""

LONGEST = 120  # most characters of a clause


@dataclass(frozen=True, slots=True)
class Contract:
    """`pins`: words that must stay, in any case. `triggers`: tokens of a LoRA or embedding that must stay letter by letter. `bans`: words
    that must not occur. `traits`: what must still be visible. `let_go`: words and kinds that are not kept by themselves. `automatic`: what
    a prompt keeps by itself, without these.
    """

    pins: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    bans: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()
    let_go: tuple[str, ...] = ()
    automatic: tuple[Automatic, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.pins or self.triggers or self.bans or self.traits or self.automatic)

    @property
    def kept(self) -> tuple[str, ...]:
        """The pins and triggers that were asked for, which a rewriter is asked to preserve."""
        return self.pins + self.triggers

    @property
    def fixed(self) -> tuple[str, ...]:
        """The words that a search must not replace: pins, triggers, and what the prompt keeps by itself."""
        return tuple(dict.fromkeys((*self.kept, *(word for item in self.automatic for word in item.fixed))))

    @property
    def unwanted(self) -> tuple[str, ...]:
        """The words that must not come in: what the negative prompt of a candidate holds."""
        return tuple(dict.fromkeys((*filter(str.strip, self.bans), *(item.words for item in self.automatic if item.is_ban))))

    def of(self, clauses: Sequence[Automatic]) -> Contract:
        """Returns the contract with the clauses that a prompt makes by itself, without those that are let go of, and those that
        contradict what was asked for.
        """
        return replace(self, automatic=tuple(item for item in clauses if not item.let_go_by(self.let_go) and not self._against(item)))

    def _against(self, item: Automatic) -> bool:
        if item.is_ban:
            return any(guard.holds(pin, item.words) for pin in self.kept)
        return any(ban.strip() and guard.holds(item.phrase, ban) for ban in self.bans)

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
        for item in self.automatic:
            if item.broken_by(text):
                what = "holds" if item.is_ban else "lost"
                return "banned word" if item.is_ban else "lost pin", f"{what} {item.words!r} ({item.kind})"
            if item.kind not in ("negation", "network") and guard.holds(negative, item.words):
                return "negated pin", f"has {item.words!r} ({item.kind}) in its negative prompt"
        left = self._unnegated(text)
        for ban in self.bans:
            if ban.strip() and guard.holds(left, ban):
                return "banned word", f"holds the banned words {ban!r}"
        return None

    def _unnegated(self, text: str) -> str:
        """The text without the stretches in which the prompt itself says that something is not to be there."""
        said = [item.phrase for item in self.automatic if item.is_ban]
        return unnegated(text, *said) if said else text

    def check(self) -> Contract:
        """Returns the contract itself. Raises BadInput where no prompt could satisfy it, or a clause is too long."""
        for pin in self.kept:
            if any(ban.strip() and guard.holds(pin, ban) for ban in self.bans):
                raise BadInput(f"{pin!r} is both pinned and banned; give up one of the two")
        for name in WRITTEN:
            for words in getattr(self, name):
                if len(words) > LONGEST:
                    raise BadInput(f"{guard.shown(words)} is too long to be pinned or banned; {LONGEST} characters are the limit")
        return self

    def check_prompt(self, prompt: str) -> None:
        """Raises BadInput where the user's own prompt has banned words, as every candidate then would."""
        for ban in self.bans:
            if ban.strip() and guard.holds(self._unnegated(prompt), ban):
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
        """Returns what was asked for as a JSON-able dict; what a prompt keeps by itself is read from the prompt."""
        return {name: list(getattr(self, name)) for name in WRITTEN if name != "let_go" or self.let_go}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Contract:
        """Returns the contract of a dict made by `to_json`; missing clauses are empty."""
        pins, triggers, bans, traits, let_go = (tuple(map(str, document.get(name, ()))) for name in WRITTEN)
        return cls(pins, triggers, bans, traits, let_go)
