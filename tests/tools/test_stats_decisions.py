"""What a paired interval decides: which units weigh, and from when on a gain counts as one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from limner.tools.stats import paired_bootstrap, prompts_needed, smallest_visible, t_quantile

FEW_UNEQUAL = ([1.0, 1.0, 1.0, 5.0, 2.0, 2.0], ["a", "a", "a", "b", "c", "c"])
"""Three clusters of 3, 1 and 2: the mean of all is 2, that of the clusters' means 8 / 3."""


def many_unequal(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Twelve prompts, of which one in two has nine seeds near 0 and the other one seed near 1."""
    labels = np.repeat(np.arange(12), [9, 1] * 6)
    return np.where(labels % 2, 1.0, 0.0) + rng.normal(0, 0.05, len(labels)), labels


def test_every_difference_weighs_the_same_however_many_its_cluster_has() -> None:
    assert paired_bootstrap(*FEW_UNEQUAL).mean == 2
    values, labels = many_unequal(np.random.default_rng(0))
    found = paired_bootstrap(values, labels)
    assert found.mean == pytest.approx(values.mean()) and found.mean < 0.2
    assert found.lo < values.mean() < found.hi < 0.5  # of the clusters' means it would lie around one half


def test_with_few_clusters_the_spread_is_that_of_their_weighted_departures() -> None:
    """Sums 3, 5, 4 of sizes 3, 1, 2 depart from size x mean by -3, 3, 0; t of two degrees of freedom is 4.3027."""
    found = paired_bootstrap(*FEW_UNEQUAL)
    reach = 4.3027 * np.sqrt((9 + 9) / 4 / 2 / 3)
    assert (found.lo, found.hi) == pytest.approx((2 - reach, 2 + reach), abs=1e-3)


@pytest.mark.parametrize(
    ("differences", "clusters", "n", "gain"),
    [
        ([], None, 0, False),
        ([np.nan, np.nan], None, 0, False),
        ([1.0], None, 1, False),
        ([1.0, np.nan], None, 1, False),
        ([1.0, 1.1, 1.0], "aaa", 1, False),
        ([1.0, 3.0], None, 2, False),  # t of one degree of freedom reaches far
        ([1.0, 1.0], None, 2, True),
        ([1.0, 1.1, 0.9, 1.0, 1.05], None, 5, True),
        ([1.0, 1.1, 0.9, 1.0, 1.05, 1.0], None, 6, True),
        ([-1.0, -1.1, -0.9, -1.0, -1.05, -1.0], None, 6, False),
        ([1.0, -1.1, 0.9, -1.0, 1.05, 0.1], None, 6, False),
        ([0.0] * 8, None, 8, False),
        ([0.1] * 8, None, 8, True),
        ([1.0] * 10 + [-1.0] * 2, "a" * 10 + "bc", 3, False),  # ten seeds of one prompt are one prompt
        ([1.0] * 10 + [-1.0] * 2, None, 12, True),
    ],
)
def test_which_differences_are_a_gain(differences: list[float], clusters: str | None, n: int, gain: bool) -> None:
    found = paired_bootstrap(differences, None if clusters is None else list(clusters))
    assert found.n == n and found.above_zero is gain
    if n < 2:
        assert found.p == 1 and np.isnan(found.lo) and np.isnan(found.hi)


@pytest.mark.parametrize(("count", "p"), [(2, 0.5), (3, 0.25), (5, 1 / 16), (10, 2 / 2**10), (12, 2 / 2**12)])
def test_p_of_a_gain_everywhere_is_two_of_all_sign_patterns(count: int, p: float) -> None:
    assert paired_bootstrap(np.linspace(1, 2, count)).p == pytest.approx(p)


def test_beyond_enumeration_p_is_sampled_and_never_zero() -> None:
    found = paired_bootstrap(np.linspace(1, 2, 13), n=2000)
    assert 0 < found.p <= 4 / 2001


@pytest.mark.parametrize(
    ("differences", "effect", "needed"),
    [([1.0], None, None), ([0.0, 0.0], None, None), ([1.0, -1.0], None, None), ([1.0, 1.0], None, 2), ([1.0, 2.0, 3.0], 0.0, None)],
)
def test_no_number_of_prompts_shows_what_is_not_there(differences: list[float], effect: float | None, needed: int | None) -> None:
    assert prompts_needed(differences, effect=effect) == needed


@pytest.mark.parametrize(
    ("differences", "clusters", "seen"),
    [
        ([1.0], None, None),
        ([], None, None),
        ([math.nan, 1.0], None, None),
        ([0.0, 0.0, 0.0], None, 0.0),
        ([1.0, 3.0], None, 12.7062 + 1.3764),
        # t(0.975) + t(0.8) of the degrees of freedom, times the standard error: 4.3027 + 1.0607, and 2.3646 + 0.8960
        ([1.0, 2.0, 3.0], None, 5.3633 / math.sqrt(3)),
        ([1.0, -1.0] * 4, None, 3.2606 * math.sqrt(8 / 7) / math.sqrt(8)),
        ([11.0, 9.0] * 4, None, 3.2606 * math.sqrt(8 / 7) / math.sqrt(8)),  # wherever the mean lies
        ([1.0, 1.0, 2.0, 2.0, 3.0, 3.0], [0, 0, 1, 1, 2, 2], 5.3633 / math.sqrt(3)),  # a prompt counts once
    ],
)
def test_the_smallest_difference_that_could_have_been_seen(
    differences: list[float], clusters: list[int] | None, seen: float | None
) -> None:
    assert smallest_visible(differences, clusters) == (None if seen is None else pytest.approx(seen, rel=1e-4))


@pytest.mark.parametrize(("count", "power"), [(3, 0.77), (8, 0.8), (30, 0.8)])
def test_a_difference_of_that_size_is_seen_four_times_in_five(count: int, power: float) -> None:
    """By Student's interval, on which the spread is estimated anew each time."""
    spread = np.array([1.0, -1.0] * count)[:count] - (count % 2) / count
    size = smallest_visible(spread)
    assert size is not None
    draws = np.random.default_rng(0).normal(size / spread.std(ddof=1), 1.0, (4000, count))
    reach = t_quantile(0.975, count - 1) * draws.std(axis=1, ddof=1) / math.sqrt(count)
    assert float(np.mean(draws.mean(axis=1) > reach)) == pytest.approx(power, abs=0.03)


def test_labels_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="3 differences need as many cluster labels, not 2"):
        paired_bootstrap([1.0, 2.0, 3.0], ["a", "b"])


@pytest.mark.parametrize("count", [8, 12, 13, 40])
def test_with_more_units_the_ends_are_percentiles_widened_as_student_has_it(count: int) -> None:
    """Hesterberg's expansion: with few units the interval is that of t, here within the error of 10,000 resamples."""
    values = np.random.default_rng(count).normal(1, 1, count)
    found = paired_bootstrap(values)
    reach = t_quantile(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count)
    assert found.lo == pytest.approx(values.mean() - reach, abs=0.2 * reach)
    assert found.hi == pytest.approx(values.mean() + reach, abs=0.2 * reach)


def test_a_sampled_p_is_the_share_of_sign_patterns_that_reach_as_far() -> None:
    """Thirteen differences are sampled; of all 8,192 patterns the share is known."""
    values = np.array([0.3, -0.1, 0.2, 0.4, -0.2, 0.1, 0.3, 0.25, -0.15, 0.05, 0.2, 0.1, -0.05])
    signs = 1.0 - 2.0 * (np.arange(2**13)[:, None] >> np.arange(13) & 1)
    exact = float(np.mean(np.abs(signs @ values) >= abs(values.sum()) - 1e-9))
    found = paired_bootstrap(values, n=9_999)
    assert found.p == pytest.approx(exact, abs=0.01) and found.p * 10_000 == pytest.approx(round(found.p * 10_000))


@pytest.mark.parametrize(
    ("spread", "effect", "power", "alpha", "needed"),
    [
        (1.0, 1.0, 0.8, 0.05, 10),  # (1.960 + 0.842)^2 + 1.960^2 / 2 = 9.77
        (1.0, 0.5, 0.8, 0.05, 34),  # four times 7.85, and 1.92
        (2.0, 0.5, 0.8, 0.05, 128),
        (1.0, 0.5, 0.9, 0.05, 44),
        (1.0, 0.5, 0.8, 0.01, 51),
        (1.0, 100.0, 0.8, 0.05, 2),
        (1.0, -0.5, 0.8, 0.05, 34),
    ],
)
def test_how_many_prompts_show_an_effect(spread: float, effect: float, power: float, alpha: float, needed: int) -> None:
    """By the normal approximation with Guenther's correction."""
    pilot = np.array([-1.0, 1.0]) * spread / np.sqrt(2)
    assert prompts_needed(pilot, power, alpha, effect=effect) == needed
