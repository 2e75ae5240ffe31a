"""How the arms of a run stand: what the bandit sees of them, which children are good enough, whether a winner is sure.

Reads trials; draws nothing. A prompt met twice on the same seed is one pull: its picture is the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from agents.bandit import ArmRecord
from graph import arms
from graph.optimize_state import ArmRow
from graph.state import Context
from promptdb.trials import Standing, Trial, Trials
from tools.stats import paired_bootstrap

Pull = tuple[str, int]  # prompt and seed

FEWEST = 6  # prompts, below which no bootstrap is trusted with ending a search


def records(context: Context, trials: Trials, ids: Iterable[str]) -> list[ArmRecord]:
    """Rewards of all pulls, and the mean of the latest iteration, in units of the spread of all gains. An arm none of whose pictures
    was usable is left out."""
    higher, every = context.evaluator.objective.higher_is_better, trials.trials()
    unit = arms.spread(every, higher)
    return _records(every, ids, lambda trial: arms.gain(trial, higher) / unit)


def raw_records(trials: Trials, ids: Iterable[str]) -> list[ArmRecord]:
    """The reference's rewards: the scores themselves."""
    return _records(trials.trials(), ids, lambda trial: math.nan if trial.value is None else trial.value)


def _records(trials: Sequence[Trial], ids: Iterable[str], reward: Callable[[Trial], float]) -> list[ArmRecord]:
    found: list[ArmRecord] = []
    for arm in dict.fromkeys(ids):
        own = [(trial, reward(trial)) for trial in trials if trial.instruction == arm]
        own = [(trial, value) for trial, value in own if not math.isnan(value)]
        if own:
            pulls = {(trial.prompt, trial.seed): value for trial, value in own}
            last = max(trial.iteration for trial, _ in own)
            latest = float(np.mean([value for trial, value in own if trial.iteration == last]))
            found.append(ArmRecord(arm, tuple(pulls.values()), latest))
    return found


def mean(trials: Trials, arm: str, iteration: int) -> float | None:
    """Mean score of the arm's batch; None where no picture was usable."""
    values = [row.value for row in trials.trials(arm, iteration) if row.value is not None]
    return float(np.mean(values)) if values else None


def accepted(context: Context, trials: Trials, iteration: int, parent: str, children: Sequence[ArmRow]) -> list[ArmRow]:
    """The children that gained at least as much as their parent, on the same prompts and seeds; notes the fate of each."""
    kept, fates = [], []
    for child in children:
        ahead = list(_ahead(context, trials.trials(iteration=iteration), child["id"], parent).values())
        good = bool(ahead) and float(np.mean(ahead)) >= 0
        kept += [child] if good else []
        fate = "born" if good else "rejected"
        fates.append(Standing(iteration, child["id"], mean(trials, child["id"], iteration), len(ahead), None, fate))
    trials.add_standings(fates)
    return kept


def is_ahead(context: Context, trials: Trials, arm: str, other: str, confidence: float) -> bool:
    """Whether an arm gained more than another on the pulls that both had: the whole interval, clustered by prompt, above zero."""
    ahead = _ahead(context, trials.trials(), arm, other)
    prompts = [prompt for prompt, _ in ahead]
    interval = paired_bootstrap(list(ahead.values()), prompts, context.settings.seed, confidence=confidence)
    return interval.n >= FEWEST and interval.above_zero


def _ahead(context: Context, trials: Sequence[Trial], arm: str, other: str) -> dict[Pull, float]:
    """By how much an arm gained more than another, on each pull that both had and both got a picture of."""
    higher = context.evaluator.objective.higher_is_better
    gains = {
        id: {(trial.prompt, trial.seed): arms.gain(trial, higher) for trial in trials if trial.instruction == id} for id in (arm, other)
    }
    both = {pull: value - gains[other].get(pull, math.nan) for pull, value in gains[arm].items()}
    return {pull: value for pull, value in both.items() if not math.isnan(value)}
