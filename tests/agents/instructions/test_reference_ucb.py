"""The reference's selection, against numbers worked out by hand: U = mean + 0.8 sqrt(ln(1 + iteration * keep + pick) / n)."""

from __future__ import annotations

import json

import pytest

from limner.agents.instructions import bandit
from limner.agents.instructions.bandit import ArmRecord, Choice


def table(**means: float) -> list[ArmRecord]:
    """Arms whose rewards have these means, each after two pulls."""
    return [ArmRecord(id, (mean - 1.0, mean + 1.0), mean) for id, mean in means.items()]


def check(chosen: list[Choice], expected: dict[str, float]) -> None:
    assert [choice.id for choice in chosen] == list(expected)
    assert [choice.index for choice in chosen] == pytest.approx(list(expected.values()), abs=1e-5)


def test_two_iterations_of_a_reward_table_by_hand() -> None:
    """n before each look: first a=b=c=1, then b=c=2; in the second iteration a=2, c=3, d=1, then a=3, c=4."""
    chosen, counters = bandit.reference_ucb(table(a=28.0, b=27.5, c=27.8), 2, 0, {})
    check(chosen, {"a": 28.0, "c": 28.27096})  # no bonus, since ln 1 = 0; then 27.8 + 0.8 sqrt(0.69315 / 2)
    assert counters == {"a": 2, "b": 3, "c": 3}
    chosen, counters = bandit.reference_ucb(table(a=28.0, c=27.8, d=27.9), 2, 1, counters)
    check(chosen, {"d": 28.73852, "a": 28.54382})  # 27.9 + 0.8 sqrt(1.09861 / 1), 28.0 + 0.8 sqrt(1.38629 / 3)
    assert counters == {"a": 4, "b": 3, "c": 5, "d": 2}


def test_looks_count_and_pulls_do_not() -> None:
    """Three looks without a new reward make the bonus smaller; fifty pulls more leave it as it is."""
    few, many = [ArmRecord("a", (1.0,), 1.0)], [ArmRecord("a", (1.0,) * 50, 1.0)]
    assert bandit.reference_ucb(few, 1, 2, {"a": 4}) == bandit.reference_ucb(many, 1, 2, {"a": 4})
    bonuses, counters = [], dict[str, int]()
    for _ in range(3):
        chosen, counters = bandit.reference_ucb(few, 1, 2, counters)
        bonuses.append(chosen[0].index - 1.0)
    assert bonuses[0] > bonuses[1] > bonuses[2] > 0


def test_the_counters_outlive_a_checkpoint_and_are_not_changed_in_place() -> None:
    arms = table(a=28.0, b=27.5, c=27.8)
    _, before = bandit.reference_ucb(arms, 2, 0, {})
    stored = json.loads(json.dumps(before))
    assert bandit.reference_ucb(arms, 2, 1, stored) == bandit.reference_ucb(arms, 2, 1, before)
    assert stored == before


def test_no_arm_is_picked_twice_and_of_equal_ones_the_first_goes() -> None:
    chosen, _ = bandit.reference_ucb(table(z=1.0, a=1.0, m=1.0), 5, 0, {})
    assert [choice.id for choice in chosen] == ["z", "a", "m"]
