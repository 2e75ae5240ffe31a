"""NovelAI's notation, read: `{words}` strengthens by 1.05, `[words]` weakens by it, `1.3::words::` states a weight.

Every character is text or syntax; a bracket that is never closed acts to the end, and one that closes nothing is passed by, as NovelAI
does. Source: NovelAI's documentation, "Strengthening and weakening vectors" and "Numerical emphasis".
"""

from __future__ import annotations

import re
from fractions import Fraction

from limner.promptdb.records import Conditioning, canonical_text
from limner.tools.prompt_language.assemble import Effect, Part, assemble, read_number
from limner.tools.prompt_language.fidelity import Reason

STEP = Fraction(105, 100)
MOST_STEPS = 40
"""Brackets around one word that count; 1.05 ** 40 is 7."""

STATED = Reason("approximate", "NovelAI does not say how its weights act on the embedding; they are read as those that restore its mean")
NEGATIVE = Reason("unsupported", "a negative weight (-1::words::) has no counterpart here; the words are left out")

_TOKEN = re.compile(r"(-?\d+(?:\.\d+)?)::|(::)|([{}\[\]])")


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
