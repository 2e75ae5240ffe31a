"""Strengths from pairwise votes (Bradley and Terry 1952), with intervals that are honest about few of them.

P(i beats j) = 1 / (1 + exp(s_j - s_i)); a tie counts as half a win for each (Davidson's parameter for ties needs more votes than a
person gives).
Strengths are penalised by a normal prior of standard deviation PRIOR about 0, so that one who never lost stays finite; intervals are those
of the Laplace approximation at the maximum (normal, from the curvature). Pure numbers; knows nothing of pictures.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from limner.tools.stats import NORMAL

PRIOR = 2.0  # of a log strength: two who are one prior apart meet at 88 to 12
STEPS = 100  # Newton's; the function is concave, so that it converges in a handful
CLOSE = 1e-10

Item = TypeVar("Item", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Strength(Generic[Item]):
    """`strength`: log strength about the mean of all items, 0 = average. `lo`, `hi`: its 95 % interval. `votes`: that it took part in."""

    id: Item
    strength: float
    lo: float
    hi: float
    votes: int


def strengths(votes: Sequence[tuple[Item, Item, Item | None]], confidence: float = 0.95) -> list[Strength[Item]]:
    """From (one, other, winner) votes, None being a tie; the strongest first, ties in the order of appearance. Empty without votes."""
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
    """Mode and covariance of the log strengths: (n,), (n, n)."""
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
