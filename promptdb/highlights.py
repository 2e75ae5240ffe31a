"""Where the words of a query stand in the prompts that it found: by stem, as the full-text index sees them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from promptdb.keyword import MAX_WORDS, readable
from promptdb.store import PromptDB
from promptdb.terms import stems

_WORD = re.compile(r"[^\W_]+")

Span = tuple[int, int]
"""Character offsets, half open."""


def highlights(db: PromptDB, query: str, texts: Sequence[str]) -> list[list[Span]]:
    """For each text the places of words that match a word of the query."""
    wanted = {term for group in stems(db, _WORD.findall(readable(query))[:MAX_WORDS]) for term in group}
    words = list(dict.fromkeys(match[0] for text in texts for match in _WORD.finditer(text)))
    matching = {word for word, terms in zip(words, stems(db, words), strict=True) if wanted.intersection(terms)}
    return [[match.span() for match in _WORD.finditer(text) if match[0] in matching] for text in texts]
