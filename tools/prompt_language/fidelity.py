"""How much of a prompt another dialect can say, and why not more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

Level = Literal["exact", "off-by-one", "approximate", "unsupported"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""From best to worst. off-by-one: a border may fall one step away. approximate: the same words, with another strength or at somewhat
other times. unsupported: something is lost."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing to know about a conversion; at level `exact` it loses nothing. `words`: where in the prompt, if at one place."""

    level: Level
    why: str
    words: str = ""

    def to_json(self) -> dict[str, str]:
        return {"level": self.level, "why": self.why, "words": self.words}


def worst(reasons: Iterable[Reason]) -> Level:
    """The level of a whole conversion."""
    return max((reason.level for reason in reasons), key=LEVELS.index, default="exact")


def distinct(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Each reason once, the worst first."""
    return tuple(sorted(dict.fromkeys(reasons), key=lambda reason: -LEVELS.index(reason.level)))


@dataclass(frozen=True, slots=True)
class Written:
    """A prompt in another dialect. `output`: a text, or for node graphs and step lists a JSON-able value; `negative` where apart."""

    output: Any
    negative: str = ""
    reasons: tuple[Reason, ...] = ()
