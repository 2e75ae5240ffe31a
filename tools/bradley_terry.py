"""Strengths from pairwise votes (Bradley and Terry 1952), with intervals that stay valid for few votes.

P(i beats j) = 1 / (1 + exp(s_j - s_i)); a tie counts as half a win for each (Davidson's parameter for ties needs more votes than one
person casts). Strengths have a normal prior of standard deviation PRIOR about 0, so that an item that never lost has a finite one;
intervals are those of the Laplace approximation at the maximum.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from limner.tools.stats import NORMAL

PRIOR = 2.0  # standard deviation of a log strength: of two items that far apart the stronger wins 88 to 12
STEPS = 100  # most Newton steps; the function is concave, so a few suffice
CLOSE = 1e-10

Item = TypeVar("Item", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Strength(Generic[Item]):
    """`strength`: log strength relative to the mean of all items (0 = average).

    `lo`, `hi`: its interval. `votes`: number of votes on the item.
    """

    id: Item
    strength: float
    lo: float
    hi: float
    votes: int


def strengths(votes: Sequence[tuple[Item, Item, Item | None]], confidence: float = 0.95) -> list[Strength[Item]]:
    """Returns the items' strengths from (one, other, winner) votes, with winner None for a tie.

    The strongest comes first, equal ones in order of appearance. `confidence`: of the intervals. Empty without votes.
    """
    names = list(dict.fromkeys(name for left, right, _ in votes for name in (left, right)))
    place = {name: number for number, name in enumerate(names)}
    wins = np.zeros((len(names), len(names)))
    for left, right, winner in votes:
        i, j = place[left], place[right]
        share = 0.5 if winner is None else float(winner == left)
        wins[i, j] += share
        wins[j, i] += 1 - share
    if not names:
        return []
    scores, covariance = _fit(wins)
    centre = np.eye(len(names)) - 1 / len(names)
    scores, spread = centre @ scores, np.sqrt(np.diag(centre @ covariance @ centre).clip(0))
    reach = NORMAL.inv_cdf((1 + confidence) / 2)
    counts = (wins + wins.T).sum(axis=1)
    found = [
        Strength(name, float(scores[i]), float(scores[i] - reach * spread[i]), float(scores[i] + reach * spread[i]), round(counts[i]))
        for name, i in place.items()
    ]
    return sorted(found, key=lambda item: -item.strength)


def _fit(wins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mode (n,) and covariance (n, n) of the log strengths."""
    count = len(wins)
    games, scores = wins + wins.T, np.zeros(count)
    precision = np.eye(count)
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(scores[None, :] - scores[:, None]))
        slope = (wins - games * chance).sum(axis=1) - scores / PRIOR**2
        weight = games * chance * (1 - chance)
        precision = np.diag(weight.sum(axis=1)) - weight + np.eye(count) / PRIOR**2
        step = np.linalg.solve(precision, slope)
        scores = scores + step
        if np.abs(step).max() < CLOSE:
            break
    return scores, np.linalg.inv(precision)
