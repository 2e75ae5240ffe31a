"""How alike a few hundred texts are: cosines of TF-IDF vectors over their words and word pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from promptdb.tfidf import words_of

Idf = Callable[[Sequence[str]], np.ndarray]
"""Rarity of words."""


def vectors(texts: Sequence[str], idf: Idf) -> np.ndarray:
    """(texts, features) float32 rows of length 1; zero where a text has no word. A pair of words is as rare as its two on average."""
    words = [words_of(text) for text in texts]
    distinct = list(dict.fromkeys(word for row in words for word in row))
    rarity = dict(zip(distinct, idf(distinct).tolist(), strict=True))
    columns: dict[object, int] = {}
    cells: list[tuple[int, int, float]] = []
    for place, row in enumerate(words):
        counted: Mapping[object, int] = Counter[object](row) + Counter[object](pairwise(row))
        for feature, count in counted.items():
            rare = rarity[feature] if isinstance(feature, str) else (rarity[feature[0]] + rarity[feature[1]]) / 2  # type: ignore[index]
            cells.append((place, columns.setdefault(feature, len(columns)), (1 + np.log(count) if count > 1 else 1.0) * rare))
    matrix = np.zeros((len(texts), len(columns)), np.float32)
    if cells:
        rows, places, weights = zip(*cells, strict=True)
        matrix[list(rows), list(places)] = weights
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.divide(matrix, lengths, out=matrix, where=lengths > 0)
