"""The reference's own selection, number for number, for comparison (Yang, Wang and Hu 2024, released code; see `--compat maai`).

    U(I) = mean(rewards of I) + c * sqrt(ln(t + i) / n_I),   t = 1 + iteration * keep,   i = number of the pick in this round

n_I is not the number of pulls: it starts at 1 and grows each time U(I) is computed, so that its bonus decays with scrutiny. The
counters are plain numbers, handed in and out, since a run may be resumed in between.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from agents.bandit import ArmRecord, Choice

C = 0.8


def select(arms: Sequence[ArmRecord], keep: int, iteration: int, counters: Mapping[str, int]) -> tuple[list[Choice], dict[str, int]]:
    """The survivors in the order in which they were picked, and the counters afterwards. `iteration` counts from 0."""
    counts = dict(counters)
    left = {arm.id: arm for arm in arms}
    time = 1 + iteration * keep
    chosen: list[Choice] = []
    for pick in range(min(keep, len(left))):
        values: dict[str, float] = {}
        for id, arm in left.items():
            count = counts.get(id, 1)
            values[id] = arm.mean + C * math.sqrt(math.log(time + pick) / count)
            counts[id] = count + 1
        winner = max(values, key=lambda id: values[id])  # of equal ones the first, as the reference does
        chosen.append(Choice(winner, values[winner]))
        del left[winner]
    return chosen, counts
