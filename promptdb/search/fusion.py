"""Combines rankings: reciprocal rank fusion of several into one, and maximal marginal relevance for diverse hits."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

import numpy as np

RANK_OFFSET = 60  # of reciprocal rank fusion (Cormack, Clarke and Buettcher 2009)
RELEVANCE = 0.7  # weight in maximal marginal relevance: 1 is relevance alone, 0 diversity alone

Item = TypeVar("Item", bound=Hashable)


def fused(rankings: Sequence[Sequence[Item]]) -> dict[Item, float]:
    """Returns each item's sum of 1 / (60 + rank) over the rankings, ranks from 0, in the order in which items first occur."""
    scores: dict[Item, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking):
            scores[item] = scores.get(item, 0.0) + 1 / (RANK_OFFSET + rank)
    return scores


def diverse(vectors: np.ndarray, relevance: Sequence[float], count: int, share: float = RELEVANCE) -> list[int]:
    """Returns the indices of up to `count` rows by maximal marginal relevance (Carbonell and Goldstein 1998).

    Each maximises `share` x relevance - (1 - share) x similarity to the rows chosen before. `vectors`: (n, features), rows of length 1;
    `relevance` is scaled to 0..1. Equal rows go in order.
    """
    values = np.asarray(relevance, float)
    if not len(values) or count <= 0:
        return []
    reach = values.max() - values.min()
    values = (values - values.min()) / reach if reach else np.ones(len(values))
    nearest = np.zeros(len(values))
    left = np.ones(len(values), bool)
    taken: list[int] = []
    while len(taken) < min(count, len(values)):
        place = int(np.argmax(np.where(left, share * values - (1 - share) * nearest, -np.inf)))
        taken.append(place)
        left[place] = False
        nearest = np.maximum(nearest, vectors @ vectors[place])
    return taken
