"""How alike a few hundred texts are: cosines of TF-IDF vectors over their words and word pairs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from promptdb.tfidf import words_of

Idf = Callable[[Sequence[str]], np.ndarray]
"""Rarity of words."""


def vectors(texts: Sequence[str], idf: Idf) -> np.ndarray:
    """(texts, features) float32 rows of length 1; zero where a text has no word. A pair of words is as rare as its two on average, or
    where it is rarer than that among the texts themselves, as there."""
    words = [words_of(text) for text in texts]
    pairs = Counter(pair for row in words for pair in set(pairwise(row)))
    distinct = list(dict.fromkeys(word for row in words for word in row))
    rarity = dict(zip(distinct, idf(distinct).tolist(), strict=True))
    columns: dict[str | tuple[str, str], int] = {}
    cells: list[tuple[int, int, float]] = []
    for place, row in enumerate(words):
        features: list[str | tuple[str, str]] = [*row, *pairwise(row)]
        for feature, count in Counter(features).items():
            if isinstance(feature, tuple):
                rare = max((rarity[feature[0]] + rarity[feature[1]]) / 2, math.log((1 + len(texts)) / (1 + pairs[feature])) + 1)
            else:
                rare = rarity[feature]
            cells.append((place, columns.setdefault(feature, len(columns)), (1 + math.log(count)) * rare))
    matrix = np.zeros((len(texts), len(columns)), np.float32)
    if cells:
        rows, places, weights = zip(*cells, strict=True)
        matrix[list(rows), list(places)] = weights
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.divide(matrix, lengths, out=matrix, where=lengths > 0)
