"""Computes which words act at which step, from a text, its spans and the times of the steps. No tokens, no tensors.

Step k of N begins at the elapsed fraction k/N of the denoising. A span acts at the steps that begin within the half-open lo..hi. In the
reference code's numbers, with a = 1 - hi and b = 1 - lo of noise remaining, these are the steps from N - floor(b N) to N - 1 - floor(a N)
(PAE, Mo et al. 2024, its executor), in rational instead of floating arithmetic. So ranges that share a border divide the steps without
gap or overlap for every N. N counts model calls: second-order samplers make more of them than the steps that were asked for.
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
    """Steps `start`..`stop`, half open, at which the same words act.

    `text`: those words with the full text's separators unchanged, as if the others were deleted by hand. `spans`: the emphasis, with
    offsets into this text. `breaks`: offsets into it at which another chunk begins.
    """

    start: int
    stop: int
    text: str
    spans: tuple[EffectSpan, ...] = ()
    breaks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Acting:
    """One row of a step table: the words act at steps `start`..`stop`, half open; at none where both are equal."""

    words: str
    weight: Fraction
    start: int
    stop: int
    negative: bool = False


def elapsed_by_step(steps: int) -> tuple[Fraction, ...]:
    """Returns the elapsed fraction at which each of `steps` model calls begins, equally spaced. Raises ValueError for fewer than 1."""
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    return tuple(Fraction(step, steps) for step in range(steps))


def elapsed_by_sigma(sigmas: Iterable[float]) -> tuple[Fraction, ...]:
    """Returns the elapsed fraction at which each model call begins, by noise level: 1 - sigma / first sigma.

    Every given sigma counts as a call, a final 0 too. Raises ValueError unless they start above 0 and never rise.
    """
    levels = [as_fraction(float(sigma)) for sigma in sigmas]
    if not levels or levels[0] <= 0 or any(left < right for left, right in pairwise(levels)):
        raise ValueError("sigmas must fall from a positive one")
    return tuple(1 - level / levels[0] for level in levels)


def acting(span: EffectSpan, places: Sequence[Fraction]) -> range:
    """Returns the steps at which `span` acts; empty where no step begins within its range.

    `places`: times of the steps, in rising order.
    """
    # hi = 1 is the end of the last step, wherever that begins
    stop = len(places) if span.hi == 1 else bisect_left(places, span.hi)
    return range(min(bisect_left(places, span.lo), stop), stop)


def segments(
    text: str, spans: Sequence[EffectSpan], places: Sequence[Fraction], cuts: Iterable[int] = (), breaks: Sequence[int] = ()
) -> tuple[Segment, ...]:
    """Divides the steps into the fewest runs at which the same words act.

    `cuts`: further steps at which a run must begin. `breaks`: offsets into `text` at which another chunk begins.
    """
    ranges = [acting(span, places) for span in spans]
    borders = {0, len(places), *(cut for cut in cuts if 0 < cut < len(places))}
    for steps in ranges:
        if steps:
            borders |= {steps.start, steps.stop}
    return tuple(_segment(start, stop, text, spans, ranges, breaks) for start, stop in pairwise(sorted(borders)))


def timetable(conditioning: Conditioning, places: Sequence[Fraction]) -> tuple[Acting, ...]:
    """Returns a row for each stretch of the prompt, then of the negative prompt, with its emphasis and steps.

    Blanks and commas between triples have no row.
    """
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


def _segment(
    start: int, stop: int, text: str, spans: Sequence[EffectSpan], ranges: Sequence[range], breaks: Sequence[int]
) -> Segment:
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
    return Segment(start, stop, "".join([*kept, text[position:]]), tuple(emphasis), _moved(start, spans, ranges, breaks))


def _moved(start: int, spans: Sequence[EffectSpan], ranges: Sequence[range], breaks: Sequence[int]) -> tuple[int, ...]:
    """Returns the breaks as offsets into the text without the words that do not act at step `start`."""
    gone = [(span.start, span.end) for span, steps in zip(spans, ranges, strict=True) if start not in steps]
    return tuple(place - sum(min(max(place - first, 0), last - first) for first, last in gone) for place in breaks)
