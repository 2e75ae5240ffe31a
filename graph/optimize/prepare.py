"""Prepares a run that learns an instruction: its context, and the state that it begins with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from limner.graph.context import Models, open_context
from limner.graph.optimize.graph import first_state
from limner.graph.optimize.state import OptimizeState
from limner.graph.plan import LearningSettings, plan_learning, split_prompts
from limner.graph.settings import Settings
from limner.graph.state import Context
from limner.promptdb.files.prompt_file import BatchPrompt
from limner.promptdb.records import Run
from limner.tools.diffusion.base import CancelToken


@contextmanager
def prepared(
    settings: Settings,
    learning: LearningSettings,
    models: Models,
    run: Run,
    prompts: Sequence[BatchPrompt],
    instruction: str,
    cancel: CancelToken | None = None,
) -> Iterator[tuple[Context, OptimizeState]]:
    """Splits the prompts into those to learn on and those held out, shares out the budget, and opens the run's context.

    `instruction`: where learning begins. `cancel`: checked while pictures are drawn. Yields the context and the first state. Raises
    BadInput where the budget or the prompts are too few, Busy where another process works on the run.
    """
    split = split_prompts(prompts, settings.seed, learning.heldout_prompts)
    plan = plan_learning(settings.budget, learning, len(split.heldout), settings.search_seeds, settings.heldout_seeds)
    start = first_state(run.id, list(split.development), list(split.heldout), split.shared, instruction)
    used = len({prompt.text for prompt in [*split.development, *split.heldout]})
    if used < len(prompts):
        learned, held = len(split.development), len(split.heldout)
        start["warnings"] = [f"of {len(prompts)} prompts, {learned} drawn at random are learned on and {held} held out"]
    with open_context(settings, models, run.id, "rewrite", settings.budget, cancel) as opened:
        evaluator = opened.evaluator.avoiding(settings.bans, [prompt.text for prompt in prompts])
        yield replace(opened, evaluator=evaluator, learning=learning, plan=plan), start
