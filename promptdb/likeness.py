"""How alike a few hundred texts are: cosines of TF-IDF vectors over their words and word pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from promptdb.tfidf import telling_words

PAIR = 0.5  # what a pair weighs beside a word as rare: its words have been counted already

Idf = Callable[[Sequence[str]], np.ndarray]
"""Rarity of words."""


def vectors(texts: Sequence[str], idf: Idf) -> np.ndarray:
    """(texts, features) float32 rows of length 1; zero where a text has no word. A pair of words is as rare as its two on average, or
    where it is rarer than that among the texts themselves, as there."""
    numbers: dict[str, int] = {}
    words = [[numbers.setdefault(word, len(numbers)) for word in telling_words(text)] for text in texts]
    row = np.repeat(np.arange(len(texts)), [len(found) for found in words])
    word = np.fromiter((number for found in words for number in found), np.int64, len(row))
    rarity = np.asarray(idf(list(numbers)), float)
    size = max(1, len(numbers))
    inside = row[:-1] == row[1:]
    pair = (word[:-1] * size + word[1:])[inside]
    singles = _weighted(row, word, size, rarity, len(texts))
    distinct, place = np.unique(pair, return_inverse=True)
    cells = np.unique(row[:-1][inside] * max(1, len(distinct)) + place)
    among = np.bincount(cells % max(1, len(distinct)), minlength=len(distinct))
    rare = np.maximum((rarity[distinct // size] + rarity[distinct % size]) / 2, np.log((1 + len(texts)) / (1 + among)) + 1)
    pairs = _weighted(row[:-1][inside], place, len(distinct), PAIR * rare, len(texts))
    matrix = np.concatenate([singles, pairs], axis=1)
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.divide(matrix, lengths, out=matrix, where=lengths > 0)


def _weighted(rows: np.ndarray, features: np.ndarray, size: int, rarity: np.ndarray, count: int) -> np.ndarray:
    """(count, size) float32: of each row's features, 1 + log(how often), times their rarity."""
    matrix = np.zeros((count, size), np.float32)
    cells, often = np.unique(rows * max(1, size) + features, return_counts=True)
    columns = cells % max(1, size)
    matrix[cells // max(1, size), columns] = (1 + np.log(often)) * rarity[columns]
    return matrix
