"""DPO-Diff as a solver: finds words for the negative prompt, or in place of the prompt's own, that change the picture as wanted.

Builds the space, runs the chosen search within one Budget and reports the findings. The searches by evolution and at random work with any
image model; those with a gradient need a local checkpoint and a differentiable scorer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning
from limner.tools.budget import BudgetSpent
from limner.tools.diffusion.base import Hooks
from limner.tools.diffusion.sampling.sampler import Sampler
from limner.tools.evaluator import Evaluator
from limner.tools.events import Emit
from limner.tools.lexicon.lexicon import WordSource
from limner.tools.lexicon.offline import Offline
from limner.tools.scoring.differentiable import differentiable
from limner.tools.solvers.base import Task
from limner.tools.solvers.dpo_diff import swap_search
from limner.tools.solvers.dpo_diff.build import build_space
from limner.tools.solvers.dpo_diff.evolution import evolve, random_search
from limner.tools.solvers.dpo_diff.findings import findings
from limner.tools.solvers.dpo_diff.gumbel import learn, softmax
from limner.tools.solvers.dpo_diff.preview import SwapPreview
from limner.tools.solvers.dpo_diff.settings import DpoSettings
from limner.tools.solvers.dpo_diff.space import Space
from limner.tools.solvers.dpo_diff.text_gradient import KeptLatents, SearchGradient
from limner.tools.solvers.dpo_diff.trials import Trials

GRADED = ("swap", "hybrid", "gradient")
NEEDS_GRADIENT = ("hybrid", "gradient")
PROPOSED = 3  # candidates for the final comparison

Allowed = Callable[[Evaluator, str], Callable[[Conditioning], bool]]
"""Given the Evaluator and the user's prompt, returns the condition on candidates."""


def anything(evaluator: Evaluator, reference: str) -> Callable[[Conditioning], bool]:
    """Returns a condition that every candidate meets."""
    return lambda conditioning: True


@dataclass
class DpoDiff:
    """The solver of DPO-Diff.

    `source`: returns the source of candidates for a prompt's words. `allowed`: the meaning filter of an attack. `findings`: after `solve`,
    the content of the report (trajectory, gains word by word, skipped gradients), JSON values only. Raises BadInput for an unknown search.
    """

    settings: DpoSettings = field(default_factory=DpoSettings)
    source: Callable[[str], WordSource] = lambda prompt: Offline()
    allowed: Allowed = anything
    name: str = "dpo-diff"
    findings: dict[str, Any] = field(default_factory=dict)

    def missing(self, evaluator: Evaluator) -> str:
        """Returns, in one line, why the chosen search cannot run (no local model, no differentiable scorer); '' where it can."""
        if self.settings.search not in NEEDS_GRADIENT:
            return ""
        if sampler_of(evaluator) is None:
            return (
                f"the search {self.settings.search} takes gradients, and {evaluator.model.name} is a black box: choose evolution or random"
            )
        if differentiable(evaluator.objective, "") is None:
            return f"the scorer {evaluator.objective.name} has no gradient: choose another --scorer, or the search evolution"
        return ""

    def solve(self, task: Task, evaluator: Evaluator, rng: np.random.Generator, emit: Emit) -> Sequence[Conditioning]:
        """Returns the best candidates, best first; none where there is nothing to search, or no candidate beats the prompt on fresh seeds.

        Raises BadInput for an unknown space.
        """
        given = next((item for item in task.start if item.is_plain), Conditioning(task.reference))
        space = build_space(given, self.settings.space, self.source(given.text), task.pins)
        if not space.slots:
            emit(
                {"kind": "warning", "text": f"no word of the prompt has a candidate in the space {self.settings.space}: nothing to search"}
            )
            self.findings = {"space": self.settings.space, "slots": 0}
            return []
        latents = KeptLatents([])
        inner = watched(evaluator.within(evaluator.image_equivalents()), latents)
        trials = Trials(space, inner, task.reference, task.seeds, self.allowed(evaluator, task.reference), emit)
        gradient = self._gradient(space, inner, task, latents)
        if gradient:
            trials.besides = lambda: gradient.charged
        try:
            trials.try_all([space.identity])
            if trials.done:
                self._search(trials, gradient, rng)
        except BudgetSpent:
            if not trials.done:
                raise
        if not trials.done:
            emit({"kind": "warning", "text": "the model or the scorer gave nothing for the prompt itself: nothing to compare with"})
            self.findings = {"space": self.settings.space, "slots": len(space.slots)}
            return []
        self.findings = findings(trials, self.settings, gradient.skipped if gradient else 0)
        if gradient and gradient.skipped:
            emit({"kind": "warning", "text": f"{gradient.skipped} gradients were not finite and were left out"})
        return [trial.conditioning for trial in trials.chosen if trial.conditioning != space.given][:PROPOSED]

    def _gradient(self, space: Space, evaluator: Evaluator, task: Task, latents: KeptLatents) -> SearchGradient | None:
        sampler = sampler_of(evaluator)
        loss = differentiable(evaluator.objective, task.reference) if self.settings.search in GRADED else None
        if sampler is None or loss is None:
            return None
        gradient = SearchGradient(space, evaluator, sampler, loss, task.seeds, latents)
        latents.steps = frozenset([int(self.settings.swap.at * gradient.calls)])
        return gradient

    def _search(self, trials: Trials, gradient: SearchGradient | None, rng: np.random.Generator) -> None:
        settings, search = self.settings, self.settings.search
        if search == "random":
            return random_search(trials, settings.evolution, rng)
        if search == "evolution":
            return evolve(trials, settings.evolution, rng)
        if search == "swap":
            ranker = SwapPreview(gradient) if gradient and settings.swap.ranker == "preview" else gradient
            return swap_search.search(trials, ranker, settings.swap, rng)
        if gradient is None:
            raise BadInput(self.missing(trials.evaluator))
        trials.try_all([trials.space.identity])

        def heard(iteration: int, loss: float) -> None:
            trials.emit({"kind": "learned", "iteration": iteration, "value": loss, "rows": round(trials.rows, 1)})

        logits = learn(gradient, trials.space.sizes, settings.gumbel, rng, heard)
        learned = [softmax(row) for row in logits]
        if search == "hybrid":
            return evolve(trials, settings.evolution, rng, learned)
        return sample_learned(trials, learned, settings, rng)


def sample_learned(trials: Trials, learned: Sequence[np.ndarray], settings: DpoSettings, rng: np.random.Generator) -> None:
    """Gradient search alone: draws candidates from the learned distribution until the budget is spent or none is new."""
    from limner.tools.solvers.dpo_diff.evolution import first_population

    evolution = settings.evolution
    while trials.try_all(first_population(trials, evolution, rng, evolution.population, learned)):
        pass


def sampler_of(evaluator: Evaluator) -> Sampler | None:
    """The local sampler behind an evaluator; None where the image model is a black box."""
    return evaluator.model if isinstance(evaluator.model, Sampler) else None


def watched(evaluator: Evaluator, latents: KeptLatents) -> Evaluator:
    """The same evaluator, but x_t of what it draws is kept in `latents`; the same where the model is a black box."""
    if sampler_of(evaluator) is None:
        return evaluator
    return evaluator.with_hooks(Hooks(on_step=latents.on_step, on_batch=latents.on_batch))
