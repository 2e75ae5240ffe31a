"""Merges prompts that follow one another in time into one prompt with ranges, for dialects that have no ranges.

Words are aligned from prompt to prompt. The result is scheduled again and compared with the input, so that a wrong alignment raises an
error instead of giving a wrong prompt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from fractions import Fraction

from limner.promptdb.errors import BadInput
from limner.promptdb.records import EffectSpan
from limner.tools.prompt_language.assemble import Effect, Part, assemble
from limner.tools.prompt_language.schedule import segments

UNITS = 1000
"""Most words, blanks and marks of one prompt: alignment takes quadratic time."""

_UNIT = re.compile(r"\w+|\s|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Turn:
    """The prompt from `start`, a fraction of the elapsed denoising, until the next turn."""

    start: Fraction
    parts: tuple[Part, ...]


@dataclass(slots=True)
class _Unit:
    text: str
    weight: Fraction
    turns: set[int]


def merge(turns: Sequence[Turn]) -> tuple[str, tuple[EffectSpan, ...]]:
    """Returns canonical text and spans of one prompt that at each turn has the turn's words, blanks aside.

    `turns` are in order, the first at 0. Raises BadInput where no single prompt does: words that come, go and return, or change place.
    """
    known = list[_Unit]()
    for number, turn in enumerate(turns):
        new = [_Unit(text, part.effect.weight, {number}) for part in turn.parts for text in _UNIT.findall(part.text)]
        if len(new) > UNITS or len(known) > UNITS:
            raise BadInput(f"prompts of more than {UNITS} words and marks are not aligned with one another")
        known = _aligned(known, new)
    parts = list[Part]()
    for unit in known:
        first, last = min(unit.turns), max(unit.turns) + 1
        if len(unit.turns) != last - first:
            raise BadInput(f"{unit.text!r} goes and comes again, which one range cannot say; convert the prompts one by one")
        end = turns[last].start if last < len(turns) else Fraction(1)
        effect = Effect(turns[first].start, end, unit.weight)
        if parts and parts[-1].effect == effect:
            parts.append(Part(parts.pop().text + unit.text, effect))
        else:
            parts.append(Part(unit.text, effect))
    text, spans = assemble(parts)
    places = [turn.start for turn in turns]
    for number, turn in enumerate(turns):
        [segment] = [at for at in segments(text, spans, places) if at.start <= number < at.stop]
        if segment.text.split() != "".join(part.text for part in turn.parts).split():
            raise BadInput("the prompts differ in more than words that come and go; convert them one by one")
    return text, spans


def _aligned(known: list[_Unit], new: list[_Unit]) -> list[_Unit]:
    """Merges both lists in order, with shared units once."""
    before, after = ([(unit.text, unit.weight) for unit in units] for units in (known, new))
    merged = list[_Unit]()
    for kind, left, left_end, right, right_end in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            for old, again in zip(known[left:left_end], new[right:right_end], strict=True):
                merged.append(_Unit(old.text, old.weight, old.turns | again.turns))
        else:
            merged += known[left:left_end] + new[right:right_end]
    return merged
