"""One word's range, slid from the first step to the last while all else stays: to see when it matters. Pure arithmetic on spans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from limner.promptdb.records import Conditioning, EffectSpan

PLACES = 5


@dataclass(frozen=True, slots=True)
class Slid:
    """The prompt with its word acting during lo..hi of the elapsed denoising."""

    lo: Fraction
    hi: Fraction
    conditioning: Conditioning


def telling_span(conditioning: Conditioning) -> EffectSpan | None:
    """The span of the text whose sliding shows most: one with a range before one that only weighs, the heaviest or lightest first."""

    def rank(span: EffectSpan) -> tuple[bool, Fraction]:
        return (span.lo, span.hi) != (0, 1), abs(span.weight - 1)

    return max(conditioning.spans, key=rank, default=None)


def slide(conditioning: Conditioning, span: EffectSpan, places: int = PLACES) -> Sequence[Slid]:
    """`span` in `places` windows from start to end, evenly: as long as its own range, or half of the whole where that is all or none."""
    length = span.hi - span.lo
    if length in (0, 1):
        length = Fraction(1, 2)
    found = []
    for place in range(places):
        lo = (1 - length) * Fraction(place, places - 1)
        moved = replace(span, lo=lo, hi=lo + length)
        spans = tuple(moved if other == span else other for other in conditioning.spans)
        found.append(Slid(lo, lo + length, replace(conditioning, spans=spans)))
    return found
