"""Our own search: one gradient at the best candidate ranks every single swap; the most promising are raced; evolution where that stalls.

A gradient is a ranker of proposals here, never a judge: every step is decided by pictures. Its x_t comes from the candidate's own
drawings, so it costs little more than its graded call. In the manner of greedy coordinate gradient (Zou et al. 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from tools.diffusion.gradient import Shortcut
from tools.dpo_diff.evolution import crossed, distinct, even
from tools.dpo_diff.settings import LimnerSettings
from tools.dpo_diff.trials import Choice, Trials
from tools.stats import FEW, paired_bootstrap

MUTATED = 0.15  # of the genes of a child
ATTEMPTS = 10


class SwapGradient(Protocol):
    """What ranking needs: the estimated change of the loss by each single swap at a candidate."""

    calls: int

    def of_swaps(self, choice: Choice, shortcut: Shortcut, seeds: Sequence[int]) -> list[np.ndarray]: ...


def search(trials: Trials, gradient: SwapGradient | None, settings: LimnerSettings, rng: np.random.Generator) -> None:
    """Search until the budget is spent (BudgetSpent passes through), nothing new is found, or the gain is sure and no round raises it.

    Without a gradient (a black box) every round is evolution.
    """
    trials.try_all([trials.space.identity])
    shortcut = Shortcut(int(settings.at * gradient.calls)).within(gradient.calls) if gradient else None
    gains: dict[Choice, list[np.ndarray]] = {}
    idle = 0
    while True:
        best = trials.best
        if gradient and shortcut and best.choice not in gains:
            found = gradient.of_swaps(best.choice, shortcut, trials.seeds)
            # Without a finite gradient there is no ranking, and chance takes its place.
            gains[best.choice] = found if all(np.isfinite(row).all() for row in found) else [rng.normal(size=row.shape) for row in found]
        proposals = (
            _promising(trials, best.choice, gains[best.choice], settings)
            if gradient and idle % (settings.stalled + 1) < settings.stalled
            else []
        )
        proposals = proposals or _children(trials, gains.get(best.choice), settings, rng)
        if not proposals:
            return
        trials.race(proposals, settings.keep)
        idle = 0 if trials.best.conditioning.id != best.conditioning.id else idle + 1
        if idle >= settings.stalled and sure(trials, settings.sure):
            return


def sure(trials: Trials, confidence: float) -> bool:
    """Whether the best candidate's gain over the baseline is beyond chance on the search seeds; never with fewer than six of them."""
    if len(trials.seeds) < FEW:
        return False
    baseline = trials.done[trials.conditioning(trials.space.identity).id]
    difference = np.subtract(trials.best.costs, baseline.costs)
    return paired_bootstrap(-difference, confidence=confidence).above_zero


def _promising(trials: Trials, choice: Choice, gains: Sequence[np.ndarray], settings: LimnerSettings) -> list[Choice]:
    """Single swaps with the largest estimated gain that were not tried, and candidates that make several of the best at once."""
    ranked = sorted((float(row[candidate]), slot, candidate) for slot, row in enumerate(gains) for candidate in range(len(row)))
    swaps = [(estimate, slot, candidate) for estimate, slot, candidate in ranked if candidate != choice[slot] and estimate < 0]
    singles: list[Choice] = []
    for _, slot, candidate in swaps:
        if len(singles) == settings.swaps:
            break
        singles += trials.fresh([_with(choice, {slot: candidate})])
    best_of_slot: dict[int, int] = {}
    for _, slot, candidate in swaps:
        best_of_slot.setdefault(slot, candidate)
    jumps = [dict(list(best_of_slot.items())[:size]) for size in settings.jumps if len(best_of_slot) >= size]
    return trials.fresh([*singles, *(_with(choice, jump) for jump in jumps)])


def _children(trials: Trials, gains: Sequence[np.ndarray] | None, settings: LimnerSettings, rng: np.random.Generator) -> list[Choice]:
    """Crossovers of the better trials with a few genes drawn anew, by the estimates where there are any."""
    ranked = [trial.choice for trial in trials.ranked]
    parents = ranked[: max(2, len(ranked) // 3)]
    weights = [_leaning(row) for row in gains] if gains is not None else None

    def child() -> Choice:
        left, right = (parents[int(rng.integers(len(parents)))] for _ in range(2))
        mixed = crossed(left, right, rng)
        fresh = even(trials.space.sizes, rng) if weights is None else tuple(int(rng.choice(len(row), p=row)) for row in weights)
        redrawn = rng.random(len(mixed)) < max(MUTATED, 1 / len(mixed))
        return tuple(new if change else old for change, new, old in zip(redrawn, fresh, mixed, strict=True))

    return distinct(trials, child, settings.swaps + len(settings.jumps), ATTEMPTS)


def _leaning(gains: np.ndarray) -> np.ndarray:
    """Probabilities that lean to the estimated gains, at the scale of their own spread."""
    scaled = -gains / (gains.std() or 1.0)
    weights = np.exp(scaled - scaled.max())
    return weights / weights.sum()


def _with(choice: Choice, swaps: dict[int, int]) -> Choice:
    return tuple(swaps.get(slot, gene) for slot, gene in enumerate(choice))
