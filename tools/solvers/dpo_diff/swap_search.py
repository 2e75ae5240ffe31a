"""This project's own search: previews at the best candidate rank every single swap, and the most promising are raced; rounds of evolution
take turns where they do better.

The ranking only proposes; pictures decide every step. x_t comes from the candidate's own drawings, so that a swap costs one row and one
decoding a seed. Similar to greedy coordinate gradient (Zou et al. 2023), whose first-order estimate is the alternative ranker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from limner.tools.budget import BudgetSpent
from limner.tools.diffusion.gradients.shortcut import Shortcut
from limner.tools.solvers.dpo_diff.evolution import crossed, distinct, mutated
from limner.tools.solvers.dpo_diff.settings import SwapSettings
from limner.tools.solvers.dpo_diff.trials import Choice, Trials
from limner.tools.stats import FEW, paired_bootstrap

MUTATED = 0.15  # share of a child's genes
ATTEMPTS = 10
FEWEST = 2  # with fewer fresh seeds the finalists are not compared again
NOTICED = 1e-4  # smaller gains count as none, as in rankings

Source = Callable[[Choice], list[Choice]]
"""Returns proposals around a candidate; none where it has nothing new."""


class SwapRanker(Protocol):
    """Estimates how much each swap changes the loss. `calls`: the sampler's model calls."""

    calls: int

    def of_swaps(self, choice: Choice, shortcut: Shortcut, seeds: Sequence[int]) -> list[np.ndarray]:
        """Returns for every slot an array over its candidates: the estimated change of the loss by that single swap, mean over the
        seeds.
        """


def search(trials: Trials, ranker: SwapRanker | None, settings: SwapSettings, rng: np.random.Generator) -> None:
    """Search with most of the budget; with the rest the finalists and the baseline meet fresh seeds. BudgetSpent passes through."""
    trials.try_all([trials.space.identity])
    images = trials.rows_left / trials.rows_per_image
    fresh = int(min(settings.fresh, settings.kept_back * images / (settings.finalists + 1)))
    if fresh < FEWEST:
        return _explore(trials, ranker, settings, rng)
    trials.kept_back = fresh * (settings.finalists + 1) * trials.rows_per_image
    with suppress(BudgetSpent):
        _explore(trials, ranker, settings, rng)
    finalists = [trial.choice for trial in trials.ranked if trial.conditioning != trials.space.given][: settings.finalists]
    if finalists:
        trials.confirm(finalists, [max(trials.seeds) + 1 + place for place in range(fresh)])


def _explore(trials: Trials, ranker: SwapRanker | None, settings: SwapSettings, rng: np.random.Generator) -> None:
    """Search until the budget is spent (BudgetSpent passes through), nothing new is found, or the gain is sure and no round raises it.

    A round's proposals come from the ranking or from evolution, chosen by Thompson sampling on how often the proposals of each beat the
    best candidate on the first seed. So a ranking that is worthless on a checkpoint is soon abandoned. Without a ranker (a black box) every
    round is evolution.
    """
    sources: dict[str, Source] = {"evolution": lambda choice: _children(trials, settings, rng)}
    if ranker:
        sources = {"ranking": _Promising(trials, ranker, settings), **sources}
    won = {name: [1, 1] for name in sources}  # successes and failures, starting with one of each
    idle = 0
    while True:
        best = trials.best
        proposals: list[Choice] = []
        # Each gets a first round, the ranking before evolution; afterwards by Thompson sampling.
        luck = {name: float(rng.beta(*won[name])) for name in sources}
        for name in sorted(sources, key=lambda name: (sum(won[name]) > 2, -luck[name] if sum(won[name]) > 2 else 0.0)):
            if proposals := sources[name](best.choice):
                break
        if not proposals:
            return
        trials.race(proposals, settings.keep)
        first = trials.first_costs(proposals)
        better = int(np.sum(first < best.costs[0] - NOTICED))
        won[name][0] += better
        won[name][1] += int(np.isfinite(first).sum()) - better
        idle = 0 if trials.best.conditioning.id != best.conditioning.id else idle + 1
        if idle >= settings.stalled and sure(trials, settings.sure):
            return


def sure(trials: Trials, confidence: float) -> bool:
    """Whether the best candidate's gain over the baseline is significant on the search seeds; never with fewer than six of them."""
    if len(trials.seeds) < FEW:
        return False
    baseline = trials.done[trials.conditioning(trials.space.identity).id]
    difference = np.subtract(trials.best.costs, baseline.costs)
    return paired_bootstrap(-difference, confidence=confidence).above_zero


@dataclass
class _Promising:
    """Proposes untried single swaps with the largest estimated gain, and candidates that combine several of the best."""

    trials: Trials
    ranker: SwapRanker
    settings: SwapSettings
    known: dict[Choice, list[np.ndarray]] = field(default_factory=dict)
    rows: float = 0.0
    """UNet rows of the last ranking."""

    def __call__(self, choice: Choice) -> list[Choice]:
        settings, trials = self.settings, self.trials
        swaps: list[tuple[int, int]] = []
        for _, slot, candidate in sorted(
            (float(value), slot, candidate) for slot, row in enumerate(self._gains(choice)) for candidate, value in enumerate(row)
        ):
            if candidate != choice[slot]:
                swaps.append((slot, candidate))
        singles: list[Choice] = []
        for slot, candidate in swaps:
            if len(singles) == settings.swaps:
                break
            singles += trials.fresh([_with(choice, {slot: candidate})])
        best_of_slot: dict[int, int] = {}
        for slot, candidate in swaps:
            best_of_slot.setdefault(slot, candidate)
        jumps = [dict(list(best_of_slot.items())[:size]) for size in settings.jumps if len(best_of_slot) >= size]
        return trials.fresh([*singles, *(_with(choice, jump) for jump in jumps)]) if singles else []

    def _gains(self, choice: Choice) -> list[np.ndarray]:
        """Returns the ranking at a candidate.

        A new ranking is made while it is cheap relative to the remaining rows; otherwise the last one is reused, as if gains added up.
        Empty where it is not finite or costs more than is left.
        """
        if choice not in self.known and (not self.known or self.rows <= self.settings.share * self.trials.rows_left):
            shortcut, before = Shortcut(int(self.settings.at * self.ranker.calls)).within(self.ranker.calls), self.trials.rows
            try:
                found = self.ranker.of_swaps(choice, shortcut, self.trials.seeds)
            except BudgetSpent:
                found = []
            self.rows = max(self.rows, self.trials.rows - before)
            self.known[choice] = found if all(np.isfinite(row).all() for row in found) else []
        ranking = self.known.get(choice) or next((rows for rows in reversed(self.known.values()) if rows), [])
        return [row - row[chosen] for row, chosen in zip(ranking, choice, strict=True)] if ranking else []


def _children(trials: Trials, settings: SwapSettings, rng: np.random.Generator) -> list[Choice]:
    """Crossovers of the better trials with a few genes drawn anew."""
    ranked = [trial.choice for trial in trials.ranked]
    parents = ranked[: max(2, len(ranked) // 3)]

    def child() -> Choice:
        left, right = (parents[int(rng.integers(len(parents)))] for _ in range(2))
        return mutated(crossed(left, right, rng), trials.space.sizes, max(MUTATED, 1 / len(left)), rng)

    return distinct(trials, child, settings.swaps + len(settings.jumps), ATTEMPTS)


def _with(choice: Choice, swaps: dict[int, int]) -> Choice:
    return tuple(swaps.get(slot, gene) for slot, gene in enumerate(choice))
