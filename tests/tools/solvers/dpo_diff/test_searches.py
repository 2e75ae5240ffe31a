"""The searches, on numbers instead of pictures: what they may spend, what they never do twice, what they find.

Properties 16, 17, 18 and 19 of DPO-Diff.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from limner.promptdb.records import Conditioning, Drawing
from limner.tools.budget import BudgetSpent
from limner.tools.solvers.dpo_diff import swap_search
from limner.tools.solvers.dpo_diff.evolution import crossed, even, evolve, first_population, mutated, random_search
from limner.tools.solvers.dpo_diff.gumbel import learn, softmax
from limner.tools.solvers.dpo_diff.settings import EvolutionSettings, GumbelSettings, SwapSettings
from limner.tools.solvers.dpo_diff.trials import Trials, race_cost
from tests.doubles import hashed_value
from tests.tools.solvers.dpo_diff.stage import ToyGradient, distance, negative_space, trials_of

PAPER = EvolutionSettings()
TARGET = (3, 1, 0, 4)
SPACE = negative_space(4, 5)

Search = Callable[[Trials, np.random.Generator], None]
SEARCHES: dict[str, Search] = {
    "random": lambda trials, rng: random_search(trials, PAPER, rng),
    "evolution": lambda trials, rng: evolve(trials, PAPER, rng),
    "swap without a gradient": lambda trials, rng: swap_search.search(trials, None, SwapSettings(), rng),
    "swap": lambda trials, rng: swap_search.search(trials, ToyGradient(TARGET, SPACE.sizes, rng), SwapSettings(), rng),
}


def run(search: Search, trials: Trials, seed: int = 0) -> Trials:
    with suppress(BudgetSpent):
        search(trials, np.random.default_rng(seed))
    return trials


def drawings(trials: Trials) -> list[Drawing]:
    return trials.evaluator.model.drawn  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("images", [1, 2, 3, 21, 60])
def test_no_budget_is_crossed_and_nothing_is_drawn_twice(tmp_path: Path, name: str, images: int) -> None:
    trials = run(SEARCHES[name], trials_of(tmp_path, SPACE, distance(TARGET, 0.3), images))
    drawn = [drawing.id for drawing in drawings(trials)]
    assert len(drawn) == len(set(drawn)) <= images
    assert trials.evaluator.budget.spent["images"] == len(drawn)
    if name in ("random", "evolution"):
        assert len(drawn) == images  # the space is larger than the budget, so none of it is left over


@pytest.mark.parametrize("name", SEARCHES)
def test_the_baseline_is_first_and_the_best_is_never_worse(tmp_path: Path, name: str) -> None:
    trials = run(SEARCHES[name], trials_of(tmp_path, SPACE, distance(TARGET, 0.5), 40))
    order = trials.trajectory()
    assert order[0].conditioning == SPACE.given
    assert trials.best.order <= order[0].order
    best = np.minimum.accumulate([trial.cost for trial in order])
    assert trials.best.cost == pytest.approx(best[-1], abs=1e-4)


@pytest.mark.parametrize("name", SEARCHES)
def test_a_small_space_ends_when_all_of_it_is_tried(tmp_path: Path, name: str) -> None:
    small = negative_space(2, 2)
    search = (
        SEARCHES[name]
        if name != "swap"
        else lambda trials, rng: swap_search.search(trials, ToyGradient((1, 2), small.sizes, rng), SwapSettings(), rng)
    )
    trials = run(search, trials_of(tmp_path, small, distance((1, 2))))
    assert len(trials.tried) <= 9
    assert trials.best.choice == (1, 2)


@pytest.mark.parametrize("name", SEARCHES)
def test_the_same_numbers_give_the_same_history(tmp_path: Path, name: str) -> None:
    histories = []
    for folder in ("one", "two"):
        trials = run(SEARCHES[name], trials_of(tmp_path / folder, SPACE, distance(TARGET, 0.3), 50), seed=7)
        histories.append([trial.choice for trial in trials.trajectory()])
    assert histories[0] == histories[1]


@pytest.mark.parametrize("name", SEARCHES)
def test_what_is_not_allowed_is_never_drawn_nor_returned(tmp_path: Path, name: str) -> None:
    def allowed(conditioning: Conditioning) -> bool:
        return "x1" not in conditioning.negative

    trials = run(SEARCHES[name], trials_of(tmp_path, SPACE, distance(TARGET, 0.3), 40, allowed=allowed))
    assert drawings(trials) and all(allowed(drawing.conditioning) for drawing in drawings(trials))
    assert all(allowed(trial.conditioning) for trial in trials.ranked)


def test_a_higher_score_is_sought_where_that_is_better(tmp_path: Path) -> None:
    trials = run(SEARCHES["evolution"], trials_of(tmp_path, negative_space(2, 2), distance((1, 2)), higher=True))
    assert trials.best.cost == min(trial.cost for trial in trials.ranked) and trials.best.choice != (1, 2)


def test_prompts_over_the_encoders_limit_are_refused_before_they_cost_anything(tmp_path: Path) -> None:
    trials = trials_of(tmp_path, SPACE, distance(TARGET), 60)
    trials.evaluator.model.limit = 3  # type: ignore[attr-defined]
    run(SEARCHES["evolution"], trials)
    assert all(len(drawing.conditioning.negative.split()) <= 3 for drawing in drawings(trials))
    assert trials.refused


def test_a_candidate_that_the_model_could_not_draw_is_tried_once_and_never_best(tmp_path: Path) -> None:
    trials = trials_of(tmp_path, SPACE, distance(TARGET), 60)
    trials.evaluator.model.nan_seeds = frozenset([1])  # type: ignore[attr-defined]
    run(SEARCHES["random"], trials)
    assert not trials.done and len(trials.tried) > 1


@pytest.mark.parametrize(
    ("count", "keep", "seeds", "pictures"), [(1, 2, 4, 4), (2, 2, 4, 8), (6, 2, 6, 6 + 2 * 5), (8, 2, 2, 8 + 3), (9, 1, 3, 9 + 3 + 1)]
)
def test_a_race_costs_what_it_is_said_to(tmp_path: Path, count: int, keep: int, seeds: int, pictures: int) -> None:
    assert race_cost(count, keep, seeds) == pictures
    trials = trials_of(tmp_path, negative_space(2, 9), distance((1, 2), 0.3), seeds=range(seeds))
    trials.race([(1 + place, 1) for place in range(count)], keep)
    assert len(drawings(trials)) == pictures


def test_a_race_gives_all_seeds_to_the_better_ones_alone(tmp_path: Path) -> None:
    trials = trials_of(tmp_path, SPACE, distance(TARGET), seeds=range(6))
    choices = [(word, 1, 0, 4) for word in range(6)]
    finished = trials.race(choices, keep=2)
    assert (3, 1, 0, 4) in [trial.choice for trial in finished] and len(finished) == 2
    assert len(drawings(trials)) == 6 + 2 * 5
    assert not trials.fresh(choices)


def test_mutants_and_crossovers_are_made_of_their_parents() -> None:
    rng = np.random.default_rng(0)
    sizes, parent, other = (9,) * 200, (1,) * 200, (2,) * 200
    changed = np.mean([gene != 1 for _ in range(20) for gene in mutated(parent, sizes, 0.1, rng)])
    assert changed == pytest.approx(0.1 * 8 / 9, abs=0.02)  # redrawn evenly, so sometimes the same
    child = crossed(parent, other, rng)
    assert set(child) == {1, 2} and 70 < child.count(1) < 130
    assert set(even((3,) * 500, rng)) == {0, 1, 2}


def test_the_first_population_collapses_onto_what_was_learned(tmp_path: Path) -> None:
    """With every slot saturated there is one candidate, whatever the number wanted."""
    trials = trials_of(tmp_path, SPACE, distance(TARGET))
    saturated = [np.eye(6)[word] for word in TARGET]
    assert first_population(trials, PAPER, np.random.default_rng(0), 20, saturated) == [TARGET]


def test_the_first_population_follows_the_learned_distribution(tmp_path: Path) -> None:
    trials = trials_of(tmp_path, SPACE, distance(TARGET))
    leaning = [softmax(np.array([0.0, 0, 0, 4.0, 0, 0])) for _ in range(4)]
    found = first_population(trials, PAPER, np.random.default_rng(0), 20, leaning)
    assert found[0] == (3, 3, 3, 3) and len(set(found)) == 20
    assert np.mean([gene == 3 for choice in found for gene in choice]) > 0.6


def test_without_learning_and_exploring_fully_the_hybrid_is_evolution_to_the_digit(tmp_path: Path) -> None:
    def hybrid(trials: Trials, rng: np.random.Generator) -> None:
        trials.try_all([trials.space.identity])
        logits = learn(ToyGradient(TARGET, SPACE.sizes, np.random.default_rng(9)), SPACE.sizes, GumbelSettings(iterations=0), rng)
        evolve(trials, replace(PAPER, explore=1.0), rng, [softmax(row) for row in logits])

    histories = []
    for folder, search in (("one", hybrid), ("two", SEARCHES["evolution"])):
        trials = run(search, trials_of(tmp_path / folder, SPACE, distance(TARGET, 0.3), 120), seed=3)
        histories.append([trial.choice for trial in trials.trajectory()])
    assert histories[0] == histories[1]


def test_a_good_distribution_beats_even_draws_at_the_same_budget(tmp_path: Path) -> None:
    wide = negative_space(6, 9)
    found: dict[str, list[float]] = {"hybrid": [], "evolution": []}
    for seed in range(12):
        rng = np.random.default_rng(seed)
        target = tuple(int(gene) for gene in rng.integers(1, 10, 6))
        logits = learn(ToyGradient(target, wide.sizes, rng), wide.sizes, GumbelSettings(), rng)
        learned = [softmax(row) for row in logits]
        # 20 gradients at half an image a seed are ten images a seed; evolution may draw as many more.
        for name, images, given in (("hybrid", 40, learned), ("evolution", 60, None)):
            trials = trials_of(tmp_path / f"{name}{seed}", wide, distance(target), images)
            run(lambda trials, rng, given=given: evolve(trials, PAPER, rng, given), trials, seed)  # type: ignore[misc]
            found[name].append(trials.best.cost)
    assert np.mean(found["hybrid"]) < np.mean(found["evolution"])


def test_ranked_swaps_need_a_fraction_of_the_candidates(tmp_path: Path) -> None:
    wide = negative_space(6, 9)
    needed = {}
    for name in ("swap", "evolution"):
        counts = []
        for seed in range(6):
            rng = np.random.default_rng(seed)
            target = tuple(int(gene) for gene in rng.integers(1, 10, 6))
            trials = trials_of(tmp_path / f"{name}{seed}", wide, distance(target), 120)
            gradient = ToyGradient(target, wide.sizes, rng)
            run(
                (lambda trials, rng, gradient=gradient: swap_search.search(trials, gradient, SwapSettings(), rng))  # type: ignore[misc]
                if name == "swap"
                else SEARCHES["evolution"],
                trials,
                seed,
            )
            goal = [trial.rows for trial in trials.trajectory() if trial.cost < 0.1]
            counts.append(goal[0] if goal else 1e9)
        needed[name] = np.median(counts)
    assert needed["swap"] < 0.6 * needed["evolution"]


def test_a_gain_that_is_sure_ends_the_search(tmp_path: Path) -> None:
    seeds = tuple(range(8))
    trials = trials_of(tmp_path, SPACE, distance(TARGET, 0.01), 2000, seeds=seeds)
    run(SEARCHES["swap"], trials)
    assert swap_search.sure(trials, 0.99)
    assert len(drawings(trials)) < 1000
    few = trials_of(tmp_path / "few", SPACE, distance(TARGET, 0.01), 200)
    run(SEARCHES["swap"], few)
    assert not swap_search.sure(few, 0.99)


def test_chance_alone_is_not_called_sure(tmp_path: Path) -> None:
    def chance(drawing: Drawing) -> float:
        return 0.9 * hashed_value(drawing)

    trials = trials_of(tmp_path, SPACE, chance, 300, seeds=range(8))
    trials.try_all([SPACE.identity, TARGET])
    assert not swap_search.sure(trials, 0.99)


def test_of_pure_chance_the_finalists_are_seldom_better_on_fresh_seeds_and_their_loss_there_is_no_lower(tmp_path: Path) -> None:
    def chance(drawing: Drawing) -> float:
        return 0.9 * hashed_value(drawing)

    first, fresh = [], []
    for seed in range(8):
        trials = run(SEARCHES["swap"], trials_of(tmp_path / str(seed), SPACE, chance, 80, seeds=(100 * seed, 100 * seed + 1)), seed)
        baseline = trials.done[SPACE.given.id]
        finalists = [id for id in trials.confirmed if id != SPACE.given.id]
        assert len(finalists) == SwapSettings().finalists
        first += [trials.done[id].cost - baseline.cost for id in finalists]
        fresh += [trials.confirmed[id] - trials.confirmed[SPACE.given.id] for id in finalists]
        assert all(trials.confirmed[trial.conditioning.id] <= trials.confirmed[SPACE.given.id] for trial in trials.chosen)
        assert trials.chosen[-1].conditioning == SPACE.given
        assert trials.evaluator.budget.spent["images"] <= 80
    assert np.mean(first) < -0.2 < np.mean(fresh)


def test_what_is_better_is_confirmed_and_proposed(tmp_path: Path) -> None:
    trials = run(SEARCHES["swap"], trials_of(tmp_path, SPACE, distance(TARGET, 0.05), 120))
    assert trials.chosen[0].choice == TARGET
    assert trials.confirmed[trials.chosen[0].conditioning.id] == min(trials.confirmed.values())
    seeds = {drawing.seed for drawing in drawings(trials)}
    assert len(seeds) == len(trials.seeds) + SwapSettings().fresh


def test_a_purse_too_small_for_fresh_seeds_is_searched_with_alone(tmp_path: Path) -> None:
    trials = run(SEARCHES["swap"], trials_of(tmp_path, SPACE, distance(TARGET, 0.3), 21))
    assert not trials.confirmed and trials.chosen == trials.ranked
