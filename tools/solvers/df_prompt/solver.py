"""DF-Prompt as a solver: chooses the best of the given prompts and searches ranges and weights for their modifiers.

The words do not change, so pins and meaning are preserved; pinned words act throughout. Every score comes from the Evaluator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
        search = evaluator.within(evaluator.budget.slice(images=MOST_DRAWINGS))
        trials = trials_of(chosen, task.reference, task.seeds, search, emit)
        coordinate_search(chosen.phrases, trials)
        default = (DEFAULT,) * len(chosen.phrases)
        return [chosen.at(effects) for effects in trials.ranking() if effects != default][:PROPOSED]


def ground(base: Conditioning, reference: str, evaluator: Evaluator, pins: Sequence[str] = ()) -> Ground:
    """Returns `base` with the phrases that may move and that the model can weight; without any where it has spans already."""
    if not base.is_plain:
        return Ground(base, ())
    return Ground(base, tuple(phrase for phrase in movable(base.text, reference, pins) if _can_weigh(base, phrase, evaluator)))


def trials_of(ground: Ground, reference: str, seeds: Sequence[int], evaluator: Evaluator, emit: Emit | None) -> Trials:
    """Trials on one prompt, scored by the objective, mean over the seeds, and paid from the Evaluator's budget."""
    name, sign = evaluator.objective.name, 1 if evaluator.objective.higher_is_better else -1

    def drawings(candidates: Sequence[Effects]) -> list[Drawing]:
        return [evaluator.drawing(ground.at(effects), seed) for effects in candidates for seed in seeds]

    def score(candidates: Sequence[Effects]) -> list[float]:
        asked = [ground.at(effects) for effects in candidates]
        try:
            found = evaluator.evaluate(asked, reference, seeds, [name], emit)
        except BudgetSpent:
            found = evaluator.known(asked, reference, seeds, [name], emit)
        return [sign * float(value) for value in found.mean(name)]

    return Trials(score, lambda candidates: evaluator.affords(drawings(candidates)))


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
