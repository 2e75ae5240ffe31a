"""The solvers as nodes: one for each method, in a fixed order; what is not asked for or not there is passed by, with a reason.

Each starts from the candidates found so far and adds its own. A later method joins by one line in SOLVERS. Knows nothing of
how a solver works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import cast
from zlib import crc32

import numpy as np
from langgraph.runtime import Runtime

from agents.contract import Contract
from graph.keeping import admitted
from graph.nodes import Emit, Node, Update, candidate_row, conditioning_of, emitter, node, tell
from graph.plan import COMPARED
from graph.settings import Settings
from graph.state import CandidateRow, Context, DroppedRow, RefineState
from promptdb.errors import BadInput
from promptdb.records import Conditioning
from tools.budget import Budget, BudgetSpent
from tools.evaluator import Evaluator
from tools.solver import Solver, Task

METHODS = ("auto", "rewrite", "adapter", "df-prompt", "dpo-diff")
TOOLS = METHODS[2:]

SOLVERS: Mapping[str, str] = {"df-prompt": "tools.df_prompt.solver:DfPrompt", "dpo-diff": "tools.dpo_diff.solver:DpoDiff"}
"""Method name -> "module:factory" of its solver."""

Factories = Mapping[str, Callable[[], Solver]]


def solvers() -> Factories:
    """Factories of the solvers that this version has; nothing is imported before one is called."""

    def factory(place: str) -> Callable[[], Solver]:
        module, name = place.split(":")
        return lambda: cast(Solver, getattr(import_module(module), name)())

    return {method: factory(place) for method, place in SOLVERS.items()}


def asked_tools(method: str) -> tuple[str, ...]:
    """The solvers that a method calls upon: none for `rewrite`, all for `auto`, else the one of that name."""
    return TOOLS if method == "auto" else tuple(name for name in TOOLS if name == method)


def check_method(method: str, available: Factories, evaluator: Evaluator | None = None) -> None:
    """Raises BadInput for an unknown method, and for one asked for by name that cannot run (here, where an evaluator is given)."""
    if method not in METHODS:
        raise BadInput(f"there is no method {method!r}; choose one of {', '.join(METHODS)}")
    if method in TOOLS and (reason := missing(method, available, evaluator)):
        raise BadInput(f"the method {method} cannot run: {reason}; choose auto or rewrite")


def missing(method: str, available: Factories, evaluator: Evaluator | None) -> str:
    """Why a solver cannot run, in one line; empty when it can."""
    if method not in available:
        return "this version has no solver for it"
    return available[method]().missing(evaluator) if evaluator else ""


def tool_node(method: str) -> Node:
    """The node that runs the solver of `method`."""

    @node(method)
    def run(state: RefineState, runtime: Runtime[Context]) -> Update:
        context = runtime.context
        if method not in asked_tools(state["method"]):
            return {"note": "not asked for"}
        if reason := missing(method, context.solvers, context.evaluator):
            tell(runtime, {"kind": "skipped", "method": method, "reason": reason})
            return {"skipped": [{"method": method, "reason": reason}], "note": f"skipped: {reason}"}
        settings = context.settings
        warnings: list[str] = []
        proposals: list[Conditioning] = []
        solver = context.solvers[method]()
        with kept_back(context.evaluator.budget, reserve(settings)):
            try:
                task = Task(state["prompt"], _start(state, context, emitter(runtime)), tuple(settings.search), settings.contract.kept)
                pulls = sum(row["strategy"] == method for row in state.get("slices", []))  # under `auto` a solver may be asked again
                rng = np.random.default_rng([settings.seed, crc32(method.encode()), *([pulls] if pulls else [])])
                proposals = list(solver.solve(task, context.evaluator, rng, emitter(runtime)))
            except BudgetSpent as error:
                warnings.append(f"{method} ended early: {error}")
        found, dropped = _accept(method, proposals, state, settings.contract)
        for row in found:
            tell(runtime, {"kind": "candidate", "text": row["conditioning"]["text"], "origin": method})
        for lost in dropped:
            tell(runtime, {"kind": "dropped", **lost})
        update: Update = {"candidates": found, "dropped": dropped, "warnings": warnings, "note": f"{len(found)} candidates"}
        if findings := getattr(solver, "findings", None):
            update["findings"] = {method: findings}
        return update

    return run


def reserve(settings: Settings) -> int:
    """Images that a solver may not spend: what the search of its best candidate and the held-out check will need."""
    return COMPARED * (settings.heldout_seeds + settings.search_seeds)


def _start(state: RefineState, context: Context, emit: Emit) -> tuple[Conditioning, ...]:
    """What there is to start from, best first by the search seeds, on which all of it is drawn anyway; the prompt itself among it."""
    found = tuple(conditioning_of(row) for row in state["candidates"])
    if not found:
        return (Conditioning(state["prompt"]),)
    evaluator, name = context.evaluator, context.evaluator.objective.name
    every = list(dict.fromkeys([Conditioning(state["prompt"]), *found]))
    drawn = evaluator.evaluate(every, state["prompt"], context.settings.search, [name], emit)
    return tuple(every[index] for index in drawn.ranking(name))


@contextmanager
def kept_back(budget: Budget, images: int) -> Iterator[None]:
    """Lower the cap on images by `images` for a while, so that whoever spends inside cannot touch them."""
    cap = budget.images
    if cap is not None:
        budget.images = max(1, cap - images)
    try:
        yield
    finally:
        budget.images = cap


def _accept(
    method: str, proposals: list[Conditioning], state: RefineState, contract: Contract
) -> tuple[list[CandidateRow], list[DroppedRow]]:
    """The new ones among a solver's proposals, and those refused because they break the contract."""
    known = {row["id"] for row in state["candidates"]}
    start = Conditioning(state["prompt"]).id
    rows = [candidate_row(item, method, parent=start) for item in {item.id: item for item in proposals}.values() if item.id not in known]
    return admitted(contract, rows)
