"""Measures `refine --method rewrite`: whole runs on held-out prompts, their results measured on seeds that no run has seen.

A run returns the user's prompt where it found no improvement; such runs count as zero gain. The rivals are the rewriter's first variant
without any search, and one fixed list of good tags for every prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, cast

import numpy as np

from limner.graph.evaluate.base import Row, Target
from limner.graph.evaluate.heldout import heldout_prompts, report_seeds
from limner.graph.refine.graph import build_refine
from limner.graph.runner import complete
from limner.graph.state import Context, RefineState
from limner.promptdb.records import Conditioning, content_id
from limner.tools.evaluation import Evaluation
from limner.tools.events import Emit
from limner.tools.stats import paired_bootstrap, prompts_needed

SEEDS = 4
PROMPTS, PROMPTS_FULL = 40, 160
JUDGE_LOSS = 0.02  # by how much the share of right attributes may fall for a gain in preference


class RewriteSuite:
    """Rows: gain over the plain prompt by every scorer, of the whole method and of its two rivals."""

    name: ClassVar[str] = "rewrite"
    summary: ClassVar[str] = "do rewritten prompts draw better pictures of what was asked?"

    def pictures(self, context: Context, full: bool) -> int:
        """Returns how many pictures the suite draws at most."""
        prompts = len(heldout_prompts(context, PROMPTS_FULL if full else PROMPTS))
        return prompts * (context.settings.budget + 4 * SEEDS)

    def run(self, context: Context, full: bool, emit: Emit) -> Sequence[Row]:
        """Refines every prompt and measures the results and the rivals; returns the rows."""
        prompts = heldout_prompts(context, PROMPTS_FULL if full else PROMPTS)
        refined, first = [], []
        for prompt in prompts:
            state = _refine(context, prompt)
            refined.append(Conditioning.from_json(state["outcome"]["result"]["conditioning"]))
            first.append(Conditioning.from_json(state["candidates"][0]["conditioning"]) if state["candidates"] else Conditioning(prompt))
        methods = {"refine": refined, "first variant, no search": first}
        if tags := context.card.document.get("tags"):
            methods["fixed tags"] = [Conditioning(f"{prompt}, {tags['positive']}", tags["negative"]) for prompt in prompts]
        seeds = report_seeds(context, SEEDS)
        plain = context.evaluator.evaluate([Conditioning(prompt) for prompt in prompts], prompts, seeds, emit=emit)
        rows: list[Row] = []
        for name, chosen in methods.items():
            after = context.evaluator.evaluate(chosen, prompts, seeds, emit=emit)
            rows += self._gains(context, name, plain, after)
        changed = [float(item != Conditioning(prompt)) for item, prompt in zip(refined, prompts, strict=True)]
        share = paired_bootstrap(changed, None, context.settings.seed)
        return [*rows, Row("refine: prompts improved", share.mean, (share.lo, share.hi), share.n)]

    def _gains(self, context: Context, method: str, plain: Evaluation, after: Evaluation) -> list[Row]:
        objective, judge, rows = context.evaluator.objective, context.card.judge, []
        clusters = np.repeat(np.arange(len(plain.conditionings)), len(plain.seeds))
        for scorer in context.evaluator.scorers:
            delta = (after.values[scorer.name] - plain.values[scorer.name]).ravel()
            interval = paired_bootstrap(delta, clusters, context.settings.seed)
            target = None
            if method == "refine" and scorer.name == objective.name:
                target = Target(">", 0, "lo") if scorer.higher_is_better else Target("<", 0, "hi")
            elif method == "refine" and scorer.name == judge:
                target = Target(">=", -JUDGE_LOSS)
            rows.append(Row(f"{method}: {scorer.name}", interval.mean, (interval.lo, interval.hi), interval.n, target))
            if method == "refine" and scorer.name == objective.name:
                needed = prompts_needed(delta, clusters=clusters)
                rows.append(Row(f"{method}: {scorer.name}, prompts needed for 80 % power", float(needed or "nan"), None, interval.n))
        return rows


SUITE = RewriteSuite()


def _refine(context: Context, prompt: str) -> RefineState:
    """Runs the method once on a slice of the suite's budget."""
    settings, outer = context.settings, context.evaluator
    inner = outer.within(outer.budget.slice(images=settings.budget))
    start: RefineState = {"run": content_id(["evaluate", prompt, settings.seed]), "prompt": prompt, "method": "rewrite"}
    return cast(RefineState, complete(build_refine("rewrite"), replace(context, evaluator=inner), start))
