"""The searches over effects, on values that are known beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from limner.tools.solvers.df_prompt.effects import DEFAULT, GRID, LATE, Effects
from limner.tools.solvers.df_prompt.phrases import movable
from limner.tools.solvers.df_prompt.search import Trials, coordinate_search, random_search

PHRASES = movable("a cat, highly detailed, golden hour, oil painting, 8k, bokeh")
AIM = (GRID[12], GRID[2], GRID[9], GRID[14], GRID[0])
"""What each of the five phrases does best with; GRID[10:] are late."""


def nearness(effects: Effects) -> float:
    """0 at best; each phrase adds what its range and weight are off, for itself."""
    return -sum(
        float(abs(one.weight - aim.weight)) + 0.5 * ((one.lo, one.hi) != (aim.lo, aim.hi)) for one, aim in zip(effects, AIM, strict=True)
    )


def trials(most: float = math.inf, value: Callable[[Effects], float] = nearness) -> tuple[Trials, list[list[Effects]]]:
    asked: list[list[Effects]] = []
    left = [most]

    def score(candidates: Sequence[Effects]) -> list[float]:
        asked.append(list(candidates))
        left[0] -= len(candidates)
        return [value(item) for item in candidates]

    return Trials(score, lambda candidates: len(candidates) <= left[0]), asked


def test_where_phrases_act_for_themselves_the_best_is_found() -> None:
    found, asked = trials()
    coordinate_search(PHRASES, found)
    assert found.best == AIM
    assert sum(map(len, asked)) < 200  # of 759,375


def test_at_equal_cost_it_beats_chance() -> None:
    for most in (40, 80):
        searched, chance = trials(most)[0], trials(most)[0]
        coordinate_search(PHRASES, searched)
        random_search(PHRASES, chance, np.random.default_rng(0))
        assert searched.values[searched.best] > chance.values[chance.best]
        assert len(chance.values) == most and len(searched.values) <= most


def test_nothing_is_asked_for_that_cannot_be_paid_and_nothing_twice() -> None:
    for most in (0, 1, 5, 33):
        for search in (
            lambda found: coordinate_search(PHRASES, found),
            lambda found: random_search(PHRASES, found, np.random.default_rng(1)),
        ):
            found, asked = trials(most)
            search(found)
            every = [item for request in asked for item in request]
            assert len(every) == len(set(every)) == len(found.values) == most


def test_late_words_are_weighed_in_requests_of_their_own() -> None:
    """So that a request shares the first half of the denoising."""
    _, asked = (pair := trials())
    coordinate_search(PHRASES, pair[0])

    def early(item: Effects) -> tuple[object, ...]:
        return tuple("late" if (one.lo, one.hi) == LATE else one for one in item)

    inner = [request for request in asked if len(request) > 3 and len({early(item) for item in request}) == 1]
    assert inner
    assert all(len({one.weight for item in request for one in item}) > 1 for request in inner)


def test_default_triples_are_what_it_begins_with_and_stays_with_where_nothing_helps() -> None:
    default = (DEFAULT,) * len(PHRASES)
    found, asked = trials(value=lambda item: 1.0 if item == default else 0.0)
    coordinate_search(PHRASES, found)
    assert asked[0][0] == default == found.best


def test_candidates_without_a_value_are_left_out() -> None:
    default = (DEFAULT,) * len(PHRASES)
    found, _ = trials(value=lambda item: math.nan if item != default else 0.0)
    coordinate_search(PHRASES, found)
    assert found.ranking() == [default]
    nothing, _ = trials(value=lambda item: math.nan)
    coordinate_search(PHRASES, nothing)
    assert nothing.ranking() == []


def test_the_grid_is_three_ranges_by_five_weights() -> None:
    assert len(set(GRID)) == 15 and {float(effect.weight) for effect in GRID} == {0.5, 0.75, 1.0, 1.25, 1.5}
    assert {(effect.lo, effect.hi) for effect in GRID} == {(0, Fraction(1, 2)), (0, 1), (Fraction(1, 2), 1)}
