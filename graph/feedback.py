"""Stores what a finished run has found out about prompts of the database: their scores, and the better prompt that the run found.

A new prompt enters the library only where the held-out check confirms it. Evaluation suites do not call this file, since their prompts must
stay unseen.
"""

from __future__ import annotations

import math

from limner.graph.nodes import conditioning_of
from limner.graph.optimize.arms import gain, spread
from limner.graph.state import Context, RefineState
from limner.promptdb.records import Prompt
from limner.promptdb.search.merit import SOURCE, Gain, effect, take_up
from limner.promptdb.trials import Trials


def learn_from_refine(context: Context, state: RefineState) -> int:
    """Stores the scores of a run that refined a prompt; returns how many prompts of the library got a score."""
    outcome = state["outcome"]
    objective, best = outcome["objective"], outcome["best"]
    row = outcome["scores"].get(objective)
    if best is None or row is None or row["delta"] is None:
        return 0
    value = effect(row["delta"], row["ci95"], row["n"], outcome["higher_is_better"][objective])
    if value is None:
        return 0
    conditioning = conditioning_of(best)
    better = Prompt(conditioning.text, SOURCE, state["prompt"], conditioning.negative) if outcome["improved"] else None
    gains = [Gain(exemplar["id"], "shown", value) for exemplar in state.get("exemplars", []) if "id" in exemplar]
    gains.append(Gain(Prompt(conditioning.text).id, "drawn", value))
    return take_up(context.db, state["run"], objective, gains, better)


def learn_from_optimize(context: Context, run: str) -> int:
    """Stores the mean gain of every prompt of the library that `optimize` drew in place of a rewriting.

    Gains are in units of the standard deviation of all gains of the run. Returns how many prompts got a score.
    """
    objective = context.evaluator.objective
    trials = Trials(context.db, run).trials()
    unit = spread(trials, objective.higher_is_better)
    gains: dict[str, list[float]] = {}
    for trial in trials:
        value = gain(trial, objective.higher_is_better)
        if not math.isnan(value):
            gains.setdefault(Prompt(trial.conditioning.text).id, []).append(value / unit)
    means = [Gain(prompt, "drawn", sum(values) / len(values)) for prompt, values in gains.items()]
    return take_up(context.db, run, objective.name, means)
