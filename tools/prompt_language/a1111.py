"""A1111's prompt language, read and written: prompt editing becomes a range of steps, emphasis becomes a weight.

`[x:f]` adds x after f steps, `[x::g]` removes it after g, `[[x::g]:f]` does both; `(x:1.2)` multiplies the embeddings of x and restores
the mean, as DF-Prompt does by default. Numbers of steps convert exactly; A1111 floors fractions, where DF-Prompt rounds a border up.
Words for every other step, `[a|b]`, have no counterpart and are refused. Tags, BREAK and AND are opaque parts (opaque.py).
Sources: stable-diffusion-webui, wiki "Prompt editing" and modules/prompt_parser.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from limner.promptdb.records import Conditioning, EffectSpan, canonical_text
from limner.tools.prompt_language.assemble import assemble, write_decimal
from limner.tools.prompt_language.emphasis import a1111_parts
from limner.tools.prompt_language.fidelity import Reason, Written, distinct
from limner.tools.prompt_language.schedule import acting, elapsed_by_step

LATER = Reason("exact", "A1111's samplers apply every edit one call later than its documented number says (its issue 7279)")
FLOORED = "A1111 floors a fraction of the steps where DF-Prompt rounds up; name the steps (--steps) for exact borders"
SIGMA = Reason("unsupported", "ranges of the noise level are written as if they were of the steps, which A1111 alone knows")
MODES = {
    "mean_restore": None,
    "none": Reason("exact", "set A1111's emphasis mode to 'No norm', which these weights mean"),
    "norm_restore": Reason("approximate", "A1111 restores the mean of the embedding, and these weights its norm"),
    "lerp_from_empty": Reason("approximate", "A1111 scales the embedding, and these weights move it away from the empty prompt's"),
}

_SPECIAL = re.compile(r"[\\()\[\]|]")
_SPECIAL_INSIDE = re.compile(r"[\\()\[\]|:]")
_KEYWORDS = re.compile(r"\b(?:AND|BREAK)\b")
_TAG = re.compile(r"<(\w+):")
_WEAKER = Fraction(10, 11)
"""The weight of a pair of square brackets, which no decimal expresses."""


def write_a1111(conditioning: Conditioning, steps: int | None = None) -> Written:
    """Returns the prompt in A1111's language, for a run of `steps` model calls.

    Without `steps`, times are written as fractions, which fit any number of steps, but only nearly.
    """
    reasons = list[Reason]()
    texts = []
    for text, spans in ((conditioning.text, conditioning.spans), (conditioning.negative, conditioning.negative_spans)):
        texts.append(_write(text, spans, steps, reasons))
    spans = conditioning.spans + conditioning.negative_spans
    if any(span.weight != 1 for span in spans) and (mode := MODES[conditioning.weight_mode]):
        reasons.append(mode)
    if conditioning.range_unit == "sigma":
        reasons.append(SIGMA)
    if any((span.lo, span.hi) != (0, 1) for span in spans):
        reasons.append(LATER)
    return Written(texts[0], texts[1], distinct(reasons))


def _write(text: str, spans: Sequence[EffectSpan], steps: int | None, reasons: list[Reason]) -> str:
    written, position = [], 0
    for span in spans:
        written.append(_plain(text[position : span.start], reasons, _SPECIAL))
        words = text[span.start : span.end]
        emphasized = _emphasis(words, span.weight, reasons)
        written.append(_timed(words, emphasized, span, steps, reasons))
        position = span.end
    return "".join([*written, _plain(text[position:], reasons, _SPECIAL)])


def _plain(text: str, reasons: list[Reason], special: re.Pattern[str]) -> str:
    escaped = special.sub(r"\\\g<0>", text)
    escaped = _TAG.sub(r"<\1\\:", escaped)
    if _KEYWORDS.search(escaped):
        # CLIP's tokenizer lower-cases all text, so the tokens stay the same.
        reasons.append(Reason("exact", "AND and BREAK divide a prompt in A1111, so they are written in lower case, which CLIP reads alike"))
        escaped = _KEYWORDS.sub(lambda match: match[0].lower(), escaped)
    return escaped


def _emphasis(words: str, weight: Fraction, reasons: list[Reason]) -> str:
    if weight == 1:
        return _plain(words, reasons, _SPECIAL_INSIDE)
    inner = _plain(words, reasons, _SPECIAL_INSIDE)
    for depth in (1, 2, 3):
        if weight == _WEAKER**depth:
            return "[" * depth + inner + "]" * depth
    decimal, exact = write_decimal(weight)
    if not exact:
        reasons.append(Reason("approximate", f"the weight {weight} is rounded to {decimal}", words))
    return f"({inner}:{decimal})"


def _timed(words: str, written: str, span: EffectSpan, steps: int | None, reasons: list[Reason]) -> str:
    if (span.lo, span.hi) == (0, 1):
        return written
    first: str | None
    last: str | None
    if steps is None:
        if span.lo == span.hi:
            reasons.append(Reason("exact", "acts at no step, and is left out", words))
            return ""
        first, last = _fraction(words, span.lo, reasons), _fraction(words, span.hi, reasons)
        reasons.append(Reason("off-by-one", FLOORED, words))
    else:
        active = acting(span, elapsed_by_step(steps))
        if not active:
            reasons.append(Reason("exact", f"acts at none of {steps} steps, and is left out", words))
            return ""
        first = str(active.start) if active.start else None
        last = str(active.stop) if active.stop < steps else None
    written = f"[{written}::{last}]" if last else written
    return f"[{written}:{first}]" if first else written


def _fraction(words: str, value: Fraction, reasons: list[Reason]) -> str | None:
    """Writes a time as a fraction; None at either end of the denoising."""
    if value in (0, 1):
        return None
    decimal, exact = write_decimal(value, 4)
    if not exact or decimal in ("0", "1"):
        reasons.append(Reason("approximate", f"the time {value} is rounded to {decimal}", words))
    return decimal if 0 < Fraction(decimal) < 1 else None


FLOORED_REASON = Reason("off-by-one", FLOORED)


def read_a1111(text: str, negative: str = "", steps: int | None = None) -> tuple[Conditioning, tuple[Reason, ...]]:
    """Returns the Conditioning of a prompt in A1111's language, and what does not convert exactly.

    `steps`: model calls of the run, for times given as step numbers. Raises LocatedError for what cannot be read, and BadInput where a
    bracket separates a letter from its accent.
    """
    reasons = list[Reason]()
    found = []
    for source in (text, negative):
        parts, remarks = a1111_parts(canonical_text(source), steps)
        reasons += remarks
        found.append(assemble(parts))
    (words, spans), (others, other_spans) = found
    conditioning = Conditioning(words, others, spans, other_spans)
    if any((span.lo, span.hi) != (0, 1) for span in conditioning.spans + conditioning.negative_spans):
        reasons.append(LATER)
        if steps is None:
            reasons.append(FLOORED_REASON)
    return conditioning, distinct(reasons)
