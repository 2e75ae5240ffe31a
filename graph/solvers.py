"""The solvers as nodes, each with its part of the budget, and the options of DPO-Diff.

A solver starts from the candidates found so far and adds its own. A further method is one more line of tools/solvers/registry.py. Knows
nothing of how a solver works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from zlib import crc32

import numpy as np
from langgraph.runtime import Runtime
from pydantic import BaseModel

from limner.agents.contract import Contract
from limner.agents.llm.base import ChatModel, Message, NoAnswer
from limner.graph.intent import admitted, contract_of
from limner.graph.nodes import Emit, Node, Update, candidate_row, conditioning_of, emitter, node, tell
from limner.graph.plan import COMPARED
from limner.graph.settings import Settings
from limner.graph.state import CandidateRow, Context, DroppedRow, RefineState
from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning
from limner.tools.budget import BudgetSpent
from limner.tools.evaluator import Evaluator
from limner.tools.lexicon.asked import ask_lexicon
from limner.tools.lexicon.lexicon import WordSource
from limner.tools.lexicon.offline import offline
from limner.tools.solvers.base import Solver, Task
from limner.tools.solvers.df_prompt.sliding import PLACES
from limner.tools.solvers.dpo_diff.meaning import meaning_kept
from limner.tools.solvers.dpo_diff.settings import DpoSettings
from limner.tools.solvers.dpo_diff.solver import DpoDiff, anything
from limner.tools.solvers.registry import methods, searching

METHODS, TOOLS = methods(), searching()

AS_TYPED = ("dpo-diff",)
"""Methods that search the words of the prompt as it was typed, so that nothing is rewritten before them."""

TIMED = ("df-prompt",)
"""Methods whose candidates have timed words, which the report shows in a strip of pictures."""

Factories = Mapping[str, Callable[[], Solver]]




def is_solver(method: str) -> bool:
    """Returns whether a method is a solver, of this version or brought by a program, with a node of its own after the rewriter's."""
    return method in TOOLS or method not in METHODS


def check_method(method: str, available: Factories, evaluator: Evaluator | None = None) -> None:
    """Raises BadInput for an unknown method, and for one asked for by name that cannot run (here, where an evaluator is given)."""
    if method not in METHODS and method not in available:
        raise BadInput(f"there is no method {method!r}; choose one of {', '.join(METHODS)}")
    if is_solver(method) and (reason := missing(method, available, evaluator)):
        raise BadInput(f"the method {method} cannot run: {reason}; choose auto or rewrite")


def missing(method: str, available: Factories, evaluator: Evaluator | None) -> str:
    """Returns in one line why a solver cannot run; empty where it can."""
    if method not in available:
        return "this version has no solver for it"
    try:
        return available[method]().missing(evaluator) if evaluator else ""
    except BadInput as error:  # a package that cannot be imported is no reason to refuse the other methods
        return str(error)


def tool_node(method: str) -> Node:
    """Returns the node that runs the solver of `method` on the budget of the context's Evaluator."""

    @node(method)
    def run(state: RefineState, runtime: Runtime[Context]) -> Update:
        context = runtime.context
        settings, contract = context.settings, contract_of(context, state["prompt"])
        warnings: list[str] = []
        proposals: list[Conditioning] = []
        solver = context.solvers[method]()
        try:
            task = Task(state["prompt"], _start(state, context, emitter(runtime)), tuple(settings.search), contract.fixed)
            pulls = sum(row["strategy"] == method for row in state.get("slices", []))  # under `auto` a solver may be asked again
            rng = np.random.default_rng([settings.seed, crc32(method.encode()), *([pulls] if pulls else [])])
            proposals = list(solver.solve(task, context.evaluator, rng, emitter(runtime)))
        except BudgetSpent as error:
            warnings.append(f"{method} ended early: {error}")
        found, dropped = _accept(method, proposals, state, contract)
        for row in found:
            tell(runtime, {"kind": "candidate", "text": row["conditioning"]["text"], "origin": method})
        for lost in dropped:
            tell(runtime, {"kind": "dropped", **lost})
        update: Update = {"candidates": found, "dropped": dropped, "warnings": warnings, "note": f"{len(found)} candidates"}
        if findings := getattr(solver, "findings", None):
            update["findings"] = {method: findings}
        return update

    return run


def sole_solver(method: str) -> Node:
    """Returns the node of a run that has this solver alone: it may spend all but what the later nodes need."""
    inner = tool_node(method)

    def run(state: RefineState, runtime: Runtime[Context]) -> Update:
        evaluator = runtime.context.evaluator
        part = evaluator.image_equivalents(keep=reserve(runtime.context.settings) + (PLACES if method in TIMED else 0))
        return inner(state, runtime.override(context=replace(runtime.context, evaluator=evaluator.within(part))))

    return run


def reserve(settings: Settings) -> int:
    """Returns the images that a solver may not spend: those for the search of its best candidate and for the held-out check."""
    return COMPARED * (settings.heldout_seeds + settings.search_seeds)


def _start(state: RefineState, context: Context, emit: Emit) -> tuple[Conditioning, ...]:
    """The candidates to start from, best first by the search seeds, the prompt itself among them; all are drawn on these seeds anyway."""
    found = tuple(conditioning_of(row) for row in state["candidates"])
    if not found:
        return (Conditioning(state["prompt"]),)
    evaluator, name = context.evaluator, context.evaluator.objective.name
    every = list(dict.fromkeys([Conditioning(state["prompt"]), *found]))
    drawn = evaluator.evaluate(every, state["prompt"], context.settings.search, [name], emit)
    return tuple(every[index] for index in drawn.ranking(name))


def _accept(
    method: str, proposals: list[Conditioning], state: RefineState, contract: Contract
) -> tuple[list[CandidateRow], list[DroppedRow]]:
    """The new candidates among a solver's proposals, and the counts of those that break the contract."""
    known = {row["id"] for row in state["candidates"]}
    start = Conditioning(state["prompt"]).id
    rows = [candidate_row(item, method, parent=start) for item in {item.id: item for item in proposals}.values() if item.id not in known]
    return admitted(contract, rows)


METHOD = "dpo-diff"
OBJECTIVE = "spherical_clip"
"""The loss that the paper minimises; the objective of this method where none is named."""

OFFLINE = "offline"
Answer = TypeVar("Answer", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class DpoOptions:
    """Options of DPO-Diff. `attack`: the sign of the objective is reversed, and candidates must keep the meaning.

    Raises BadInput for a space or a search that does not exist.
    """

    space: str = DpoSettings().space
    search: str = DpoSettings().search
    attack: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "search", DpoSettings(self.space, self.search).search)

    def to_json(self) -> dict[str, Any]:
        """Returns the options as JSON values."""
        return {"space": self.space, "search": self.search, "attack": self.attack}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> DpoOptions:
        """Reads what `to_json` wrote; what is missing is left at its default."""
        return cls(**{name: document[name] for name in ("space", "search", "attack") if name in document})


def with_solver(context: Context, options: DpoOptions) -> Context:
    """Returns the same context with a DPO-Diff solver of these options."""

    # A space that was named is searched whole; by default, words give way only to those that the checkpoint was taught to read alike.
    taught = not options.attack and options.space == DpoSettings().space

    def solver() -> DpoDiff:
        settings = DpoSettings(options.space, options.search)
        return DpoDiff(settings, word_source(context, taught), meaning_kept if options.attack else anything)

    return replace(context, solvers={**context.solvers, METHOD: solver})


def word_source(context: Context, taught: bool = True) -> Callable[[str], WordSource]:
    """Returns the source of candidates for a prompt's words: lists asked of the chat model where there is one, else WordNet's file together
    with the checkpoint's own groups.

    `taught`: synonyms are restricted to words that the checkpoint was taught; none where its card does not list them.
    """
    fallback = offline(context.card.vocabulary(), taught)

    def source(prompt: str) -> WordSource:
        if context.chat.name == OFFLINE:
            return fallback
        try:
            return ask_lexicon(prompt, _Asking(context.chat), context.chat.name, context.db, fallback)
        except BudgetSpent:
            return fallback

    return source


@dataclass(frozen=True)
class _Asking:
    """One question to the chat model; None where it has no valid answer."""

    chat: ChatModel

    def __call__(self, question: str, schema: type[Answer], seed: int) -> Answer | None:
        try:
            return self.chat.ask([Message("user", question)], schema, temperature=1.0 if seed else 0.0, seed=seed)
        except NoAnswer:
            return None
