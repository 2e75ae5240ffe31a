"""Joins the parts of a prompt, each with its effect, to one text with spans; all readers of dialects use it.

Numbers are exact fractions: 0.29 of 100 steps is 29 steps, which floats would make 28. A LocatedError says what is wrong with a prompt and
where.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from limner.promptdb.errors import BadInput
from limner.promptdb.records import EffectSpan, canonical_text

AROUND = 32  # characters examined on either side of a border; no language puts more combining marks on a letter


class Effect(NamedTuple):
    """How words act: during lo..hi of the *elapsed* denoising (0 = pure noise, 1 = finished), with emphasis `weight`."""

    lo: Fraction = Fraction(0)
    hi: Fraction = Fraction(1)
    weight: Fraction = Fraction(1)


PLAIN = Effect()


class Part(NamedTuple):
    """A piece of a prompt's text with its effect."""

    text: str
    effect: Effect = PLAIN


def assemble(parts: Iterable[Part]) -> tuple[str, tuple[EffectSpan, ...]]:
    """Returns the canonical text of the joined parts, and a span for each part whose effect is not plain.

    Spans exclude blanks at the ends of their part. Raises BadInput where a letter and its accent lie in different parts, since no character
    offset can separate them.
    """
    parts = list(parts)
    if broken_borders(parts):
        raise BadInput("a bracket stands between a letter and its accent; take both into the brackets or neither")
    spans, position = [], 0
    for text, effect in parts:
        start = position + len(text) - len(text.lstrip())
        end = position + len(text.rstrip())
        position += len(text)
        if start < end:
            spans.append(EffectSpan(start, end, *effect))
    return settle("".join(part.text for part in parts), spans)


def settle(text: str, spans: Iterable[EffectSpan]) -> tuple[str, tuple[EffectSpan, ...]]:
    """Returns the canonical form of a text in NFC, and the spans adjusted to it; spans of nothing but removed outer blanks are dropped."""
    settled = canonical_text(text)
    shift = len(text) - len(text.lstrip())
    kept = []
    for span in spans:
        start, end = max(0, span.start - shift), min(len(settled), span.end - shift)
        if start < end and not span.is_plain:
            kept.append(EffectSpan(start, end, span.lo, span.hi, span.weight))
    return settled, tuple(kept)


def broken_borders(parts: list[Part]) -> list[int]:
    """Returns the indices of parts whose first character merges with the part before under NFC.

    Empty where the joined text is normalized already; all indices where the place cannot be found.
    """
    text = "".join(part.text for part in parts)
    if unicodedata.is_normalized("NFC", text):
        return []
    found, position = [], 0
    for number, (left, right) in enumerate(pairwise(parts), start=1):
        position += len(left.text)
        if right.text and not unicodedata.is_normalized("NFC", text[max(0, position - AROUND) : position + AROUND]):
            found.append(number)
    return found or list(range(1, len(parts)))


NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)(?:/\d+)?"
"""Digits with an optional point, or a fraction such as 1/3 for what no decimal can express. No sign, no exponent, no NaN."""

LONGEST = 1000  # most characters of a number; Python refuses to parse more than about 4300 digits

DECIMALS = 12  # a longer decimal is written as a fraction instead

_NUMBER = re.compile(NUMBER, re.ASCII)


def read_number(text: str) -> Fraction | None:
    """Returns the number that `text` is, ignoring outer blanks; None where it is not a number."""
    text = text.strip()
    if len(text) > LONGEST or not _NUMBER.fullmatch(text):
        return None
    whole, _, below = text.partition("/")
    if not below:
        return Fraction(whole)
    return Fraction(whole) / int(below) if int(below) else None


def write_number(value: Fraction) -> str:
    """Returns the shortest text that `read_number` reads as `value`: a decimal where one of a few digits is exact, else p/q."""
    decimal, exact = write_decimal(value)
    return decimal if exact else f"{value.numerator}/{value.denominator}"


def write_decimal(value: Fraction, decimals: int = DECIMALS) -> tuple[str, bool]:
    """Returns `value` with at most `decimals` decimals, and whether that is exact."""
    scaled = value * 10**decimals
    digits = f"{round(scaled):0{decimals + 1}d}"
    whole, part = digits[:-decimals], digits[-decimals:].rstrip("0")
    return f"{whole}.{part}" if part else whole, scaled.denominator == 1


CONTEXT = 24  # characters shown on either side of the place


@dataclass(frozen=True, slots=True)
class Problem:
    """`at`: character offset into the prompt without outer blanks. `reason`: what is wrong and how to correct it, one line."""

    at: int
    reason: str


class LocatedError(BadInput):
    """A prompt that cannot be read. The message is one line with the character's number (from 1); `shown` marks the place with a caret."""

    def __init__(self, source: str, problem: Problem) -> None:
        self.source, self.problem = source, problem
        before, after = _excerpt(source, problem.at)
        super().__init__(f"character {problem.at + 1}: {problem.reason} (here: {before}⟨{after[:1] or 'the end'}⟩{after[1:]})")

    @property
    def at(self) -> int:
        """Character offset of the problem, from 0."""
        return self.problem.at

    @property
    def shown(self) -> str:
        """Two lines: the place in the prompt, and a caret below it."""
        before, after = _excerpt(self.source, self.at)
        return f"{before}{after}\n{' ' * _columns(before)}^"


def _excerpt(source: str, at: int) -> tuple[str, str]:
    before, after = source[max(0, at - CONTEXT) : at], source[at : at + CONTEXT]
    before = ("…" if at > CONTEXT else "") + before
    after += "…" if at + CONTEXT < len(source) else ""
    return _one_line(before), _one_line(after)


def _one_line(text: str) -> str:
    """Replaces every blank and control character by one blank, so that offsets stay."""
    return "".join(" " if char.isspace() or unicodedata.category(char)[0] == "C" else char for char in text)


def _columns(text: str) -> int:
    """Returns the number of terminal columns that `text` takes."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) != 0 for char in text)
