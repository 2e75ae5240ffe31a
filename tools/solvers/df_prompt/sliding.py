"""Slides one word's range from the first step to the last while all else stays, to show when the word matters."""

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
    """Returns the span whose sliding shows most: spans with a range first, then the weight furthest from 1; None without spans."""

    def rank(span: EffectSpan) -> tuple[bool, Fraction]:
        return (span.lo, span.hi) != (0, 1), abs(span.weight - 1)

    return max(conditioning.spans, key=rank, default=None)


def slide(conditioning: Conditioning, span: EffectSpan, places: int = PLACES) -> Sequence[Slid]:
    """Returns `places` evenly spaced windows of `span` from start to end, as long as its own range, or half where that is everything."""
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
