"""DF-Prompt as a solver: chooses the best of the given prompts and searches ranges and weights for their modifiers.

The words do not change, so pins and meaning are preserved; pinned words act throughout. Every score comes from the Evaluator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning, Drawing, EffectSpan
from limner.tools.budget import BudgetSpent
from limner.tools.evaluator import Evaluator
from limner.tools.events import Emit
from limner.tools.prompt_language.assemble import Effect
from limner.tools.solvers.base import Task
from limner.tools.solvers.df_prompt.effects import DEFAULT, LATE, WEIGHTS, Effects
from limner.tools.solvers.df_prompt.phrases import Phrase, movable, with_effects
from limner.tools.solvers.df_prompt.search import Trials, coordinate_search
from limner.tools.solvers.df_prompt.sliding import PLACES

BASES = 4
"""Prompts compared before one is chosen, if that takes at most a quarter of the budget."""

PROPOSED = 3
MOST_DRAWINGS = 512
"""Limit on the drawings of a search where no budget limits it."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A prompt to work on, and its movable phrases."""

    base: Conditioning
    phrases: tuple[Phrase, ...]

    def at(self, effects: Effects) -> Conditioning:
        """Returns the prompt with `effects`, one for each phrase."""
        return with_effects(self.base, self.phrases, effects)


class DfPrompt:
    """The solver of `refine --method df-prompt`."""

    name = "df-prompt"

    def missing(self, evaluator: Evaluator) -> str:
        """Returns why the image model cannot draw words with ranges, in one line; '' where it can."""
        check = getattr(evaluator.model, "check", None)
        if check is None:
            return ""
        try:
            check([evaluator.drawing(Conditioning("a", spans=(EffectSpan(0, 1, *LATE),)), 0)])
        except BadInput as error:
            return str(error)
        return ""

    def solve(self, task: Task, evaluator: Evaluator, rng: np.random.Generator, emit: Emit) -> Sequence[Conditioning]:
        """Returns the best few candidates, best first; none where no phrase may move.

        The user's own prompt is among the prompts to start from.
        """
        starts = dict.fromkeys((*task.start[:1], Conditioning(task.reference), *task.start[1:]))
        grounds = [found for item in starts if (found := ground(item, task.reference, evaluator, task.pins)).phrases]
        if not grounds:
            return []
        chosen = _chosen(grounds, task, evaluator, emit)
        trials = trials_of(chosen, task.reference, task.seeds, evaluator, emit, _Purse(evaluator))
        coordinate_search(chosen.phrases, trials)
        default = (DEFAULT,) * len(chosen.phrases)
        return [chosen.at(effects) for effects in trials.ranking() if effects != default][:PROPOSED]


class Purse(Protocol):
    """Limits what a search may draw."""

    def fits(self, drawings: Sequence[Drawing]) -> bool:
        """Whether the limit allows these drawings, requested together."""
        ...

    def pay(self, drawings: Sequence[Drawing]) -> None:
        """Counts these drawings against the limit."""


def ground(base: Conditioning, reference: str, evaluator: Evaluator, pins: Sequence[str] = ()) -> Ground:
    """Returns `base` with the phrases that may move and that the model can weight; without any where it has spans already."""
    if not base.is_plain:
        return Ground(base, ())
    return Ground(base, tuple(phrase for phrase in movable(base.text, reference, pins) if _can_weigh(base, phrase, evaluator)))


def trials_of(ground: Ground, reference: str, seeds: Sequence[int], evaluator: Evaluator, emit: Emit | None, purse: Purse) -> Trials:
    """Returns empty trials on one prompt, scored by the objective's mean over the seeds, within the limit `purse`."""
    name, sign = evaluator.objective.name, 1 if evaluator.objective.higher_is_better else -1

    def drawings(candidates: Sequence[Effects]) -> list[Drawing]:
        return [evaluator.drawing(ground.at(effects), seed) for effects in candidates for seed in seeds]

    def score(candidates: Sequence[Effects]) -> list[float]:
        asked = [ground.at(effects) for effects in candidates]
        purse.pay(drawings(candidates))
        try:
            found = evaluator.evaluate(asked, reference, seeds, [name], emit)
        except BudgetSpent:
            found = evaluator.known(asked, reference, seeds, [name], emit)
        return [sign * float(value) for value in found.mean(name)]

    return Trials(score, lambda candidates: purse.fits(drawings(candidates)))


class _Purse:
    """The Evaluator's remaining budget, less the pictures that the report draws; stored drawings cost nothing."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._drawings = 0

    def fits(self, drawings: Sequence[Drawing]) -> bool:
        budget, model = self._evaluator.budget, self._evaluator.model
        missing = self._evaluator.unpaid(drawings)
        if self._drawings + len(drawings) > MOST_DRAWINGS or budget.left("seconds") == 0:
            return False
        return len(missing) <= budget.left("images") - PLACES and model.unet_rows(missing) <= budget.left("unet_rows")

    def pay(self, drawings: Sequence[Drawing]) -> None:
        """Counts the drawings; the Evaluator charges its budget itself."""
        self._drawings += len(drawings)


def _chosen(grounds: Sequence[Ground], task: Task, evaluator: Evaluator, emit: Emit) -> Ground:
    """Returns the best of the first few prompts on the search seeds; the first where comparing them would cost too much."""
    compared, name = grounds[:BASES], evaluator.objective.name
    if len(compared) < 2 or 4 * len(compared) * len(task.seeds) > evaluator.budget.left("images"):
        return grounds[0]
    try:
        found = evaluator.evaluate([item.base for item in compared], task.reference, task.seeds, [name], emit)
    except BudgetSpent:
        return grounds[0]
    return compared[found.ranking(name)[0]]


def _can_weigh(base: Conditioning, phrase: Phrase, evaluator: Evaluator) -> bool:
    """Whether the phrase can be weighted; it cannot where it ends within a token."""
    try:
        evaluator.model.unet_rows([evaluator.drawing(with_effects(base, [phrase], [Effect(weight=max(WEIGHTS))]), 0)])
    except BadInput:
        return False
    return True
