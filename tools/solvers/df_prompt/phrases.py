"""Finds the phrases of a prompt that may get an effect: what stands between commas, except the subject.

The first phrase is the subject and never moves; neither do pinned words, nor content that the user's own prompt names. Modifiers may move,
whoever wrote them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from limner.promptdb.records import Conditioning, EffectSpan
from limner.promptdb.search.modifier_kinds import kind_of
from limner.tools.prompt_language.assemble import Effect

_BETWEEN = re.compile(r"[^,;\n]+")
_EDGES = re.compile(r"^\W+|\W+$")
"""Punctuation at either end of a phrase stays outside: a tokenizer may join it with the comma beside it."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """Characters `start`..`end` of a prompt, and the kind of modifier ("other" for an unknown one)."""

    start: int
    end: int
    text: str
    kind: str


def movable(text: str, reference: str = "", pins: Sequence[str] = ()) -> tuple[Phrase, ...]:
    """Returns the phrases of `text` that may get an effect, in order.

    `reference`: the user's prompt, whose content words stay plain; `pins`: words that stay plain.
    """
    pinned = [match.span() for pin in pins for match in _occurrences(pin, text)]
    own = _flat(reference)
    found = []
    for place, match in enumerate(_BETWEEN.finditer(text)):
        words = match[0]
        inner = _EDGES.sub("", words)
        if place == 0 or not inner:
            continue
        start = match.start() + words.index(inner)
        end, kind = start + len(inner), kind_of(" ".join(inner.lower().split()))
        said_by_user = f" {_flat(inner)} " in f" {own} "
        if (said_by_user and kind == "other") or any(start < last and first < end for first, last in pinned):
            continue
        found.append(Phrase(start, end, inner, kind))
    return tuple(found)


def with_effects(conditioning: Conditioning, phrases: Sequence[Phrase], effects: Sequence[Effect]) -> Conditioning:
    """Returns the conditioning with an effect span for each phrase."""
    pairs = zip(phrases, effects, strict=True)
    spans = tuple(EffectSpan(phrase.start, phrase.end, effect.lo, effect.hi, effect.weight) for phrase, effect in pairs)
    return replace(conditioning, spans=spans)


def _occurrences(pin: str, text: str) -> list[re.Match[str]]:
    words = pin.split()
    return list(re.finditer(r"\s+".join(map(re.escape, words)), text, re.IGNORECASE)) if words else []


def _flat(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))
