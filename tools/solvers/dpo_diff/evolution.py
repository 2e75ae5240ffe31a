"""Evolutionary search over choices (DPO-Diff, sec. 6.2 and appendix): the black-box part, and how all populations are drawn.

Parents are the best trials so far, whichever search made them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from limner.tools.solvers.dpo_diff.settings import EvolutionSettings
from limner.tools.solvers.dpo_diff.trials import Choice, Trials

Probabilities = Sequence[np.ndarray]
"""One distribution over its candidates for each slot."""

Draw = Callable[[], Choice]


def evolve(trials: Trials, settings: EvolutionSettings, rng: np.random.Generator, learned: Probabilities | None = None) -> None:
    """Searches until the budget is spent (BudgetSpent is passed on) or no new candidate is found.

    The first population is drawn from `learned`, its most probable candidate first; uniformly where it is None.
    """
    trials.try_all([trials.space.identity])
    wanted = settings.population - 1  # the baseline is one of them
    trials.try_all(first_population(trials, settings, rng, wanted, learned))
    while generation(trials, settings, rng):
        pass


def random_search(trials: Trials, settings: EvolutionSettings, rng: np.random.Generator) -> None:
    """Tries uniform, independent, distinct candidates until the budget is spent: the paper's baseline (sec. 8.1)."""
    trials.try_all([trials.space.identity])
    while trials.try_all(distinct(trials, lambda: even(trials.space.sizes, rng), settings.population, settings.attempts)):
        pass


def generation(trials: Trials, settings: EvolutionSettings, rng: np.random.Generator) -> bool:
    """Makes one generation: mutants and crossovers of the best, filled up at random. Returns whether anything new was found."""
    sizes = trials.space.sizes
    parents = [trial.choice for trial in trials.ranked[: settings.parents]]
    children = distinct(trials, lambda: mutated(_pick(parents, rng), sizes, settings.mutation, rng), settings.mutants, settings.attempts)
    children += distinct(
        trials, lambda: crossed(_pick(parents, rng), _pick(parents, rng), rng), settings.crossovers, settings.attempts, children
    )
    missing = settings.mutants + settings.crossovers - len(children)
    children += distinct(trials, lambda: even(sizes, rng), missing, settings.attempts, children)
    trials.try_all(children)
    return bool(children)


def first_population(
    trials: Trials, settings: EvolutionSettings, rng: np.random.Generator, wanted: int, learned: Probabilities | None
) -> list[Choice]:
    """Returns distinct candidates from the learned distribution, the most probable first; genes are uniform with probability `explore`."""
    sizes = trials.space.sizes
    if learned is None:
        return distinct(trials, lambda: even(sizes, rng), wanted, settings.attempts)
    first = trials.fresh([tuple(int(np.argmax(slot)) for slot in learned)])[:wanted]

    def draw() -> Choice:
        spread = even(sizes, rng)  # always drawn, so that explore = 1 gives the same random numbers as a search without learning
        if settings.explore >= 1:
            return spread
        chosen = (int(rng.choice(len(slot), p=slot)) for slot in learned)
        return tuple(uniform if rng.random() < settings.explore else gene for uniform, gene in zip(spread, chosen, strict=True))

    if settings.explore >= 1:
        first = []
    return first + distinct(trials, draw, wanted - len(first), settings.attempts, first)


def distinct(trials: Trials, draw: Draw, wanted: int, attempts: int, besides: Sequence[Choice] = ()) -> list[Choice]:
    """Returns up to `wanted` candidates that are new and allowed, in at most `attempts` draws for each: small spaces run out."""
    seen = {trials.conditioning(choice).id for choice in besides}
    found: list[Choice] = []
    for _ in range(attempts * max(0, wanted)):
        if len(found) >= wanted:
            break
        fresh = trials.fresh([draw()])
        if fresh and (key := trials.conditioning(fresh[0]).id) not in seen:
            seen.add(key)
            found += fresh
    return found


def even(sizes: Sequence[int], rng: np.random.Generator) -> Choice:
    """Draws a uniform choice: for each slot an index below its size."""
    return tuple(int(gene) for gene in rng.integers(0, sizes))


def mutated(parent: Choice, sizes: Sequence[int], rate: float, rng: np.random.Generator) -> Choice:
    """Redraws each gene with probability `rate`; it may keep its value."""
    redrawn, anew = rng.random(len(parent)) < rate, even(sizes, rng)
    return tuple(new if change else old for change, new, old in zip(redrawn, anew, parent, strict=True))


def crossed(left: Choice, right: Choice, rng: np.random.Generator) -> Choice:
    """Takes each gene from either parent with equal probability."""
    side = rng.random(len(left)) < 0.5
    return tuple(a if chosen else b for chosen, a, b in zip(side, left, right, strict=True))


def _pick(parents: Sequence[Choice], rng: np.random.Generator) -> Choice:
    return parents[int(rng.integers(len(parents)))]
