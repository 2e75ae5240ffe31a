"""The graphs as `langgraph dev` serves them (langgraph.json): the conversation with its interrupts, and learning an instruction.

The server stores the state, so nothing is compiled with a saver here. Live objects are made once, from LIMNER_* variables, since clients
can send JSON only.
"""

from __future__ import annotations

from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from limner.agents.rewriter import DEFAULT_INSTRUCTION
from limner.graph.chat.graph import build_chat
from limner.graph.context import open_models
from limner.graph.models import ModelPool
from limner.graph.nodes import tell
from limner.graph.optimize.prepare import prepared
from limner.graph.plan import DEFAULT_BUDGET, LearningSettings
from limner.graph.runner import new_run_id, stream_optimize
from limner.graph.settings import Settings
from limner.graph.sources import settings_from
from limner.promptdb.errors import BadInput
from limner.promptdb.files.prompt_file import BatchPrompt
from limner.promptdb.records import Run, canonical_text
from limner.promptdb.runs import Runs

MOST_PROMPTS = 1000


class LearnAsk(TypedDict, total=False):
    """`prompts`: to learn on, half of them held out. `budget`: images in all. `outcome`: what came of it, with its `run`."""

    prompts: list[str]
    instruction: str
    budget: int
    run: str
    outcome: dict[str, Any]


def chat() -> Any:
    """Returns the compiled conversation; a client resumes its interrupts with {"text": ...} or {"action": {...}}."""
    return build_chat(context=None).compile()


def optimize() -> Any:
    """Returns the compiled graph of one node that learns an instruction and sends its progress as custom events.

    The run is stored in the database, so that it can be resumed.
    """
    graph = StateGraph(LearnAsk)
    graph.add_node("learn", learn)
    graph.add_edge(START, "learn")
    graph.add_edge("learn", END)
    return graph.compile()


def learn(state: LearnAsk, runtime: Runtime[None]) -> LearnAsk:
    """Learns an instruction on `prompts`; returns the outcome and the run's id.

    Raises BadInput for too few prompts or too small a budget.
    """
    prompts = [BatchPrompt(text) for text in dict.fromkeys(map(canonical_text, state.get("prompts", []))) if text]
    if not 1 <= len(prompts) <= MOST_PROMPTS:
        raise BadInput(f"give 1 to {MOST_PROMPTS} prompts, not {len(prompts)}")
    asked = {"budget": budget} if (budget := state.get("budget")) else {}
    settings = settings_from(Settings, {"budget": DEFAULT_BUDGET}, **asked)
    learning = settings_from(LearningSettings)
    run = Run(new_run_id("optimize"), "optimize", "langgraph", {**settings.to_json(), "learning": learning.to_json()})
    outcome: Any = {}
    with ModelPool().lease() as lease:  # of this run alone: others may work at the same time
        models = open_models(settings, lease)
        instruction = state.get("instruction") or DEFAULT_INSTRUCTION
        with prepared(settings, learning, models, run, prompts, instruction) as (context, start):
            for event in stream_optimize(context, run, start):
                tell(runtime, event)
                outcome = event["outcome"] if event["kind"] == "finished" else outcome
            Runs(context.db).finish(run.id, "done", {"outcome": outcome, "used": context.evaluator.budget.used()})
    return {"run": run.id, "outcome": outcome}
