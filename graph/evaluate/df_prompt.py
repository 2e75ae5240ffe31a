"""Measures ranges and weights on crowded prompts (Mo et al., CVPR 2024), on seeds that no search has seen.

The paper's first experiments with quality words; and a coordinate search against the default triples, a rule by hand and chance, at equal
UNet rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import ClassVar

import numpy as np

from limner.graph.evaluate.base import Row, Target
from limner.graph.evaluate.crowded import crowded_prompts
from limner.graph.evaluate.heldout import report_seeds
from limner.graph.state import Context
from limner.promptdb.records import Conditioning
from limner.tools.budget import Budget
from limner.tools.evaluation import Evaluation
from limner.tools.events import Emit
from limner.tools.prompt_language.assemble import Effect
from limner.tools.solvers.df_prompt.effects import DEFAULT, EARLY, FULL, LATE, Effects, hand_rule
from limner.tools.solvers.df_prompt.search import Trials, coordinate_search, random_search
from limner.tools.solvers.df_prompt.solver import Ground, ground, trials_of
from limner.tools.stats import paired_bootstrap

SEEDS = 4
PROMPTS, PROMPTS_FULL = 40, 160
SEARCH_SEEDS = 2
IMAGES = 40
"""Budget of a search for one prompt, in image equivalents of UNet rows."""

NEVER = Effect(Fraction(1), Fraction(1))
QUALITY: Mapping[str, Effect] = {
    "first half": Effect(*EARLY, Fraction(1)),
    "second half": Effect(*LATE, Fraction(1)),
    "full range": DEFAULT,
    "weight 0.5": Effect(*FULL, Fraction(1, 2)),
    "weight 1.5": Effect(*FULL, Fraction(3, 2)),
}
"""Ranges of the quality words and their weights; a full range has weight 1."""


class DfPromptSuite:
    """Rows: gain of quality words by range and weight; gain of each choice of triples over the default ones, by every scorer; gain of the
    search over its rivals; the cost of each.
    """

    name: ClassVar[str] = "df-prompt"
    summary: ClassVar[str] = "do ranges and weights draw better pictures of crowded prompts, and does searching for them pay?"

    def pictures(self, context: Context, full: bool) -> int:
        """Returns how many pictures the suite draws at most."""
        return (PROMPTS_FULL if full else PROMPTS) * (2 * 2 * IMAGES + SEEDS * (len(QUALITY) + 1 + 3))

    def run(self, context: Context, full: bool, emit: Emit) -> Sequence[Row]:
        """Measures quality words, then searches triples for every prompt and measures them against the rivals; returns the rows."""
        prompts = crowded_prompts(context, PROMPTS_FULL if full else PROMPTS)
        grounds = [ground(Conditioning(prompt), prompt, context.evaluator) for prompt in prompts]
        measured = _Measured(context, prompts, emit)
        rows = _quality_words(context, grounds, measured)
        default = measured([item.at((DEFAULT,) * len(item.phrases)) for item in grounds])
        chosen, spent = _choose(context, grounds, emit)
        after = {name: measured(conditionings) for name, conditionings in chosen.items()}
        for name, found in after.items():
            rows += [_gain(context, f"{name} over default triples: {scorer}", default, found, scorer) for scorer in found.values]
        objective = context.evaluator.objective.name
        for name in ("hand rule", "random triples"):
            rows.append(_gain(context, f"coordinate search over {name}: {objective}", after[name], after["coordinate search"], objective))
        higher = context.evaluator.objective.higher_is_better
        aimed = f"coordinate search over default triples: {objective}"
        rows = [_aimed(row, Target(">", 0, "lo") if higher else Target("<", 0, "hi")) if row.name == aimed else row for row in rows]
        return [*rows, *(Row(f"{name}: UNet rows a prompt", float(np.mean(each)), None, len(each)) for name, each in spent.items())]


SUITE = DfPromptSuite()


class _Measured:
    """Measures conditionings of all prompts at once, on the report's seeds and by every scorer."""

    def __init__(self, context: Context, prompts: Sequence[str], emit: Emit) -> None:
        self._context, self._prompts, self._emit = context, prompts, emit
        self._seeds = report_seeds(context, SEEDS)

    def __call__(self, conditionings: Sequence[Conditioning]) -> Evaluation:
        return self._context.evaluator.evaluate(conditionings, self._prompts, self._seeds, emit=self._emit)

    def together(self, table: Sequence[Sequence[Conditioning]]) -> None:
        """Draws several versions of each prompt, a prompt at a time, so that they share the denoising steps in which they agree."""
        for row in table:
            self._context.evaluator.draw(row, self._seeds, self._emit)


def _quality_words(context: Context, grounds: Sequence[Ground], measured: _Measured) -> list[Row]:
    def version(item: Ground, effect: Effect) -> Conditioning:
        return item.at(tuple(effect if phrase.kind == "quality" else DEFAULT for phrase in item.phrases))

    effects = {"none": NEVER, **QUALITY}
    measured.together([[version(item, effect) for effect in effects.values()] for item in grounds])
    found = {name: measured([version(item, effect) for item in grounds]) for name, effect in effects.items()}
    return [
        _gain(context, f"quality words, {name}, over none: {scorer}", found["none"], found[name], scorer)
        for name in QUALITY
        for scorer in found[name].values
    ]


def _choose(context: Context, grounds: Sequence[Ground], emit: Emit) -> tuple[dict[str, list[Conditioning]], dict[str, list[float]]]:
    """Returns each rival's triples for each prompt, and the UNet rows that the searches took."""
    evaluator = context.evaluator
    seeds = [context.settings.seed + place for place in range(SEARCH_SEEDS)]
    rivals: dict[str, Callable[[Ground, Trials, int], None]] = {
        "coordinate search": lambda item, trials, place: coordinate_search(item.phrases, trials),
        "random triples": lambda item, trials, place: random_search(item.phrases, trials, np.random.default_rng([1902, place])),
    }
    chosen: dict[str, list[Conditioning]] = {"hand rule": [item.at(hand_rule(item.phrases)) for item in grounds]}
    spent: dict[str, list[float]] = {}
    for name, search in rivals.items():
        best: list[Effects] = []
        spent[name] = []
        for place, item in enumerate(grounds):
            # Stored pictures are paid for too: a suite that is started again must not search further than before.
            budget = Budget(unet_rows=IMAGES * evaluator.rows_per_image)
            trials = trials_of(item, item.base.text, seeds, evaluator.within(budget, reuse_cache=False), emit)
            search(item, trials, place)
            best.append(trials.best if trials.ranking() else (DEFAULT,) * len(item.phrases))
            spent[name].append(budget.spent["unet_rows"])
        chosen[name] = [item.at(effects) for item, effects in zip(grounds, best, strict=True)]
    return chosen, spent


def _gain(context: Context, name: str, before: Evaluation, after: Evaluation, scorer: str) -> Row:
    """The gain, paired by prompt and seed, resampling whole prompts."""
    delta = after.values[scorer] - before.values[scorer]
    clusters = np.repeat(np.arange(len(delta)), delta.shape[1])
    interval = paired_bootstrap(delta.ravel(), clusters, context.settings.seed)
    return Row(name, interval.mean, (interval.lo, interval.hi), interval.n)


def _aimed(row: Row, target: Target) -> Row:
    return Row(row.name, row.value, row.ci95, row.n, target)
