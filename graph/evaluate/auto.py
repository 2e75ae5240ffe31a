"""Measures `auto` against each single strategy at equal cost, on held-out prompts and seeds that no run has seen.

Every run has the same images and UNet rows, gradients included. The rival is the single strategy that did best on these very prompts, which
could not have been known before; that selection favours the rival, not `auto`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, cast

import numpy as np

from limner.graph.evaluate.base import Row, Target
from limner.graph.evaluate.heldout import heldout_prompts, report_seeds
from limner.graph.refine.auto import STRATEGIES, graph_of
from limner.graph.runner import complete
from limner.graph.solvers import missing
from limner.graph.state import Context, RefineState
from limner.promptdb.records import Conditioning, content_id
from limner.tools.budget import Budget
from limner.tools.evaluation import Evaluation
from limner.tools.events import Emit
from limner.tools.stats import Interval, paired_bootstrap

SEEDS = 4
PROMPTS, PROMPTS_FULL = 12, 60


class AutoSuite:
    """Rows: gain over the plain prompt of every strategy and of auto, by the objective and the judge; auto less the best single one."""

    name: ClassVar[str] = "auto"
    summary: ClassVar[str] = "does sharing one budget do as well as the best single strategy?"

    def pictures(self, context: Context, full: bool) -> int:
        """Returns how many pictures the suite draws at most."""
        prompts = len(heldout_prompts(context, PROMPTS_FULL if full else PROMPTS))
        return prompts * (len(self._methods(context)) * (context.settings.budget + SEEDS) + SEEDS)

    def run(self, context: Context, full: bool, emit: Emit) -> Sequence[Row]:
        """Runs every strategy and auto on every prompt; returns the rows."""
        prompts = heldout_prompts(context, PROMPTS_FULL if full else PROMPTS)
        seeds = report_seeds(context, SEEDS)
        plain = context.evaluator.evaluate([Conditioning(prompt) for prompt in prompts], prompts, seeds, emit=emit)
        after: dict[str, Evaluation] = {}
        rows: list[Row] = []
        for method in self._methods(context):
            results, costs = [], []
            for prompt in prompts:
                state, cost = refined(context, prompt, method)
                results.append(Conditioning.from_json(state["outcome"]["result"]["conditioning"]))
                costs.append(cost)
            after[method] = context.evaluator.evaluate(results, prompts, seeds, emit=emit)
            rows += self._gains(context, method, plain, after[method])
            rows.append(Row(f"{method}: image equivalents spent", float(np.mean(costs)), None, len(costs)))
        return [*rows, *self._against_best(context, plain, after)]

    def _methods(self, context: Context) -> list[str]:
        present = [name for name in STRATEGIES if name == "rewrite" or not missing(name, context.solvers, context.evaluator)]
        return [*present, "auto"]

    def _gains(self, context: Context, method: str, plain: Evaluation, after: Evaluation) -> list[Row]:
        rows = []
        for scorer in context.evaluator.scorers:
            interval = _difference(context, scorer.name, plain, after)
            rows.append(Row(f"{method}: {scorer.name}", interval.mean, (interval.lo, interval.hi), interval.n))
        return rows

    def _against_best(self, context: Context, plain: Evaluation, after: Mapping[str, Evaluation]) -> list[Row]:
        objective = context.evaluator.objective
        sign = 1 if objective.higher_is_better else -1
        singles = [name for name in after if name != "auto"]
        best = max(singles, key=lambda name: sign * _difference(context, objective.name, plain, after[name]).mean)
        interval = _difference(context, objective.name, after[best], after["auto"])
        lo, hi = sorted((sign * interval.lo, sign * interval.hi))
        return [Row(f"auto less the best single strategy ({best})", sign * interval.mean, (lo, hi), interval.n, Target(">=", 0, "hi"))]


SUITE = AutoSuite()


def refined(context: Context, prompt: str, method: str) -> tuple[RefineState, float]:
    """Runs a method on a prompt with a budget of its own, which pays for stored pictures too; returns the state and the image equivalents
    spent.
    """
    settings, outer = context.settings, context.evaluator
    budget = Budget(images=settings.budget, unet_rows=settings.budget * outer.rows_per_image)
    inner = outer.within(budget, reuse_cache=False)
    run = content_id(["evaluate", method, prompt, settings.seed])
    start: RefineState = {"run": run, "prompt": prompt, "method": method}
    state = complete(graph_of(method), replace(context, evaluator=inner), start)
    return cast(RefineState, state), budget.spent["unet_rows"] / outer.rows_per_image


def _difference(context: Context, name: str, before: Evaluation, after: Evaluation) -> Interval:
    """The paired difference, resampling whole prompts."""
    clusters = np.repeat(np.arange(len(before.conditionings)), len(before.seeds))
    return paired_bootstrap((after.values[name] - before.values[name]).ravel(), clusters, context.settings.seed)
