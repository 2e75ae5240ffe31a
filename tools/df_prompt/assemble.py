"""From parts of a prompt, each with its effect, to one text with spans: where all readers of dialects meet."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from promptdb.errors import BadInput
from promptdb.records import EffectSpan, canonical_text

AROUND = 32  # characters looked at on either side of a border; more marks than that on one letter are nobody's language


class Effect(NamedTuple):
    """How words act: during the part lo..hi of the *elapsed* denoising (0 = pure noise), with this emphasis."""

    lo: Fraction = Fraction(0)
    hi: Fraction = Fraction(1)
    weight: Fraction = Fraction(1)


PLAIN = Effect()


class Part(NamedTuple):
    text: str
    effect: Effect = PLAIN


def assemble(parts: Iterable[Part]) -> tuple[str, tuple[EffectSpan, ...]]:
    """Canonical text of the parts one after the other, and a span for each part that does not act plainly. Blanks at the ends of such
    a part belong to no span.

    Raises BadInput where a letter and its accents lie in different parts, which no offset can tell apart.
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
    """The canonical form of a text in NFC, and the spans on it: those of nothing but outer blanks are gone with the blanks."""
    settled = canonical_text(text)
    shift = len(text) - len(text.lstrip())
    kept = []
    for span in spans:
        start, end = max(0, span.start - shift), min(len(settled), span.end - shift)
        if start < end and not span.is_plain:
            kept.append(EffectSpan(start, end, span.lo, span.hi, span.weight))
    return settled, tuple(kept)


def broken_borders(parts: list[Part]) -> list[int]:
    """Numbers of the parts whose first character merges with the part before; none where the joined text is normalized, all where it
    cannot be told which."""
    text = "".join(part.text for part in parts)
    if unicodedata.is_normalized("NFC", text):
        return []
    found, position = [], 0
    for number, (left, right) in enumerate(pairwise(parts), start=1):
        position += len(left.text)
        if right.text and not unicodedata.is_normalized("NFC", text[max(0, position - AROUND) : position + AROUND]):
            found.append(number)
    return found or list(range(1, len(parts)))
