"""Prompts for property tests: made of what readers trip over."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from hypothesis import strategies as st

from limner.promptdb.records import Conditioning, EffectSpan, canonical_text

LETTERS = "ab ,\\[]:()|.-+\"'\n\u00a0\u00e9\u0301\u0323\u1100\u1161\U0001f642<>09"
"""Brackets, escapes, marks of other dialects, composed and combining letters, Hangul that merges, an emoji."""

TEXTS = st.text(LETTERS, max_size=30) | st.text(st.characters(codec="utf-8"), max_size=20)
PARTS = st.sampled_from([Fraction(0), Fraction(1, 2), Fraction(1)]) | st.fractions(0, 1, max_denominator=1000)
WEIGHTS = st.sampled_from([Fraction(1), Fraction(3, 4), Fraction(10, 11)]) | st.fractions(Fraction(1, 100), 5, max_denominator=100)
STEPS = st.sampled_from([1, 2, 3, 7, 10, 20, 25, 50, 100]) | st.integers(1, 60)


@st.composite
def spans_of(draw: st.DrawFn, text: str) -> tuple[EffectSpan, ...]:
    """Spans that may touch, and may begin or end with a blank or between a letter and its accent."""
    if not text:
        return ()
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=6)))
    spans = []
    for start, end in pairwise(cuts):
        if draw(st.booleans()):
            lo, hi = sorted((draw(PARTS), draw(PARTS)))
            spans.append(EffectSpan(start, end, lo, hi, draw(WEIGHTS)))
    return tuple(spans)


@st.composite
def conditionings(draw: st.DrawFn, texts: st.SearchStrategy[str] = TEXTS) -> Conditioning:
    text, negative = canonical_text(draw(texts)), canonical_text(draw(texts))
    return Conditioning(text, negative, draw(spans_of(text)), draw(spans_of(negative)))


WORDS = st.sampled_from(["red", "cat", "sharp focus", "by wlop", "8k", "x-ray", "a (small) dog", "16:9", "a|b", "back\\slash", "[x]"])


@st.composite
def prompts_of_words(draw: st.DrawFn) -> Conditioning:
    """Phrases with commas between them, each with its effect, as people write."""
    text, spans = "", []
    for phrase in draw(st.lists(WORDS, min_size=1, max_size=5)):
        text += ", " if text else ""
        lo, hi = sorted((draw(PARTS), draw(PARTS)))
        if draw(st.booleans()):
            spans.append(EffectSpan(len(text), len(text) + len(phrase), lo, hi, draw(WEIGHTS)))
        text += phrase
    return Conditioning(text, spans=tuple(spans))
