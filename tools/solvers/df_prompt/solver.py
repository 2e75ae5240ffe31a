"""DF-Prompt as a solver: takes the best of the prompts it is given and searches ranges and weights for their modifiers.

The words stay as they are, so that pins and meaning are kept; pinned words act throughout. Every number comes from the Evaluator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning, Drawing, EffectSpan
from limner.tools.budget import BudgetSpent
from limner.tools.evaluator import Evaluator
from limner.tools.prompt_language.assemble import Effect
from limner.tools.solvers.base import Emit, Task
from limner.tools.solvers.df_prompt.effects import DEFAULT, LATE, WEIGHTS, Effects
from limner.tools.solvers.df_prompt.phrases import Phrase, movable, with_effects
from limner.tools.solvers.df_prompt.search import Trials, coordinate_search

BASES = 4
"""Prompts that are compared before one is chosen, where that takes no more than a quarter of what can be paid."""

PROPOSED = 3
MOST_DRAWINGS = 512
"""Where no budget holds the search back."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A prompt to be worked on, and its phrases that move."""

    base: Conditioning
    phrases: tuple[Phrase, ...]

    def at(self, effects: Effects) -> Conditioning:
        return with_effects(self.base, self.phrases, effects)


class DfPrompt:
    """The Solver of `refine --method df-prompt`."""

    name = "df-prompt"

    def missing(self, evaluator: Evaluator) -> str:
        """A model that can be asked beforehand may refuse words that come and go."""
        check = getattr(evaluator.model, "check", None)
        if check is None:
            return ""
        try:
            check([evaluator.drawing(Conditioning("a", spans=(EffectSpan(0, 1, *LATE),)), 0)])
        except BadInput as error:
            return str(error)
        return ""

    def solve(self, task: Task, evaluator: Evaluator, rng: np.random.Generator, emit: Emit) -> Sequence[Conditioning]:
        """The best few found, best first; none where no phrase of any prompt may move. It may start from the user's own prompt too."""
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
    """The phrases of `base` that may move and that the model can weigh; none where it has spans already."""
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
    """The best of the first few by the search seeds; the first where comparing would take too much of the budget."""
    compared, name = grounds[:BASES], evaluator.objective.name
    if len(compared) < 2 or 4 * len(compared) * len(task.seeds) > evaluator.budget.left("images"):
        return grounds[0]
    try:
        found = evaluator.evaluate([item.base for item in compared], task.reference, task.seeds, [name], emit)
    except BudgetSpent:
        return grounds[0]
    return compared[found.ranking(name)[0]]


def _can_weigh(base: Conditioning, phrase: Phrase, evaluator: Evaluator) -> bool:
    """Some phrases end within a token, which has one weight."""
    try:
        evaluator.model.unet_rows([evaluator.drawing(with_effects(base, [phrase], [Effect(weight=max(WEIGHTS))]), 0)])
    except BadInput:
        return False
    return True
