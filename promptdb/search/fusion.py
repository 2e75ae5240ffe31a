"""Puts rankings together: reciprocal rank fusion of several into one, and maximal marginal relevance for hits that differ."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

import numpy as np

RANK_OFFSET = 60  # of reciprocal rank fusion (Cormack, Clarke and Buettcher 2009)
RELEVANCE = 0.7  # of maximal marginal relevance: 1 is relevance alone, 0 difference alone

Item = TypeVar("Item", bound=Hashable)


def fused(rankings: Sequence[Sequence[Item]]) -> dict[Item, float]:
    """Each item's sum of 1 / (60 + rank) over the rankings, ranks from 0; in the order in which items come first."""
    scores: dict[Item, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking):
            scores[item] = scores.get(item, 0.0) + 1 / (RANK_OFFSET + rank)
    return scores


def diverse(vectors: np.ndarray, relevance: Sequence[float], count: int, share: float = RELEVANCE) -> list[int]:
    """Places of up to `count` rows, each the best of `share` x its relevance - (1 - share) x its likeness to what was taken before
    (Carbonell and Goldstein 1998). `vectors`: (n, features), rows of length 1; relevance is scaled to 0..1. Ties go to the first."""
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
