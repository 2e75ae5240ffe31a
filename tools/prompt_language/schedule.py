"""Which words act at which step: pure arithmetic on a text, its spans and the places of the steps. No tokens, no tensors.

A step stands at the elapsed part of the denoising at which it begins: step k of N at k/N. A span acts at the steps that begin within
lo..hi, half open. In the reference code's numbers, with a = 1 - hi and b = 1 - lo of noise left, these are the steps from
N - floor(b N) up to N - 1 - floor(a N) (PAE, Mo et al. 2024, its executor), with rational instead of floating arithmetic. So ranges
that meet at a border share the steps out without gap or overlap, whatever N. N counts model calls: solvers of second order make more
than the steps that were asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from limner.promptdb.records import Conditioning, EffectSpan, as_fraction


@dataclass(frozen=True, slots=True)
class Segment:
    """Steps `start`..`stop`, half open, at which the same words act. `text`: those words with the separators of the full text, as it
    stands, so that removing words by hand gives the same. `spans`: the emphasis on them, offsets into this text."""

    start: int
    stop: int
    text: str
    spans: tuple[EffectSpan, ...] = ()


@dataclass(frozen=True, slots=True)
class Acting:
    """One row of a step table: these words act at steps `start`..`stop`, half open, and nowhere where the two are equal."""

    words: str
    weight: Fraction
    start: int
    stop: int
    negative: bool = False


def elapsed_by_step(steps: int) -> tuple[Fraction, ...]:
    """Where each of `steps` model calls begins, in equal shares. Raises ValueError below 1."""
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    return tuple(Fraction(step, steps) for step in range(steps))


def elapsed_by_sigma(sigmas: Iterable[float]) -> tuple[Fraction, ...]:
    """Where each model call begins, by its noise level: 1 - sigma / first sigma. `sigmas` fall; a closing 0 counts as a call if given."""
    levels = [as_fraction(float(sigma)) for sigma in sigmas]
    if not levels or levels[0] <= 0 or any(left < right for left, right in pairwise(levels)):
        raise ValueError("sigmas must fall from a positive one")
    return tuple(1 - level / levels[0] for level in levels)


def acting(span: EffectSpan, places: Sequence[Fraction]) -> range:
    """Steps at which `span` acts; empty where no step begins within its range. `places` do not fall."""
    # hi = 1 is the end of the last step, wherever that begins
    stop = len(places) if span.hi == 1 else bisect_left(places, span.hi)
    return range(min(bisect_left(places, span.lo), stop), stop)


def segments(text: str, spans: Sequence[EffectSpan], places: Sequence[Fraction], cuts: Iterable[int] = ()) -> tuple[Segment, ...]:
    """The steps shared out into the fewest runs through which the same words act; `cuts`: further steps at which a run must begin."""
    ranges = [acting(span, places) for span in spans]
    borders = {0, len(places), *(cut for cut in cuts if 0 < cut < len(places))}
    for steps in ranges:
        if steps:
            borders |= {steps.start, steps.stop}
    return tuple(_segment(start, stop, text, spans, ranges) for start, stop in pairwise(sorted(borders)))


def timetable(conditioning: Conditioning, places: Sequence[Fraction]) -> tuple[Acting, ...]:
    """Each stretch of the prompt and then of the negative prompt, in order, with its emphasis and its steps. Blanks and commas between
    triples are left out."""
    rows = list[Acting]()
    for text, spans, negative in (
        (conditioning.text, conditioning.spans, False),
        (conditioning.negative, conditioning.negative_spans, True),
    ):
        position = 0
        for span in (*spans, EffectSpan(len(text), len(text) + 1)):
            between = text[position : span.start].strip(" ,\n")
            if between:
                rows.append(Acting(between, Fraction(1), 0, len(places), negative))
            if span.start < len(text):
                steps = acting(span, places)
                rows.append(Acting(text[span.start : span.end], span.weight, steps.start, steps.stop, negative))
            position = span.end
    return tuple(rows)


def _segment(start: int, stop: int, text: str, spans: Sequence[EffectSpan], ranges: Sequence[range]) -> Segment:
    kept, emphasis, position, length = list[str](), list[EffectSpan](), 0, 0
    for span, steps in zip(spans, ranges, strict=True):
        between, words = text[position : span.start], text[span.start : span.end]
        kept.append(between)
        length += len(between)
        position = span.end
        if start in steps:
            if span.weight != 1:
                emphasis.append(replace(EffectSpan(length, length + len(words)), weight=span.weight))
            kept.append(words)
            length += len(words)
    return Segment(start, stop, "".join([*kept, text[position:]]), tuple(emphasis))
