"""A stage for the optimize graph: the offline stand-in, a model that paints numbers, prompts with stored professional forms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from limner.agents.llm.server import open_chat
from limner.agents.llm.settings import ChatSettings
from limner.agents.rewriter import DEFAULT_INSTRUCTION
from limner.graph.events import Event
from limner.graph.optimize.graph import first_state
from limner.graph.optimize.state import OptimizeState
from limner.graph.plan import LearningSettings, plan_learning, split_prompts
from limner.graph.runner import Control, optimize_state, stream_optimize
from limner.graph.state import Context
from limner.promptdb.files.prompt_file import BatchPrompt
from limner.promptdb.records import Drawing, Prompt, Run
from limner.tools.budget import Budget
from limner.tools.scoring.base import Scorer
from tests.checked_events import checked
from tests.doubles import FakeImageModel, hashed_value
from tests.graph.stage import stage

THINGS = ("apple", "boat", "cat", "dog", "egg", "fish", "goat", "house", "island", "jar", "kite", "lamp")
PROMPTS = [BatchPrompt(f"a red {thing}") for thing in THINGS]
GOOD, BAD = "warm light", "octane render"


def taste(drawing: Drawing) -> float:
    """Noise of [0, 0.2), more for GOOD in the prompt and "blurry" in the negative, less for BAD in the prompt."""
    text, negative = drawing.conditioning.text, drawing.conditioning.negative
    return 0.3 + 0.2 * hashed_value(drawing) + 0.3 * (GOOD in text) + 0.1 * ("blurry" in negative) - 0.2 * (BAD in text)


def optimize_stage(
    folder: Path,
    model: FakeImageModel | None = None,
    prompts: Sequence[BatchPrompt] = tuple(PROMPTS),
    budget: int = 600,
    purse: Budget | None = None,
    scorers: Sequence[Scorer] | None = None,
    environment: dict[str, str] | None = None,
    **learning: Any,
) -> tuple[Context, Run, OptimizeState]:
    """Context, run and first state; the same folder again finds what an earlier stage left."""
    chosen = LearningSettings(**{"iterations": 4, "heldout_prompts": 6, **learning})
    base = stage(folder, model or FakeImageModel(taste), scorers=scorers, images=budget, budget=purse, heldout_seeds=2, seed=3)
    split = split_prompts(prompts, base.settings.seed, chosen.heldout_prompts)
    base.db.add_prompts(professionals(split.development))
    plan = plan_learning(base.settings.budget, chosen, len(split.heldout), base.settings.search_seeds, base.settings.heldout_seeds)
    chat = open_chat(ChatSettings.from_env(environment or {}), base.evaluator.budget, base.db)
    context = replace(base, chat=chat, learning=chosen, plan=plan)
    start = first_state("run-1", list(split.development), list(split.heldout), split.shared, DEFAULT_INSTRUCTION)
    return context, Run("run-1", "optimize", "prompts.txt", base.settings.to_json()), start


def professionals(prompts: Sequence[BatchPrompt]) -> list[Prompt]:
    """Stored forms of each prompt: the first rewritings repeat what most of them hold, GOOD, BAD and neither."""
    manners = [f"{BAD}, {GOOD}", f"{BAD}, elegant", f"{GOOD}, elegant"]
    return [
        Prompt(f"{prompt.text}, {manner}", "test", prompt.text, "blurry" if place == 0 else "")
        for prompt in prompts
        for place, manner in enumerate(manners)
    ]


def optimized(folder: Path, *, control: Control | None = None, **change: Any) -> tuple[Context, OptimizeState, list[Event]]:
    """Run to the end; what is known then, and all events, each of them checked."""
    context, run, start = optimize_stage(folder, **change)
    events = list(checked(stream_optimize)(context, run, start, control))
    return context, optimize_state(context, run.id), events
