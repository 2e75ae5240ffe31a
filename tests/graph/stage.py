"""A stage for the refine graph without weights or servers: a model that paints numbers, scorers that read them, a scripted chat model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from limner.agents.llm.base import Answer, Message, NoAnswer, Usage
from limner.graph.events import Event
from limner.graph.runner import refine_state, stream_refine
from limner.graph.settings import Settings
from limner.graph.state import Context, RefineState
from limner.promptdb.records import Drawing, Run
from limner.tools.budget import Budget
from limner.tools.evaluator import Evaluator
from limner.tools.scoring.base import Scorer
from tests.checked_events import checked
from tests.doubles import FakeImageModel, FakeScorer, hashed_value, open_store

PROMPT = "a red apple"


class ScriptedChat:
    """Answers with the same variants each time it is asked; without any it has no answer. `asked` counts."""

    name = "scripted"

    def __init__(self, variants: Sequence[tuple[str, str]]) -> None:
        self.variants = variants
        self.usage = Usage()
        self.parallel = 1
        self.asked = 0

    def ask(self, messages: Sequence[Message], schema: type[Answer], *, temperature: float = 0.0, seed: int | None = None) -> Answer:
        self.asked += 1
        if not self.variants:
            raise NoAnswer("the server is away")
        return schema.model_validate({"variants": [{"positive": text, "negative": negative} for text, negative in self.variants]})


VARIANTS = [("a red apple, sharp focus", "blurry"), ("a red apple, vivid colors", ""), ("a red apple, golden hour", "")]


def likes(word: str, amount: float = 0.5) -> Callable[[Drawing], float]:
    """Values of drawings: noise of [0, 0.4), and `amount` more where the prompt has the word."""
    return lambda drawing: 0.4 * hashed_value(drawing) + (amount if word in drawing.conditioning.text else 0.0)


def stage(
    folder: Path,
    model: FakeImageModel | None = None,
    variants: Sequence[tuple[str, str]] = tuple(VARIANTS),
    scorers: Sequence[Scorer] | None = None,
    images: int | None = None,
    budget: Budget | None = None,
    solvers: dict[str, Any] | None = None,
    run: str = "run-1",
    **settings: Any,
) -> Context:
    """What a run works with, in `folder`; the same folder again finds what an earlier stage left. `images`: the budget of images."""
    chosen = Settings(out=str(folder), **settings, **({} if images is None else {"budget": images}))
    db, store = open_store(folder)
    three = scorers or [FakeScorer("liking"), FakeScorer("likeness"), FakeScorer("truth", held_out=True)]
    purse = budget or Budget(images=chosen.budget)
    evaluator = Evaluator(model or FakeImageModel(likes("sharp")), three, db, store, purse, run=run)
    return Context(ScriptedChat(variants), evaluator, db, store, chosen, solvers or {})


def run_of(context: Context, method: str = "auto", prompt: str = PROMPT, id: str = "run-1") -> Run:
    return Run(id, "refine", prompt, {**context.settings.to_json(), "method": method})


def refined(context: Context, method: str = "auto", prompt: str = PROMPT) -> tuple[RefineState, list[Event]]:
    """Run to the end; what is known then, and all events, each of them checked."""
    run = run_of(context, method, prompt)
    events = list(checked(stream_refine)(context, run))
    return refine_state(context, run.id), events
