"""Measures learned instructions (Yang, Wang and Hu 2024, tables 1 and 2): selectors, batch sizes, with and without the prompt database.

On held-out prompts and seeds, against plain prompts, the initial instruction and three rivals of equal cost. The runs are those of
`optimize` up to its held-out check; the check is made here, on the same prompts for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from limner.agents.rewriter import DEFAULT_INSTRUCTION
from limner.graph.evaluate.base import Row, Target
from limner.graph.evaluate.heldout import heldout_prompts, report_seeds
from limner.graph.optimize import arms, suffix
from limner.graph.optimize.graph import build_optimize, first_state
from limner.graph.plan import LearningPlan, LearningSettings
from limner.graph.runner import complete
from limner.graph.state import Context
from limner.promptdb.files.prompt_file import BatchPrompt
from limner.promptdb.records import Conditioning, Instruction, content_id
from limner.promptdb.trials import Trials
from limner.tools.evaluation import Evaluation
from limner.tools.events import Emit
from limner.tools.stats import paired_bootstrap, prompts_needed

SELECTORS = ("ucb", "greedy", "epsilon")
BATCHES = (1, 3, 5)
RUNS, RUNS_FULL = 3, 6
PROMPTS, PROMPTS_FULL = 30, 60
SEEDS = 2
DEVELOPMENT = 40
LEARNING_IMAGES = 260  # a run: six iterations of three arms on a batch of three, two seeds


@dataclass(frozen=True, slots=True)
class Setup:
    """One way of learning. `name`: the name of its rows."""

    name: str
    learning: LearningSettings


class BatchGradientSuite:
    """Rows: gain over plain prompts, by the objective and the judge, of each way of learning and of its rivals."""

    name: ClassVar[str] = "batch-gradient"
    summary: ClassVar[str] = "is an instruction learned on some prompts worth anything on others?"

    def pictures(self, context: Context, full: bool) -> int:
        """Returns how many pictures the suite draws at most."""
        runs, prompts = (RUNS_FULL, PROMPTS_FULL) if full else (RUNS, PROMPTS)
        each = LEARNING_IMAGES + prompts * SEEDS
        return runs * (len(setups()) + 1) * each + prompts * SEEDS * 4

    def run(self, context: Context, full: bool, emit: Emit) -> Sequence[Row]:
        """Learns an instruction several times in each way, then checks all instructions and the rivals on the held-out prompts; returns the
        rows.
        """
        runs, count = (RUNS_FULL, PROMPTS_FULL) if full else (RUNS, PROMPTS)
        prompts = [BatchPrompt(text) for text in heldout_prompts(context, count)]
        development = [BatchPrompt(prompt.text) for prompt in context.db.prompts("naive")][:DEVELOPMENT]
        check = _Check(context, prompts, report_seeds(context, SEEDS), emit)
        rows = check.rows("initial instruction", [check.written(DEFAULT_INSTRUCTION, True)])
        rows += check.rows("professional prompts' manner", [check.professional()])
        for setup in setups():
            learned = []
            for run in range(runs):
                instruction = _learn(context, setup, run, development)
                learned.append(check.written(instruction, setup.learning.professional))
            target = Target(">", 0, "lo") if setup.name == "ucb, batch 3" else None
            rows += check.rows(f"learned: {setup.name}", learned, target)
        found = [_suffix(context, run, development, LEARNING_IMAGES) for run in range(runs)]
        rows += check.rows("best fixed suffix at equal cost", [check.suffixed(item) for item in found])
        rows += check.best_of_seeds(max(1, LEARNING_IMAGES // len(prompts)))
        return rows


SUITE = BatchGradientSuite()


def setups() -> list[Setup]:
    """Returns every selector with every batch size, the paper's ablation without the prompt database, and the order of the
    released code.
    """
    ways = [
        Setup(f"{selector}, batch {batch}", LearningSettings(batch_size=batch, selector=selector))
        for selector in SELECTORS
        for batch in BATCHES
    ]
    ways += [
        Setup(f"ucb, batch {batch}, without professionals", LearningSettings(batch_size=batch, professional=False)) for batch in BATCHES
    ]
    return [*ways, Setup("the reference's own order (maai), batch 3", LearningSettings(compat="maai"))]


class _Check:
    """Measures every rival on the same held-out prompts and seeds."""

    def __init__(self, context: Context, prompts: Sequence[BatchPrompt], seeds: Sequence[int], emit: Emit) -> None:
        self._context, self._prompts, self._seeds, self._emit = context, prompts, seeds, emit
        self._texts = [prompt.text for prompt in prompts]
        self._plain = self._measured([Conditioning(text) for text in self._texts])

    def written(self, instruction: str, professional: bool) -> Evaluation:
        """The prompts as the rewriter writes them under this instruction."""
        writing = arms.write(self._context, {"arm": instruction}, self._prompts, professional)
        return self._measured([row.conditioning for row in writing.written])

    def professional(self) -> Evaluation:
        """The prompts with the modifiers of the nearest stored prompt; the prompt itself where there is none."""
        first = {row.prompt.text: row.conditioning for row in reversed(arms.professionals(self._context, self._prompts))}
        return self._measured([first.get(text, Conditioning(text)) for text in self._texts])

    def suffixed(self, found: suffix.Suffix) -> Evaluation:
        """The prompts with a fixed suffix."""
        return self._measured([suffix.with_suffix(text, found) for text in self._texts])

    def rows(self, name: str, after: Sequence[Evaluation], target: Target | None = None) -> list[Row]:
        """The gain over plain prompts of all runs together, resampling whole prompts."""
        context, rows = self._context, []
        objective = context.evaluator.objective.name
        for scorer in (objective, context.card.judge):
            deltas = np.concatenate([item.values[scorer] - self._plain.values[scorer] for item in after], axis=1)
            clusters = np.repeat(np.arange(len(deltas)), deltas.shape[1])
            interval = paired_bootstrap(deltas.ravel(), clusters, context.settings.seed)
            wanted = target if scorer == objective else None
            rows.append(Row(f"{name}: {scorer}", interval.mean, (interval.lo, interval.hi), interval.n, wanted))
            if wanted:
                needed = prompts_needed(deltas.ravel(), clusters=clusters)
                rows.append(Row(f"{name}: {scorer}, prompts needed for 80 % power", float(needed or "nan"), None, interval.n))
        return rows

    def best_of_seeds(self, seeds: int) -> list[Row]:
        """The best of `seeds` pictures of the plain prompt by the objective, whose gain is thereby biased upwards; the judge's is not."""
        context = self._context
        objective = context.evaluator.objective
        first = self._seeds[-1] + 1
        found = context.evaluator.evaluate(
            [Conditioning(text) for text in self._texts], self._texts, list(range(first, first + seeds)), emit=self._emit
        )
        values = found.values[objective.name] * (1 if objective.higher_is_better else -1)
        best = np.nanargmax(values, axis=1)
        rows = []
        for scorer in (objective.name, context.card.judge):
            chosen = found.values[scorer][np.arange(len(best)), best]
            interval = paired_bootstrap(chosen - np.nanmean(self._plain.values[scorer], axis=1), None, context.settings.seed)
            rows.append(Row(f"best of {seeds} seeds at equal cost: {scorer}", interval.mean, (interval.lo, interval.hi), interval.n))
        return rows

    def _measured(self, conditionings: Sequence[Conditioning]) -> Evaluation:
        evaluator = self._context.evaluator
        names = [evaluator.objective.name, self._context.card.judge]
        return evaluator.evaluate(conditionings, self._texts, self._seeds, names, self._emit)


def _learn(context: Context, setup: Setup, run: int, development: Sequence[BatchPrompt]) -> str:
    """Returns the winning instruction of one run; every run has the same number of images."""
    settings = replace(context.settings, seed=context.settings.seed + 1000 * run)
    plan = LearningPlan(learning=LEARNING_IMAGES, suffix=0, heldout=0, heldout_prompts=0)
    inner = replace(context, settings=settings, learning=setup.learning, plan=plan)
    name = content_id(["evaluate", setup.name, setup.learning.to_json(), settings.seed])
    start = first_state(name, list(development), [], False, DEFAULT_INSTRUCTION)
    state = complete(build_optimize(), inner, start, before="suffix")
    texts: Mapping[str, str] = {arm.instruction.id: arm.instruction.text for arm in Trials(context.db, name).arms()}
    return texts.get(state["winner"], Instruction(DEFAULT_INSTRUCTION).text)


def _suffix(context: Context, run: int, development: Sequence[BatchPrompt], images: int) -> suffix.Suffix:
    settings = replace(context.settings, seed=context.settings.seed + 1000 * run)
    inner = replace(context, settings=settings, plan=LearningPlan(learning=0, suffix=images, heldout=0, heldout_prompts=0))
    found = suffix.search(inner, development, Trials(context.db, content_id(["suffix", settings.seed])))
    return (found["positive"], found["negative"]) if found else ("", "")
