"""The Budget: held to the unit, all or none, whoever spends at the same time."""

from __future__ import annotations

import math
import sys
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


# slices


def test_what_is_spent_of_a_slice_is_spent_of_all_above_it() -> None:
    whole = Budget(images=10)
    part = whole.slice(images=5)
    inner = part.slice(images=4)
    inner.spend(images=3, unet_rows=12)
    assert [item.spent["images"] for item in (inner, part, whole)] == [3, 3, 3]
    assert [item.left("images") for item in (inner, part, whole)] == [1, 2, 7]
    part.spend(images=2)
    assert inner.spent["images"] == 3 and inner.left("images") == 0 and whole.spent == {**whole.spent, "images": 5, "unet_rows": 12}


@pytest.mark.parametrize("refusing", ["the slice", "the budget above", "what is kept"])
def test_where_one_refuses_nothing_is_counted_anywhere_and_its_cap_is_named(refusing: str) -> None:
    whole = Budget(images=2 if refusing == "the budget above" else 10)
    part = whole.slice(images=3, keep={"images": 8 if refusing == "what is kept" else 0})
    with pytest.raises(BudgetSpent) as caught:
        part.spend(llm_calls=1, images=4 if refusing == "the slice" else 3)
    assert caught.value.cap == (3 if refusing == "the slice" else 2)
    assert not any(whole.spent.values()) and not any(part.spent.values())


def test_what_is_kept_cannot_be_touched_and_is_there_afterwards() -> None:
    whole = Budget(images=10)
    whole.spend(images=1)
    search = whole.slice(keep={"images": 4})
    assert search.left("images") == 5
    search.spend(images=5)
    with pytest.raises(BudgetSpent, match="the budget of 6 images is spent"):
        search.spend(images=1)
    assert whole.images == 10
    whole.spend(images=4)


def test_what_slices_on_the_way_keep_adds_up() -> None:
    whole = Budget(images=20)
    inner = whole.slice(keep={"images": 5}).slice(keep={"images": 4}).slice(keep={"images": 3})
    assert inner.left("images") == 8
    inner.spend(images=8)
    with pytest.raises(BudgetSpent, match="of 8 images"):
        inner.spend(images=1)


def test_where_there_is_no_cap_nothing_is_kept() -> None:
    part = Budget().slice(keep={"images": 10})
    part.spend(images=10**6)
    assert part.left("images") == math.inf


def test_a_cap_that_is_raised_meanwhile_counts() -> None:
    whole = Budget(images=2)
    part = whole.slice()
    whole.images = 5
    part.spend(images=5)


def test_a_slice_of_nothing_refuses_and_a_slice_of_nonsense_is_not_made() -> None:
    with pytest.raises(BudgetSpent, match="of 0 images"):
        Budget().slice(images=0).spend(images=1)
    for nonsense in ({"images": -1}, {"unet_rows": math.nan}, {"keep": {"images": -1}}, {"keep": {"pictures": 1}}):
        with pytest.raises(ValueError, match="a slice of a budget cannot have"):
            Budget().slice(**nonsense)  # type: ignore[arg-type]


def test_a_slice_has_seconds_of_its_own_and_no_more_than_are_left() -> None:
    clock = FakeClock()
    whole = Budget(seconds=60, clock=clock)
    clock.advance(30)
    short, long, early = whole.slice(seconds=10), whole.slice(seconds=100), whole.slice(keep={"seconds": 20})
    assert (short.left("seconds"), long.left("seconds"), early.left("seconds")) == (10, 30, 10)
    clock.advance(10)
    for part in (short, early):
        with pytest.raises(BudgetSpent, match="seconds"):
            part.spend(images=1)
    long.spend(images=1)
    assert whole.spent["images"] == 1


def test_what_is_given_back_or_repeated_in_a_slice_is_so_above() -> None:
    whole = Budget(images=4)
    part = whole.slice(images=3)
    part.spend(images=3)
    part.give_back(images=2)
    part.repeat(2)
    assert part.spent["images"] == whole.spent["images"] == 1 and part.repeated == whole.repeated == 2
    part.spend(images=2)


class Recorded(Budget):
    """Keeps what it had spent at each record; fails where told to."""

    failing = False

    def _record(self) -> None:
        assert self._lock.locked()
        if self.failing:
            raise OSError("the disk is full")
        self.__dict__.setdefault("records", []).append((self.spent["images"], self.repeated))


def test_each_change_in_a_slice_is_recorded_by_the_whole_budget_alone_and_is_undone_where_it_cannot_be() -> None:
    whole = Recorded()
    part = whole.slice(images=5).slice()
    part.spend(images=2)
    part.give_back(images=1)
    part.repeat(1)
    part.note()
    assert whole.records == [(2, 0), (1, 0), (1, 1), (1, 1)]  # type: ignore[attr-defined]
    whole.failing = True
    with pytest.raises(OSError):
        part.spend(images=1)
    assert part.spent["images"] == whole.spent["images"] == 1


def test_money_is_shown_where_it_was_spent_and_what_was_charged_counts_beyond_the_cap() -> None:
    whole = Budget()
    assert "usd" not in whole.used()
    part = whole.slice(usd=0.01)
    part.spend(llm_calls=1, usd=0)
    part.charge(usd=0.0123456)
    assert whole.used()["usd"] == 0.012346 and part.left("usd") == 0
    with pytest.raises(BudgetSpent, match=r"the budget of 0\.01 usd is spent") as caught:
        part.spend(llm_calls=1, usd=0)
    assert caught.value.unit == "usd" and whole.spent["llm_calls"] == 1
    part.spend(images=1)  # a picture of a local checkpoint costs no money
    whole.spend(llm_calls=1, usd=0)


@given(
    cap=st.integers(1, 40),
    made=st.lists(st.tuples(st.integers(0, 6), st.none() | st.integers(0, 20), st.integers(0, 10)), max_size=6),
    steps=st.lists(st.tuples(st.sampled_from(["spend", "give back"]), st.integers(0, 6), st.integers(1, 8)), max_size=40),
)
def test_any_tree_of_slices_spends_as_its_caps_say(
    cap: int, made: list[tuple[int, int | None, int]], steps: list[tuple[str, int, int]]
) -> None:
    """Against a model that knows only the tree, the caps and the list of what was spent where."""
    budgets, parents, caps, kept = [Budget(images=cap)], [-1], [cap], [0]
    for parent, own, keep in made:
        parent %= len(budgets)
        budgets.append(budgets[parent].slice(images=own, keep={"images": keep}))
        parents.append(parent)
        caps.append(own)  # type: ignore[arg-type]
        kept.append(keep)
    own_spends = [0] * len(budgets)

    def spent(place: int) -> int:
        return own_spends[place] + sum(spent(child) for child in range(len(budgets)) if parents[child] == place)

    def left(place: int) -> float:
        here = math.inf if caps[place] is None else caps[place] - spent(place)
        return max(0, min(here, left(parents[place]) - kept[place])) if place else max(0, here)

    for what, place, amount in steps:
        place %= len(budgets)
        assert [item.left("images") for item in budgets] == [left(each) for each in range(len(budgets))]
        if what == "give back":
            amount = min(amount, own_spends[place])
            budgets[place].give_back(images=amount)
            own_spends[place] -= amount
        elif amount <= left(place):
            budgets[place].spend(images=amount)
            own_spends[place] += amount
        else:
            with pytest.raises(BudgetSpent):
                budgets[place].spend(images=amount)
        assert [item.spent["images"] for item in budgets] == [spent(each) for each in range(len(budgets))]
    assert budgets[0].spent["images"] <= cap


@given(st.lists(st.floats(1e-7, 3.0), max_size=30), st.floats(0.5, 20))
def test_money_adds_up_through_slices_and_ends_with_the_first_charge_that_reaches_the_cap(prices: list[float], cap: float) -> None:
    whole = Budget(usd=cap)
    paid = 0.0
    for place, price in enumerate(prices):
        part = whole.slice() if place % 2 else whole.slice(keep={"images": 1}).slice()
        if paid >= cap:
            with pytest.raises(BudgetSpent):
                part.spend(llm_calls=1, usd=0)
            continue
        part.spend(llm_calls=1, usd=0)
        part.charge(usd=price)
        paid += price
    assert whole.spent["usd"] == pytest.approx(paid) and whole.spent["llm_calls"] <= len(prices)


def test_threads_in_slices_that_fit_together_are_never_refused_and_spend_exactly() -> None:
    """A slice that counted before its parent refused would, for that moment, keep another thread from what is its own."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        whole = Recorded(images=8 * 60 + 5)
        parts = [whole.slice(images=60, keep={"images": 5}) for _ in range(8)]
        refused: list[BudgetSpent] = []

        def work(part: Budget) -> None:
            try:
                for _ in range(60):
                    part.spend(images=1)
                    part.give_back(images=1)
                    part.spend(images=1)
            except BudgetSpent as error:
                refused.append(error)

        def overreach() -> None:
            greedy = whole.slice(keep={"images": 5})
            for _ in range(200):
                with pytest.raises(BudgetSpent):
                    greedy.spend(images=8 * 60 + 1)

        threads = [threading.Thread(target=work, args=[part]) for part in parts] + [threading.Thread(target=overreach)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert refused == []
    assert whole.spent["images"] == 8 * 60 and all(part.spent["images"] == 60 for part in parts)
    assert whole.records[-1][0] == 8 * 60  # type: ignore[attr-defined]
