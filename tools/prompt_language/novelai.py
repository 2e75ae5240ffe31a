"""NovelAI's notation, read and written: `{words}` strengthens by 1.05, `[words]` weakens by it, `1.3::words::` states a weight.

Every character is text or syntax; a bracket that is never closed acts to the end, and one that closes nothing is passed by, as NovelAI
does. Source: NovelAI's documentation, "Strengthening and weakening vectors" and "Numerical emphasis".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from limner.promptdb.records import Conditioning, EffectSpan, canonical_text
from limner.tools.prompt_language.assemble import Effect, Part, assemble, read_number, write_decimal
from limner.tools.prompt_language.fidelity import Reason, Written, distinct

STEP = Fraction(105, 100)
MOST_STEPS = 40
"""Brackets around one word that count; 1.05 ** 40 is 7."""

STATED = Reason("approximate", "NovelAI does not say how its weights act on the embedding; they are read as those that restore its mean")
NEGATIVE = Reason("unsupported", "a negative weight (-1::words::) has no counterpart here; the words are left out")

_TOKEN = re.compile(r"(-?\d{1,6}(?:\.\d{1,6})?)::|(::)|([{}\[\]])")


def read_novelai(text: str, negative: str = "") -> tuple[Conditioning, tuple[Reason, ...]]:
    """Returns the Conditioning of prompts in NovelAI's notation, and what is not exact. Raises BadInput as `assemble` does."""
    reasons: list[Reason] = []
    (words, spans), (others, other_spans) = (assemble(_parts(canonical_text(each), reasons)) for each in (text, negative))
    return Conditioning(words, others, spans, other_spans), tuple(dict.fromkeys(reasons))


def _parts(source: str, reasons: list[Reason]) -> list[Part]:
    parts: list[Part] = []
    strong, weak, stated, position = 0, 0, Fraction(1), 0

    def take(words: str) -> None:
        if not words:
            return
        if stated <= 0:
            reasons.append(NEGATIVE)
            return
        bounded = max(-MOST_STEPS, min(MOST_STEPS, strong - weak))
        weight = (stated * STEP**bounded).limit_denominator(10**6)
        if weight != 1:
            reasons.append(STATED)
        parts.append(Part(words, Effect(weight=weight)))

    for match in _TOKEN.finditer(source):
        take(source[position : match.start()])
        position = match.end()
        if match[1]:
            stated = -Fraction(1) if match[1].startswith("-") else read_number(match[1]) or Fraction(0)
        elif match[2]:
            stated = Fraction(1)
        elif match[3] in "{}":
            strong = max(0, strong + (1 if match[3] == "{" else -1))
        else:
            weak = max(0, weak + (1 if match[3] == "[" else -1))
    take(source[position:])
    return parts


def write_novelai(conditioning: Conditioning, steps: int | None = None) -> Written:
    """Returns the prompts with their weights stated as `1.3::words::`. `steps` is not used: there are no times, and words that come and go
    are named as always there.
    """
    reasons = list[Reason]()
    if any((span.lo, span.hi) != (0, 1) for span in (*conditioning.spans, *conditioning.negative_spans)):
        reasons.append(Reason("unsupported", "NovelAI has no times; every word is written as if it acted from first to last step"))
    sides = (conditioning.text, conditioning.spans), (conditioning.negative, conditioning.negative_spans)
    text, negative = (_weighted(side, spans, reasons) for side, spans in sides)
    return Written(text, negative, distinct(reasons))


def _weighted(text: str, spans: Sequence[EffectSpan], reasons: list[Reason]) -> str:
    written, position = list[str](), 0
    for span in spans:
        if span.weight == 1:
            continue
        decimal, exact = write_decimal(span.weight, 6)
        words = text[span.start : span.end]
        reasons.append(STATED if exact else Reason("approximate", f"the weight {span.weight} is rounded to {decimal}", words))
        written += [text[position : span.start], f"{decimal}::{words}::"]
        position = span.end
    whole = "".join([*written, text[position:]])
    if _TOKEN.search(text):
        reasons.append(Reason("approximate", "brackets and double colons of the text have a meaning in NovelAI, which has no escape"))
    return whole
