"""Measures the search for words on hard prompts, with one budget for every search, on seeds that no search has seen.

The claims of DPO-Diff (Wang et al. 2024, tables 1 and 2, figure 6) on any checkpoint with a CLIP and a judge on its card. Hard prompts are
those that the checkpoint follows worst, easy ones (for the attack) those that it follows best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from limner.graph.evaluate.base import Row, Target
from limner.graph.evaluate.heldout import REPORT_FROM, heldout_prompts, interval_of_rows, judge_of, report_seeds
from limner.graph.solvers import OBJECTIVE
from limner.graph.state import Context
from limner.promptdb.records import Conditioning
from limner.tools.budget import Budget, BudgetSpent
from limner.tools.evaluation import Evaluation
from limner.tools.evaluator import Evaluator
from limner.tools.events import Emit
from limner.tools.lexicon.offline import offline
from limner.tools.scoring.adversarial import Adversarial
from limner.tools.scoring.base import Scorer
from limner.tools.scoring.registry import open_scorer
from limner.tools.solvers.base import Task
from limner.tools.solvers.dpo_diff.meaning import meaning_kept
from limner.tools.solvers.dpo_diff.settings import NEGATIVE, DpoSettings
from limner.tools.solvers.dpo_diff.solver import DpoDiff, anything, sampler_of
from limner.tools.solvers.dpo_diff.space import Words
from limner.tools.stats import Interval, paired_bootstrap

BUDGET = 80  # image equivalents of one search
ATTACK = 40  # and of an attack, whose space is small
SEARCHED = ("swap", "hybrid", "evolution", "random")
PROMPTS, PROMPTS_FULL = 16, 40
POOL, POOL_FULL = 100, 200  # prompts of which the hardest and the easiest are taken
SEEDS = 8
SMALL = 20  # image equivalents of a small budget
ROWS_SHARE = 0.6
SEVERAL = 40  # seeds of the rival that draws the plain prompt again and again
SAMPLED = 12  # images of a space's random candidates


@dataclass(frozen=True)
class Found:
    """The result of one search on one prompt. `curve`: (rows, best cost on the search seeds) at each new trial. `rows`: UNet rows spent."""

    prompt: str
    result: Conditioning
    curve: tuple[tuple[float, float], ...]
    rows: float
    mean_change: float
    """Mean change of the objective on the search seeds over all candidates tried, without any selection."""

    def at(self, rows: float) -> float:
        """Returns the best cost after `rows` UNet rows; before the first trial, that of the baseline."""
        return min((cost for spent, cost in self.curve if spent <= rows), default=self.curve[0][1])

    def rows_to(self, cost: float) -> float | None:
        """Returns the UNet rows after which the best cost was `cost` or less; None where it never was."""
        return next((spent for spent, best in self.curve if best <= cost + 1e-9), None)


class DpoDiffSuite:
    """Rows: gains of every search by every scorer, searches against one another, spaces, the attack."""

    name: ClassVar[str] = "dpo-diff"
    summary: ClassVar[str] = "do searched words make hard prompts come out, and can words of the same meaning break easy ones?"

    def pictures(self, context: Context, full: bool) -> int:
        """Returns how many pictures the suite draws at most."""
        prompts, pool = (PROMPTS_FULL, POOL_FULL) if full else (PROMPTS, POOL)
        return 2 * pool + prompts * (BUDGET * (len(SEARCHED) + 1) + 2 * ATTACK + SEVERAL + 3 * SAMPLED + SEEDS * (len(SEARCHED) + 5))

    def run(self, context: Context, full: bool, emit: Emit) -> Sequence[Row]:
        """Runs every search on the hard prompts and the attack on the easy ones; returns the rows."""
        return _Measure(context, emit).rows(*((PROMPTS_FULL, POOL_FULL) if full else (PROMPTS, POOL)))


SUITE = DpoDiffSuite()


class _Measure:
    def __init__(self, context: Context, emit: Emit) -> None:
        sampler = sampler_of(context.evaluator)
        own = context.evaluator.scorers
        self.loss = next((scorer for scorer in own if scorer.name == OBJECTIVE), None) or open_scorer(
            OBJECTIVE, sampler.checkpoint if sampler else None
        )
        self.others = tuple(scorer for scorer in own if scorer.name != OBJECTIVE)
        self.context, self.emit = context, emit
        self.judge = judge_of(context).name
        self.seeds = report_seeds(context, SEEDS)
        vocabulary = context.card.vocabulary()
        self.sources = {taught: offline(vocabulary, taught) for taught in (True, False)}

    def rows(self, count: int, pool: int) -> list[Row]:
        hard, easy = self._chosen(count, pool)
        found = {search: [self._solve(prompt, search, NEGATIVE) for prompt in hard] for search in SEARCHED}
        plain = self._measured([Conditioning(prompt) for prompt in hard], hard)
        after = {search: self._measured([item.result for item in items], hard) for search, items in found.items()}
        default = self._measured([self._solve(prompt, "swap").result for prompt in hard], hard)
        rows = self._gains("swap", plain, default)
        for search in SEARCHED:
            rows += self._gains(search, plain, after[search], f" in {NEGATIVE}")
        rows += self._compared(found, after)
        rows += self._several(hard, plain)
        rows += self._spaces(hard)
        return rows + self._attack(easy)

    def _chosen(self, count: int, pool: int) -> tuple[list[str], list[str]]:
        """The prompts of highest and of lowest loss, on seeds that nothing else uses."""
        prompts = heldout_prompts(self.context, pool)
        seeds = [REPORT_FROM + 10**5 + place for place in range(2)]
        loss = self._evaluator().evaluate([Conditioning(text) for text in prompts], prompts, seeds, [OBJECTIVE], self.emit)
        order = loss.ranking(OBJECTIVE)
        return [prompts[index] for index in order[::-1][:count]], [prompts[index] for index in order[:count]]

    def _evaluator(self) -> Evaluator:
        outer = self.context.evaluator
        return outer.within(outer.budget, [self.loss, *self.others])

    def _solve(
        self, prompt: str, search: str, space: str = DpoSettings().space, images: int = 0, attack: bool = False, taught: bool = True
    ) -> Found:
        """Runs one search with a budget of its own, which pays for stored pictures too.

        `taught`: synonyms are restricted to words that the checkpoint was taught.
        """
        leading: Scorer = Adversarial(self.loss) if attack else self.loss
        scorers = [leading, *self.others]
        evaluator = self.context.evaluator.within(Budget(images=images or BUDGET), scorers, reuse_cache=False)
        allowed = meaning_kept if attack else anything
        solver = DpoDiff(DpoSettings(space, search), lambda text: self.sources[taught], allowed)
        seeds = tuple(self.context.settings.search)
        rng = np.random.default_rng([self.context.settings.seed, *prompt.encode()])
        try:
            proposed = list(solver.solve(Task(prompt, (Conditioning(prompt),), seeds), evaluator, rng, self.emit))
        except BudgetSpent:
            proposed = []
        curve = tuple((float(rows), float(cost)) for rows, cost in solver.findings.get("curve", [(0.0, 0.0)]))
        best = solver.findings.get("best")
        result = Conditioning.from_json(best) if best else (proposed[0] if proposed else Conditioning(prompt))
        change = solver.findings.get("mean_change")
        return Found(prompt, result, curve, float(solver.findings.get("rows", 0.0)), float("nan") if change is None else float(change))

    def _measured(self, conditionings: Sequence[Conditioning], prompts: Sequence[str]) -> Evaluation:
        return self._evaluator().evaluate(conditionings, prompts, self.seeds, emit=self.emit)

    def _interval(self, delta: np.ndarray) -> Interval:
        """The interval of (prompt, seed) differences, resampling whole prompts."""
        return paired_bootstrap(delta.ravel(), np.repeat(np.arange(len(delta)), delta.shape[1]), self.context.settings.seed)

    def _gains(self, search: str, plain: Evaluation, after: Evaluation, kind: str = "") -> list[Row]:
        targets = {OBJECTIVE: Target("<", 0, "hi"), self.judge: Target(">", 0, "lo"), "preference": Target(">=", 0)}
        rows = []
        for scorer in (self.loss, *self.others):
            interval = self._interval(after.values[scorer.name] - plain.values[scorer.name])
            target = targets.get(scorer.name) if search == "swap" and not kind else None
            rows.append(_row(f"{search}{kind}: {scorer.name}", interval, target))
        return rows

    def _compared(self, found: dict[str, list[Found]], after: dict[str, Evaluation]) -> list[Row]:
        rows = []
        for better, worse in (("swap", "hybrid"), ("hybrid", "evolution"), ("evolution", "random"), ("swap", "random")):
            interval = self._interval(after[better].values[OBJECTIVE] - after[worse].values[OBJECTIVE])
            target = Target("<", 0) if (better, worse) == ("hybrid", "evolution") else None
            rows.append(_row(f"{better} less {worse}, at equal cost: {OBJECTIVE}", interval, target))
        per_image = self.context.evaluator.settings.unet_rows
        for better, worse in (("evolution", "random"), ("swap", "random")):
            pairs = zip(found[better], found[worse], strict=True)
            small = [left.at(SMALL * per_image) - right.at(SMALL * per_image) for left, right in pairs]
            target = Target("<", 0) if better == "evolution" else None
            name = f"{better} less {worse} at {SMALL} image equivalents, search seeds: {OBJECTIVE}"
            rows.append(_row(name, paired_bootstrap(small, None, self.context.settings.seed), target))
        shares = []
        for ours, theirs in zip(found["swap"], found["hybrid"], strict=True):
            reached = ours.rows_to(theirs.at(theirs.rows))
            shares.append((BUDGET * per_image if reached is None else reached) / theirs.rows if theirs.rows else 1.0)
        interval = paired_bootstrap(shares, None, self.context.settings.seed)
        rows.append(_row("swap: share of the hybrid's rows until its final loss, search seeds", interval, Target("<=", ROWS_SHARE)))
        return rows

    def _several(self, hard: Sequence[str], plain: Evaluation) -> list[Row]:
        """The plain prompt on many seeds, with the picture of least loss taken: the gain of such a budget without any search."""
        seeds = [REPORT_FROM + 2 * 10**5 + place for place in range(SEVERAL)]
        drawn = self._evaluator().evaluate([Conditioning(prompt) for prompt in hard], hard, seeds, emit=self.emit)
        best = np.nanargmin(drawn.values[OBJECTIVE], axis=1)
        rows = []
        for name in (OBJECTIVE, self.judge):
            chosen = drawn.values[name][np.arange(len(best)), best] - np.nanmean(plain.values[name], axis=1)
            rows.append(_row(f"best of {SEVERAL} seeds: {name}", paired_bootstrap(chosen, None, self.context.settings.seed)))
        return rows

    def _spaces(self, hard: Sequence[str]) -> list[Row]:
        """Mean change of the loss by random candidates of a space, on the search seeds, since nothing is selected (table 2)."""
        changes: dict[str, list[float]] = {}
        for name, space, taught in (("antonym", "antonym", True), ("synonym", "synonym", True), ("synonym of any kind", "synonym", False)):
            changes[name] = [self._solve(prompt, "random", space, SAMPLED, taught=taught).mean_change for prompt in hard]
        seed = self.context.settings.seed
        rows = [_row(f"random {name}: {OBJECTIVE}", paired_bootstrap(values, None, seed)) for name, values in changes.items()]
        for name in ("synonym", "synonym of any kind"):
            difference = np.subtract(changes["antonym"], changes[name])
            target = Target("<", 0) if name == "synonym" else None
            rows.append(_row(f"random antonym less random {name}: {OBJECTIVE}", paired_bootstrap(difference, None, seed), target))
        return rows

    def _attack(self, easy: Sequence[str]) -> list[Row]:
        """The attack with words that the checkpoint knows, and with any; words that it never saw would change the picture whatever they
        mean.
        """
        plain = self._measured([Conditioning(prompt) for prompt in easy], easy)
        rows: list[Row] = []
        for taught in (True, False):
            found = [self._solve(prompt, "swap", "synonym", ATTACK, attack=True, taught=taught) for prompt in easy]
            after = self._measured([item.result for item in found], easy)
            rows += self._attacked("attack, known words" if taught else "attack, any words", taught, found, plain, after)
        return rows

    def _attacked(self, name: str, taught: bool, found: Sequence[Found], plain: Evaluation, after: Evaluation) -> list[Row]:
        seed = self.context.settings.seed
        filters = [meaning_kept(self.context.evaluator, item.prompt) for item in found]
        kept = [float(check(item.result)) for check, item in zip(filters, found, strict=True)]
        changed = [float(item.result.text != item.prompt) for item in found]
        judged = after.values[self.judge] - plain.values[self.judge]
        success = [[float(value < 0) for value in row if np.isfinite(value)] for row in judged]
        target = Target(">", 0, "lo") if taught else None
        return [
            _row(f"{name}: meaning kept by the filter", paired_bootstrap(kept, None, seed), Target(">=", 1)),
            _row(f"{name}: prompts for which one was found", paired_bootstrap(changed, None, seed)),
            _row(f"{name}: words that the checkpoint knows", paired_bootstrap([float(self._knows(item)) for item in found], None, seed)),
            _row(f"{name}: {OBJECTIVE}", self._interval(after.values[OBJECTIVE] - plain.values[OBJECTIVE]), target),
            _row(f"{name}: pictures judged worse", interval_of_rows(success, seed)),
        ]

    def _knows(self, found: Found) -> bool:
        world = judge_of(self.context).world
        before = {word.lower() for word in Words.split(found.prompt).words}
        fresh = [word for word in Words.split(found.result.text).words if word.lower() not in before]
        return not world.coverage(" ".join(fresh))[1]


def _row(name: str, interval: Interval, target: Target | None = None) -> Row:
    return Row(name, interval.mean, (interval.lo, interval.hi), interval.n, target)
