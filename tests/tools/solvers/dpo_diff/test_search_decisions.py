"""Decisions of a search for words: who breeds, which pictures are charged and how often, which meaning is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from limner.promptdb.records import Conditioning, Drawing
from limner.tools.budget import BudgetSpent
from limner.tools.lexicon.calibration import Calibration
from limner.tools.solvers.dpo_diff.evolution import evolve, generation
from limner.tools.solvers.dpo_diff.meaning import Encoder, MeaningFilter, calibrated, words_alone
from limner.tools.solvers.dpo_diff.settings import EvolutionSettings
from limner.tools.solvers.dpo_diff.trials import Choice, Trials
from tests.tools.solvers.dpo_diff.stage import distance, negative_space, trials_of

TARGET = (1, 1, 1, 1)
WELL, BADLY = [(1, 1, 1, 2), (2, 1, 1, 1)], [(3, 3, 3, 3), (4, 4, 4, 4)]


def drawn(trials: Trials) -> list[Drawing]:
    return trials.evaluator.model.drawn  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize(
    ("parents", "higher", "children"),
    [
        (2, False, {(1, 1, 1, 1), (2, 1, 1, 2)}),  # the losses of WELL are the lowest
        (2, True, {(3, 3, 3, 4), (3, 3, 4, 3), (3, 4, 3, 3), (4, 3, 3, 3), (3, 3, 4, 4), (3, 4, 4, 3), (3, 4, 3, 4)}
         | {(4, 4, 3, 3), (4, 3, 4, 3), (4, 3, 3, 4), (4, 4, 4, 3), (4, 4, 3, 4), (4, 3, 4, 4), (3, 4, 4, 4)}),
    ],
)  # fmt: skip
def test_the_best_trials_breed_whatever_is_better(tmp_path: Path, parents: int, higher: bool, children: set[Choice]) -> None:
    trials = trials_of(tmp_path, negative_space(4, 5), distance(TARGET), higher=higher)
    trials.try_all([*WELL, *BADLY])
    known = {trial.choice for trial in trials.ranked}
    settings = EvolutionSettings(parents=parents, mutants=0, crossovers=2, mutation=0.0, attempts=500)
    assert generation(trials, settings, np.random.default_rng(0))
    assert len(bred := {trial.choice for trial in trials.ranked} - known) == 2 and bred <= children


def test_a_mutant_of_the_published_search_keeps_nine_of_ten_genes(tmp_path: Path) -> None:
    parent = (1,) * 20
    trials = trials_of(tmp_path, negative_space(20, 9), distance(parent))
    trials.try_all([parent])
    generation(trials, replace(EvolutionSettings(), crossovers=0, mutants=40), np.random.default_rng(0))
    mutants = [trial.choice for trial in trials.ranked if trial.choice != parent]
    changed = np.mean([gene != 1 for choice in mutants for gene in choice])
    assert len(mutants) == 40 and 0.05 < changed < 0.2


def test_the_published_search_has_twenty_in_its_population_and_twenty_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = trials_of(tmp_path, negative_space(20, 9), distance((1,) * 20), images=2 * 60)
    sizes, whole = [], trials.try_all
    monkeypatch.setattr(trials, "try_all", lambda choices: (sizes.append(len(choices)), whole(choices))[1])
    with pytest.raises(BudgetSpent):
        evolve(trials, EvolutionSettings(), np.random.default_rng(0))
    assert sizes == [1, 19, 20, 20, 20] and len(trials.done) == 60


@pytest.mark.parametrize(
    ("what", "pictures"),
    [
        (lambda trials: trials.try_all([(1, 1), (1, 2)]), 4),
        (lambda trials: trials.try_all([(1, 1), (1, 1)]), 2),
        (lambda trials: (trials.try_all([(1, 1)]), trials.try_all([(1, 1)])), 2),
        (lambda trials: (trials.try_all([(1, 1)]), trials.try_all([(1, 1), (2, 2)])), 4),
        (lambda trials: trials.race([(1, 1), (1, 2), (2, 1), (2, 2)], keep=1), 4 + 2),  # a third of four, rounded up, go on
        (lambda trials: (trials.try_all([(1, 1)]), trials.race([(1, 1)], keep=1)), 2),
        (lambda trials: (trials.try_all([(0, 0), (1, 1)]), trials.confirm([(1, 1)], [7, 8, 9])), 4 + 6),
        (lambda trials: (trials.try_all([(0, 0), (1, 1)]), trials.confirm([(1, 1)], [0, 1])), 4),
        (lambda trials: trials.first_costs([(1, 1)]), 0),
    ],
    ids=["two", "one twice", "one again", "one more", "race", "race of a known one", "confirmed", "confirmed on the same seeds", "known"],
)
def test_a_search_pays_for_each_picture_once(tmp_path: Path, what: Callable[[Trials], Any], pictures: int) -> None:
    """By its own count of what it has spent, by the Budget, and by what was drawn."""
    trials = trials_of(tmp_path, negative_space(2, 3), distance((1, 2)))
    what(trials)
    assert trials.rows / trials.rows_per_image == pictures
    assert trials.evaluator.budget.spent["images"] == pictures == len(drawn(trials))


@pytest.mark.parametrize("resumed", [False, True])
def test_a_search_counts_stored_pictures_as_if_it_drew_them(tmp_path: Path, resumed: bool) -> None:
    """So that one that goes on after a kill decides as one that never was killed; the Budget is not charged again."""
    if resumed:
        trials_of(tmp_path, negative_space(2, 3), distance((1, 2))).try_all([(1, 1)])
    trials = trials_of(tmp_path, negative_space(2, 3), distance((1, 2)))
    trials.try_all([(1, 1)])
    assert trials.rows / trials.rows_per_image == 2
    assert trials.evaluator.budget.spent["images"] == (0 if resumed else 2)


def encoder_of(cosine: float, with_senses: bool) -> Encoder:
    def encode(texts: Sequence[str]) -> np.ndarray:
        angle = np.arccos(cosine)
        return np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)]])[: len(texts)]

    return Encoder("scripted", encode, with_senses)


CAR = "a big red car on a beach"


@pytest.mark.parametrize(
    ("text", "cosine", "with_senses", "kept"),
    [
        ("a large red car on a beach", 0.95, True, True),
        ("a large red car on a beach", 0.85, True, False),
        ("a large red car on a beach", 0.85, False, False),
        ("a large red car on a beach", 0.95, False, True),
        ("a small red car on a beach", 0.99, True, False),
        ("a small red car on a beach", 0.99, False, True),
        ("a small red car on a beach", 0.85, False, False),
        ("a big red car", 0.99, True, False),
        ("a big red car on a beach with a dog", 0.99, True, False),
        (CAR, 0.0, True, True),
        (CAR, 0.0, False, True),
    ],
)
def test_an_attack_needs_the_cosine_and_where_wanted_the_senses(text: str, cosine: float, with_senses: bool, kept: bool) -> None:
    keeps = MeaningFilter(CAR, encoder_of(cosine, with_senses), Calibration(0.9, 0.5, 0.5, 0.0, 10))
    assert keeps(Conditioning(text, "whatever is negative")) is kept


@pytest.mark.parametrize("published", [0.97, 0.999])
def test_a_published_threshold_holds_where_it_is_stricter_than_the_calibrated_one(published: float) -> None:
    assert calibrated(words_alone()).threshold < published
    assert calibrated(replace(words_alone(), threshold=published)).threshold == published
