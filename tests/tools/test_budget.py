"""The Budget: held to the unit, all or none, whoever spends at the same time."""

from __future__ import annotations

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.tools.budget import Budget, BudgetSpent
from tests.doubles import FakeClock


def test_a_spend_up_to_the_cap_fits_and_one_beyond_is_refused_and_not_counted() -> None:
    budget = Budget(images=3)
    budget.spend(images=3)
    with pytest.raises(BudgetSpent, match="the budget of 3 images is spent") as caught:
        budget.spend(images=1)
    assert caught.value.unit == "images" and caught.value.cap == 3
    assert budget.spent["images"] == 3 and budget.left("images") == 0


def test_several_units_are_spent_together_or_not_at_all() -> None:
    budget = Budget(images=10, unet_rows=100)
    with pytest.raises(BudgetSpent, match="unet rows"):
        budget.spend(images=1, unet_rows=101)
    assert budget.spent == {"images": 0, "unet_rows": 0, "llm_calls": 0, "usd": 0}


def test_without_a_cap_anything_fits_and_is_counted() -> None:
    budget = Budget()
    budget.spend(images=10**6, llm_calls=7)
    assert budget.spent["images"] == 10**6 and budget.left("images") == math.inf


def test_time_up_refuses_every_spend() -> None:
    clock = FakeClock()
    budget = Budget(seconds=60, clock=clock, seconds_before=20)
    clock.advance(39.5)
    budget.spend(images=1)
    assert budget.left("seconds") == pytest.approx(0.5) and budget.elapsed == 59.5
    clock.advance(0.5)
    with pytest.raises(BudgetSpent, match="60 seconds"):
        budget.spend(images=1)


@pytest.mark.parametrize("cap", [0, -1, math.nan, math.inf])
def test_a_cap_must_be_a_positive_number(cap: float) -> None:
    with pytest.raises(ValueError, match="positive number of images"):
        Budget(images=cap)  # type: ignore[arg-type]


def test_gradient_rows_may_be_fractions_and_rounding_never_blocks_the_last_one() -> None:
    budget = Budget(unet_rows=1)
    for _ in range(10):
        budget.spend(unet_rows=0.1)
    with pytest.raises(BudgetSpent):
        budget.spend(unet_rows=0.01)


def test_what_was_refused_before_it_began_is_given_back() -> None:
    budget = Budget(images=2)
    budget.spend(images=2, unet_rows=16)
    budget.give_back(images=2, unet_rows=16)
    budget.spend(images=2)
    assert budget.used()["images"] == 2 and budget.used()["unet_rows"] == 0


def test_used_is_what_the_command_line_prints() -> None:
    clock = FakeClock()
    budget = Budget(clock=clock, repeated=3)
    budget.spend(images=2, unet_rows=80.5, llm_calls=1)
    clock.advance(1.25)
    used = budget.used()
    assert used == {"images": 2, "unet_rows": 80.5, "llm_calls": 1, "repeated": 3, "seconds": 1.25}
    assert isinstance(used["images"], int)


@given(st.integers(1, 50), st.lists(st.integers(1, 10), max_size=30))
def test_no_sequence_of_spends_ever_crosses_a_cap(cap: int, amounts: list[int]) -> None:
    budget, kept = Budget(images=cap), 0
    for amount in amounts:
        try:
            budget.spend(images=amount)
            kept += amount
        except BudgetSpent:
            assert kept + amount > cap
    assert budget.spent["images"] == kept <= cap


def test_threads_together_spend_the_cap_and_no_more() -> None:
    budget = Budget(images=500)
    refused = []

    def spend() -> None:
        for _ in range(100):
            try:
                budget.spend(images=1)
            except BudgetSpent:
                refused.append(1)

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert budget.spent["images"] == 500 and len(refused) == 300
