"""Strengths from votes: order, symmetry, finite for one who never lost, and intervals that hold what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from limner.tools.bradley_terry import strengths


def test_no_votes_no_strengths() -> None:
    assert strengths([]) == []


def test_who_wins_more_is_stronger_and_the_mean_is_zero() -> None:
    found = strengths([("a", "b", "a")] * 6 + [("a", "b", "b")] * 2 + [("b", "c", "b")] * 5)
    assert [item.id for item in found] == ["a", "b", "c"]
    assert sum(item.strength for item in found) == pytest.approx(0, abs=1e-9)
    assert [item.votes for item in found] == [8, 13, 5]


def test_who_never_lost_is_finite_and_one_vote_proves_nothing() -> None:
    best, worst = strengths([("a", "b", "a")])
    assert math.isfinite(best.hi) and best.lo < 0 < best.hi and worst.lo < 0 < worst.hi


def test_ties_are_half_a_win_for_each() -> None:
    one, other = strengths([("a", "b", None)] * 10)
    assert one.strength == pytest.approx(0, abs=1e-9) and other.strength == pytest.approx(0, abs=1e-9)


def test_the_order_in_which_they_were_shown_does_not_matter() -> None:
    votes = [("a", "b", "a"), ("b", "c", "c"), ("a", "c", None), ("c", "b", "b")]
    swapped = [(right, left, winner) for left, right, winner in votes]
    first, second = ({item.id: item.strength for item in strengths(rows)} for rows in (votes, swapped))
    assert first == pytest.approx(second)


def test_the_likelihood_is_highest_there() -> None:
    """Against a grid, for two items: the penalised likelihood of a difference d is wins*log s(d) + losses*log s(-d) - d^2/(4 PRIOR^2)."""
    wins, losses = 7, 3
    found = strengths([("a", "b", "a")] * wins + [("a", "b", "b")] * losses)
    difference = found[0].strength - found[1].strength
    grid = np.linspace(-4, 4, 80001)
    value = -wins * np.log1p(np.exp(-grid)) - losses * np.log1p(np.exp(grid)) - grid**2 / 16
    assert difference == pytest.approx(grid[value.argmax()], abs=1e-3)


@pytest.mark.parametrize("votes", [12, 60])
def test_intervals_cover_the_truth_in_about_95_of_100_cases(votes: int) -> None:
    rng = np.random.default_rng(0)
    truth = np.array([0.8, 0.1, -0.9])
    truth -= truth.mean()
    held = 0
    for _ in range(300):
        rows = []
        for _ in range(votes):
            i, j = rng.choice(3, 2, replace=False)
            rows.append((int(i), int(j), int(i if rng.random() < 1 / (1 + math.exp(truth[j] - truth[i])) else j)))
        held += sum(item.lo <= truth[item.id] <= item.hi for item in strengths(rows))
    assert 0.92 <= held / 900 <= 0.985
