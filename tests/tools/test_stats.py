"""Intervals that cover what they say, p-values that are not too small, power that is reached: by simulation and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.tools.stats import Interval, paired_bootstrap, prompts_needed, t_quantile

values = st.floats(-10, 10, allow_nan=False).map(lambda x: round(x, 3))


def coverage(draw, trials: int, clusters: np.ndarray | None = None) -> tuple[float, float]:  # type: ignore[no-untyped-def]
    """(share of intervals that hold 0, share of p <= 0.05) where the true mean is 0."""
    found = [paired_bootstrap(draw(np.random.default_rng(trial)), clusters, seed=trial, n=1000) for trial in range(trials)]
    return float(np.mean([item.lo <= 0 <= item.hi for item in found])), float(np.mean([item.p <= 0.05 for item in found]))


@pytest.mark.parametrize("size", [3, 8, 30])
def test_a_95_percent_interval_covers_about_95_percent(size: int) -> None:
    covered, rejected = coverage(lambda rng: rng.normal(size=size), 600)
    assert 0.91 <= covered <= 0.98
    assert rejected <= 0.075


def test_it_covers_nearly_as_much_on_skewed_differences() -> None:
    covered, _ = coverage(lambda rng: rng.exponential(size=40) - 1, 500)
    assert covered >= 0.89


def test_clusters_keep_the_coverage_that_ignoring_them_loses() -> None:
    prompts = np.repeat(np.arange(15), 4)

    def draw(rng: np.random.Generator) -> np.ndarray:
        return (rng.normal(size=(15, 1)) + 0.4 * rng.normal(size=(15, 4))).ravel()

    assert coverage(draw, 500, prompts)[0] >= 0.91
    assert coverage(draw, 500)[0] <= 0.80


def test_a_clear_gain_is_seen_and_the_mean_is_the_plain_mean() -> None:
    gain = np.random.default_rng(0).normal(0.5, 0.5, size=60)
    interval = paired_bootstrap(gain, seed=1)
    assert interval.mean == pytest.approx(gain.mean()) and interval.n == 60
    assert interval.above_zero and interval.p < 0.001
    # A textbook interval of the same data lies within a few percent.
    reach = 2.0010 * gain.std(ddof=1) / math.sqrt(60)
    assert interval.lo == pytest.approx(gain.mean() - reach, abs=0.1 * reach)
    assert interval.hi == pytest.approx(gain.mean() + reach, abs=0.1 * reach)


def test_with_clusters_n_counts_clusters_and_units_weigh_equally() -> None:
    interval = paired_bootstrap([1, 1, 1, 5], ["a", "a", "a", "b"])
    assert interval.n == 2 and interval.mean == 2


def test_fewer_than_six_units_get_students_interval() -> None:
    interval = paired_bootstrap([1.0, 2.0, 3.0])
    reach = 4.302653 * 1 / math.sqrt(3)
    assert (interval.lo, interval.hi) == pytest.approx((2 - reach, 2 + reach), abs=1e-5)
    assert interval.p == 0.25  # 2 of the 8 sign patterns are as extreme


def test_two_seeds_alone_never_prove_a_gain() -> None:
    interval = paired_bootstrap([0.1, 0.12])
    assert not interval.above_zero and interval.p == 0.5


def test_nothing_and_one_unit_say_nothing_of_their_spread() -> None:
    nothing = paired_bootstrap([])
    assert nothing.n == 0 and math.isnan(nothing.mean) and math.isnan(nothing.lo) and nothing.p == 1
    one = paired_bootstrap([0.3])
    assert one.mean == 0.3 and one.n == 1 and math.isnan(one.lo) and math.isnan(one.hi) and one.p == 1
    assert not nothing.above_zero and not one.above_zero
    assert paired_bootstrap([0.3, 0.4, 0.5], ["same"] * 3).n == 1


@pytest.mark.parametrize("size", [2, 5, 8])
def test_equal_differences_give_a_point_and_the_p_of_their_number(size: int) -> None:
    assert paired_bootstrap([0.0] * size) == Interval(0.0, 0.0, 0.0, size, 1.0)
    interval = paired_bootstrap([0.2] * size)
    assert (interval.lo, interval.hi) == pytest.approx((0.2, 0.2)) and interval.p == 2 ** (1 - size)


def test_dropped_images_are_left_out() -> None:
    assert paired_bootstrap([1.0, math.nan, 3.0, 2.0]) == paired_bootstrap([1.0, 3.0, 2.0])
    assert paired_bootstrap([1.0, math.nan, 3.0], ["a", "b", "c"]).n == 2


def test_labels_must_match() -> None:
    with pytest.raises(ValueError, match="as many cluster labels"):
        paired_bootstrap([1.0, 2.0], ["a"])


def test_the_same_seed_gives_the_same_interval_and_a_generator_is_taken_as_well() -> None:
    data = np.random.default_rng(0).normal(size=40)
    assert paired_bootstrap(data, seed=7) == paired_bootstrap(data, seed=7)
    assert paired_bootstrap(data, seed=7) == paired_bootstrap(data, seed=np.random.default_rng(7))
    assert paired_bootstrap(data, seed=8) != paired_bootstrap(data, seed=7)


@settings(deadline=None, max_examples=60)
@given(st.lists(values, min_size=2, max_size=20), st.integers(0, 100))
def test_mirrored_differences_give_a_mirrored_mean_and_the_same_p(data: list[float], seed: int) -> None:
    there, back = paired_bootstrap(data, seed=seed, n=200), paired_bootstrap([-x for x in data], seed=seed, n=200)
    assert there.mean == pytest.approx(-back.mean) and there.p == back.p
    assert there.lo <= there.hi and 0 < there.p <= 1
    assert there.lo - 1e-9 <= there.mean <= there.hi + 1e-9 or len(data) >= 6


@settings(deadline=None, max_examples=40)
@given(st.lists(values, min_size=2, max_size=12), st.floats(0.1, 100))
def test_the_unit_of_the_score_does_not_matter(data: list[float], factor: float) -> None:
    plain, scaled = paired_bootstrap(data, seed=3, n=200), paired_bootstrap(np.array(data) * factor, seed=3, n=200)
    assert (scaled.lo, scaled.hi) == pytest.approx((plain.lo * factor, plain.hi * factor), abs=1e-9 * factor)
    assert scaled.p == plain.p


@pytest.mark.parametrize(
    ("probability", "dof", "expected"),
    [(0.975, 1, 12.7062), (0.975, 2, 4.3027), (0.95, 3, 2.3534), (0.995, 10, 3.1693), (0.975, 120, 1.9799), (0.025, 7, -2.3646)],
)
def test_students_quantiles_are_those_of_the_tables(probability: float, dof: int, expected: float) -> None:
    assert t_quantile(probability, dof) == pytest.approx(expected, abs=1e-4)


def test_the_number_of_prompts_needed_reaches_the_power_it_promises() -> None:
    pilot = np.random.default_rng(5).normal(size=4000)
    pilot = 0.6 + (pilot - pilot.mean()) / pilot.std(ddof=1)
    needed = prompts_needed(pilot, power=0.8)
    assert needed == 24  # two-sided 5 %, effect 0.6 sd: tables of the paired t-test give 24
    wins = [paired_bootstrap(np.random.default_rng(trial).normal(0.6, 1, size=needed), seed=trial, n=500).p <= 0.05 for trial in range(400)]
    assert 0.73 <= np.mean(wins) <= 0.87


def test_more_power_and_smaller_effects_need_more_prompts() -> None:
    pilot = np.random.default_rng(1).normal(0.5, 1, size=50)
    needed = prompts_needed(pilot)
    assert needed is not None
    assert prompts_needed(pilot, power=0.95) > needed  # type: ignore[operator]
    assert prompts_needed(pilot, effect=0.05) > needed  # type: ignore[operator]
    assert prompts_needed(pilot, effect=-0.05) == prompts_needed(pilot, effect=0.05)


def test_no_number_of_prompts_shows_an_effect_of_nothing() -> None:
    assert prompts_needed([1.0, -1.0]) is None
    assert prompts_needed([1.0]) is None
    assert prompts_needed([]) is None


def test_power_counts_prompts_not_seeds() -> None:
    rng = np.random.default_rng(3)
    per_prompt = rng.normal(0.5, 1, size=20)
    seeds = np.repeat(per_prompt, 8)
    assert prompts_needed(seeds, clusters=np.repeat(np.arange(20), 8)) == prompts_needed(per_prompt)
