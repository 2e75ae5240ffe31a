"""How faithfully a prompt converts to another dialect, and why not better."""

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
    """One remark on a conversion; at level `exact` nothing is lost. `words`: the words it concerns, '' for the whole prompt."""

    level: Level
    why: str
    words: str = ""

    def to_json(self) -> dict[str, str]:
        """Returns the remark as a JSON-able dict."""
        return {"level": self.level, "why": self.why, "words": self.words}


def worst(reasons: Iterable[Reason]) -> Level:
    """Returns the level of a whole conversion: the worst of its remarks, `exact` without any."""
    return max((reason.level for reason in reasons), key=LEVELS.index, default="exact")


def distinct(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Returns each remark once, the worst first."""
    return tuple(sorted(dict.fromkeys(reasons), key=lambda reason: -LEVELS.index(reason.level)))


@dataclass(frozen=True, slots=True)
class Written:
    """A prompt in another dialect. `output`: a text, or a JSON-able value for node graphs and step lists; `negative`: the negative prompt
    where it is separate.
    """

    output: Any
    negative: str = ""
    reasons: tuple[Reason, ...] = ()
