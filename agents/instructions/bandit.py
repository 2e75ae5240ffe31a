"""Decides which instructions survive an iteration: UCB and its rivals behind one interface.

Arms are whole instructions, and their history lasts (Yang, Wang and Hu 2024). The formulas are those of Auer et al. 2002 and, for the
exploration-only form, Audibert and Bubeck 2010, with true pull counts. Pure numbers; knows nothing of prompts or pictures.

`reference_ucb` is the selection of the paper's released code, number for number, for comparison (`--compat maai`):

    U(I) = mean(rewards of I) + c * sqrt(ln(t + i) / n_I),   t = 1 + iteration * keep,   i = number of the pick in this round

where n_I is not the number of pulls: it starts at 1 and grows each time U(I) is computed, so that the bonus shrinks with each computation.
The counters are plain numbers, passed in and returned, since a run may be resumed in between.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from limner.promptdb.errors import BadInput

EXPLORATION = 0.5  # c of UCB: rewards are in units of their spread, so this is half a bonus of the textbook's
EPSILON = 0.1  # share of random picks (the reference's)
SURE = 1.0  # standard errors below its mean at which an arm is compared in the end


@dataclass(frozen=True, slots=True)
class ArmRecord:
    """An arm as the bandit sees it.

    `rewards`: one for each pull, that is for each (prompt, seed), as gains over a common reference in units of their standard deviation.
    `latest`: mean over the last batch alone.
    """

    id: str
    rewards: tuple[float, ...]
    latest: float

    @property
    def mean(self) -> float:
        """Returns the mean reward of all pulls; minus infinity without pulls."""
        return float(np.mean(self.rewards)) if self.rewards else -math.inf


@dataclass(frozen=True, slots=True)
class Choice:
    """An arm that stays. `index`: the number by which it was ranked."""

    id: str
    index: float


class Selector(Protocol):
    """Picks at most `keep` arms, best first, ties by id; random choices come from `rng` alone."""

    def __call__(self, arms: Sequence[ArmRecord], keep: int, rng: random.Random) -> list[Choice]: ...


def open_selector(name: str) -> Selector:
    """Returns the selector of that name. Raises BadInput with the names that there are."""
    if name not in SELECTORS:
        raise BadInput(f"there is no selector {name!r}; there are {', '.join(SELECTORS)}")
    return SELECTORS[name]


def best_first(arms: Sequence[ArmRecord]) -> list[ArmRecord]:
    """Returns the arms by lower bound, best first: an arm's mean less the standard error that the pooled spread gives for its pulls.

    So an arm with few pulls and luck does not come before a good one with many. Ties by id.
    """
    spread = pooled_spread(arms)
    return sorted(arms, key=lambda arm: (SURE * spread / math.sqrt(max(1, len(arm.rewards))) - arm.mean, arm.id))


def best(arms: Sequence[ArmRecord]) -> ArmRecord:
    """Returns the arm with the highest lower bound. Raises IndexError for no arms."""
    return best_first(arms)[0]


def pooled_spread(arms: Sequence[ArmRecord]) -> float:
    """Returns the standard deviation of a reward about its own arm's mean, over all arms; 0 where no arm was pulled twice."""
    squares = sum(float(((np.array(arm.rewards) - arm.mean) ** 2).sum()) for arm in arms if arm.rewards)
    freedom = sum(len(arm.rewards) - 1 for arm in arms if arm.rewards)
    return math.sqrt(squares / freedom) if freedom > 0 else 0.0


def upper_bound(mean: float, pulls: int, total: int, spread: float) -> float:
    """Returns the UCB1 bound (Auer et al. 2002): mean + c * spread * sqrt(2 ln N / n), with N = `total` pulls of all arms and n
    = `pulls`.
    """
    bonus = math.sqrt(2 * math.log(max(1, total)))
    return mean + EXPLORATION * spread * bonus / math.sqrt(max(1, pulls))


def ucb(arms: Sequence[ArmRecord], keep: int, rng: random.Random) -> list[Choice]:
    """Selects by `upper_bound`, with the pooled spread of the rewards."""
    spread, total = pooled_spread(arms), sum(len(arm.rewards) for arm in arms)
    return _top(arms, keep, lambda arm: upper_bound(arm.mean, len(arm.rewards), total, spread))


def ucb_e(arms: Sequence[ArmRecord], keep: int, rng: random.Random) -> list[Choice]:
    """Selects by mean + c * spread * sqrt(N / (K n)): exploration that does not fade with time, for finding the best arm (UCB-E)."""
    spread, total = pooled_spread(arms), sum(len(arm.rewards) for arm in arms)
    return _top(arms, keep, lambda arm: arm.mean + EXPLORATION * spread * math.sqrt(total / len(arms) / max(1, len(arm.rewards))))


def greedy(arms: Sequence[ArmRecord], keep: int, rng: random.Random) -> list[Choice]:
    """Selects by the mean of the last batch alone, the released code's default."""
    return _top(arms, keep, lambda arm: arm.latest)


def epsilon(arms: Sequence[ArmRecord], keep: int, rng: random.Random) -> list[Choice]:
    """Selects as `greedy`, but each pick is random with probability EPSILON."""
    left, chosen = _top(arms, len(arms), lambda arm: arm.latest), list[Choice]()
    while left and len(chosen) < keep:
        chosen.append(left.pop(rng.randrange(len(left)) if rng.random() < EPSILON else 0))
    return chosen


def successive_halving(arms: Sequence[ArmRecord], keep: int, rng: random.Random) -> list[Choice]:
    """Selects the better half by the mean of all pulls, at most `keep`."""
    return _top(arms, min(keep, -(-len(arms) // 2)), lambda arm: arm.mean)


def thompson(arms: Sequence[ArmRecord], keep: int, rng: random.Random) -> list[Choice]:
    """Selects by a draw from each arm's normal posterior, with the pooled variance and a flat prior."""
    spread = pooled_spread(arms)
    drawn = {arm.id: rng.gauss(arm.mean, spread / math.sqrt(max(1, len(arm.rewards)))) for arm in sorted(arms, key=lambda arm: arm.id)}
    return _top(arms, keep, lambda arm: drawn[arm.id])


SELECTORS: dict[str, Selector] = {
    "ucb": ucb,
    "ucb-e": ucb_e,
    "greedy": greedy,
    "epsilon": epsilon,
    "successive-halving": successive_halving,
    "thompson": thompson,
}


def _top(arms: Sequence[ArmRecord], keep: int, index: Callable[[ArmRecord], float]) -> list[Choice]:
    ranked = sorted((Choice(arm.id, index(arm)) for arm in arms), key=lambda choice: (-choice.index, choice.id))
    return ranked[: max(0, keep)]


REFERENCE_C = 0.8


def reference_ucb(arms: Sequence[ArmRecord], keep: int, iteration: int, counters: Mapping[str, int]) -> tuple[list[Choice], dict[str, int]]:
    """Returns the survivors in the order in which they were picked, and the counters afterwards. `iteration` counts from 0."""
    counts = dict(counters)
    left = {arm.id: arm for arm in arms}
    time = 1 + iteration * keep
    chosen: list[Choice] = []
    for pick in range(min(keep, len(left))):
        values: dict[str, float] = {}
        for id, arm in left.items():
            count = counts.get(id, 1)
            values[id] = arm.mean + REFERENCE_C * math.sqrt(math.log(time + pick) / count)
            counts[id] = count + 1
        winner = max(values, key=lambda id: values[id])  # of equal ones the first, as the reference does
        chosen.append(Choice(winner, values[winner]))
        del left[winner]
    return chosen, counts
