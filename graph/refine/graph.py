"""Refining one prompt, from retrieval to evidence:

    retrieve -> rewrite -> (solver) -> gather -> search -> select -> heldout -> finish

Candidates are compared on the search seeds; the best of them then meets the user's prompt on seeds that no search has seen, and
only that comparison is reported. Nodes are thin: agents decide, tools act. Knows nothing of command lines, web pages or files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from limner.agents import rewriter
from limner.graph.exemplars import exemplar, exemplars_for, origins
from limner.graph.intent import admitted, contract_of, lost_traits, missing_evidence, outside_world, shows_less, undrawable, witness
from limner.graph.nodes import (
    Update,
    candidate_row,
    conditioning_of,
    emitter,
    missing_images,
    node,
    stop_if_asked,
    tell,
    token_limit,
)
from limner.graph.plan import plan_images
from limner.graph.refine.timing_strip import draw_strip, strip_images
from limner.graph.solvers import AS_TYPED, is_solver, sole_solver
from limner.graph.state import CandidateRow, Context, DroppedRow, Outcome, RefineState, ScoreRow, Verdict
from limner.graph.verdict import BETTER, WORSE, compare, verdict
from limner.promptdb.records import Candidate, Conditioning
from limner.promptdb.search.modifiers import fitting
from limner.tools.budget import BudgetSpent
from limner.tools.scoring.adversarial import Adversarial

EXEMPLARS = 5  # AP-Adapter, sec. 3.1: the top 5 pairs of the demonstration library
SHOWN_DECIMALS = 6


def build_refine(method: str) -> StateGraph[RefineState, Context, RefineState, RefineState]:
    """Returns the graph of one method with the nodes that it needs, not yet compiled: whoever runs it chooses where its state is stored."""
    graph = StateGraph(RefineState, context_schema=Context)
    steps: dict[str, Any] = {} if method in AS_TYPED else {"retrieve": retrieve, "rewrite": rewrite}
    steps |= {method: sole_solver(method)} if is_solver(method) else {}
    steps |= {"gather": gather, "search": search, "select": select, "heldout": heldout, "finish": finish}
    for name, step in steps.items():
        graph.add_node(name, step)
    names = [START, *steps, END]
    for before, after in pairwise(names):
        graph.add_edge(before, after)
    return graph


@node("retrieve")
def retrieve(state: RefineState, runtime: Runtime[Context]) -> Update:
    """Finds professional prompts to show the rewriter, the most similar first (the rewriter puts that one nearest to the question)."""
    rows = exemplars_for(runtime.context.db, state["prompt"], EXEMPLARS, runtime.context.card)
    return {"exemplars": rows, "note": origins(rows)}


@node("rewrite")
def rewrite(state: RefineState, runtime: Runtime[Context]) -> Update:
    """Asks the chat model for variants; drops those that cannot become a prompt, with a reason."""
    context, settings, prompt = runtime.context, runtime.context.settings, state["prompt"]
    plan = plan_images(settings.budget, settings.search_seeds, settings.heldout_seeds)
    exemplars = [exemplar(row) for row in state["exemplars"]]
    wanted = min(settings.variants, plan.population - 1)
    contract = contract_of(context, prompt)
    try:
        answer = rewriter.rewrite(
            context.chat,
            prompt,
            exemplars,
            wanted,
            pins=contract.kept,
            token_limit=token_limit(context.evaluator, prompt),
            seed=settings.seed,
            bans=contract.bans,
            automatic=contract.automatic,
            modifiers=partial(fitting, context.db, prompt),
        )
    except BudgetSpent as error:
        return _no_rewrites(runtime, str(error))
    stop_if_asked(runtime)
    dropped: list[DroppedRow] = [{"origin": "rewrite", "reason": kind, "count": count} for kind, count in answer.dropped.items()]
    for lost in dropped:
        tell(runtime, {"kind": "dropped", **lost})
    if answer.fallback:
        return {**_no_rewrites(runtime, "; ".join(answer[0].notes)), "dropped": dropped}
    start = Conditioning(prompt).id
    found = [candidate_row(item.conditioning, "rewrite", parent=start, note="; ".join(item.notes)) for item in answer]
    for row in found:
        tell(runtime, {"kind": "candidate", "text": row["conditioning"]["text"], "origin": "rewrite"})
    return {"candidates": found, "dropped": dropped, "note": f"{len(found)} variants"}


def _no_rewrites(runtime: Runtime[Context], reason: str) -> Update:
    warning = f"no rewritten prompts: {reason}"
    tell(runtime, {"kind": "warning", "text": warning})
    return {"candidates": [], "warnings": [warning], "note": "no usable answer"}


@node("gather")
def gather(state: RefineState, runtime: Runtime[Context]) -> Update:
    """Makes the population: the user's prompt, then every distinct candidate that the budget can search without touching the images of the
    held-out check.
    """
    context, settings = runtime.context, runtime.context.settings
    evaluator = context.evaluator
    reserve = plan_images(settings.budget, settings.search_seeds, settings.heldout_seeds).heldout + strip_images(state["candidates"])
    left = evaluator.budget.left("images") - reserve
    plain = candidate_row(Conditioning(state["prompt"]), "user")
    kept, dropped = admitted(contract_of(context, state["prompt"]), state["candidates"])
    for lost in dropped:
        tell(runtime, {"kind": "dropped", **lost})
    distinct = {row["id"]: row for row in [plain, *kept]}
    population: list[CandidateRow] = []
    for row in distinct.values():
        cost = missing_images(evaluator, [conditioning_of(row)], settings.search)
        if cost and cost > left:
            continue  # no break: candidates that a solver has drawn already cost nothing
        left -= cost
        population.append(row)
    for row in population:
        drawn = evaluator.as_drawn(conditioning_of(row))
        context.db.add_candidate(Candidate(state["run"], drawn, row["origin"], row["parent"], row["note"]))
    left_out = len(distinct) - len(population)
    warnings = [f"{left_out} candidates were not searched: the budget of {settings.budget} images does not reach"] if left_out else []
    for warning in (outside := outside_world(context.card, state["prompt"])):
        tell(runtime, {"kind": "warning", "text": warning})
    warnings += outside
    note = f"{len(population)} candidates, the user's prompt among them"
    if refused := sum(row["count"] for row in dropped):
        note += f"; {refused} refused by the contract"
    return {"population": population, "dropped": dropped, "warnings": warnings, "note": note}


@node("search")
def search(state: RefineState, runtime: Runtime[Context]) -> Update:
    """Draws and scores the whole population on the search seeds, in one batch; marks the candidates that show less than the
    user's prompt.
    """
    evaluator, seeds = runtime.context.evaluator, runtime.context.settings.search
    name = evaluator.objective.name
    guard = witness(runtime.context)
    names = [name, guard.name] if guard else [name]
    conditionings = [conditioning_of(row) for row in state["population"]]
    warnings: list[str] = []
    fresh = missing_images(evaluator, conditionings, seeds)
    tell(runtime, {"kind": "draw", "images": fresh})
    try:
        found = evaluator.evaluate(conditionings, state["prompt"], seeds, names, emitter(runtime))
    except BudgetSpent as error:
        warnings.append(f"the search ended early: {error}")
        found = evaluator.known(conditionings, state["prompt"], seeds, names)
    means = found.mean(name)
    order = [index for index in found.ranking(name) if not math.isnan(means[index])]
    scores = {conditionings[index].id: round(float(means[index]), SHOWN_DECIMALS) for index in order}
    unfaithful = shows_less(found, guard.name) if guard else []
    contract = runtime.context.settings.contract
    lost, dropped = lost_traits(runtime.context, contract, state["prompt"], conditionings, seeds)
    for row in dropped:
        tell(runtime, {"kind": "dropped", **row})
    unfaithful += [key for key in (conditionings[place].id for place in sorted(lost)) if key not in unfaithful]
    return {
        "search": scores,
        "unfaithful": unfaithful,
        "dropped": dropped,
        "warnings": warnings,
        "note": f"{len(conditionings)} x {len(seeds)} seeds, {fresh} new pictures"
        + (f"; {len(unfaithful)} show less of what was asked, by {guard.name}" if guard else ""),
    }


@node("select")
def select(state: RefineState, runtime: Runtime[Context]) -> Update:
    """Selects the best candidate that is not the user's prompt and shows no less of it.

    It is selected even where the user's prompt scored higher on the few search seeds: the held-out check decides, and its images were
    reserved.
    """
    out = {Conditioning(state["prompt"]).id, *state.get("unfaithful", [])}
    best = next((key for key in state["search"] if key not in out), None)
    if best is None:
        lost = len(out & state["search"].keys()) - 1
        return {"best": None, "note": f"none of {lost} candidates shows what was asked as well" if lost > 0 else "no candidate"}
    rank = list(state["search"]).index(best) + 1
    return {"best": best, "note": f"number {rank} of {len(state['search'])} on the search seeds"}


@node("heldout")
def heldout(state: RefineState, runtime: Runtime[Context]) -> Update:
    """Compares the user's prompt with the best candidate on the held-out seeds, by every scorer: the only numbers that are reported."""
    evaluator, seeds, prompt = runtime.context.evaluator, runtime.context.settings.heldout, state["prompt"]
    plain = candidate_row(Conditioning(prompt), "user")
    best = next((row for row in state["population"] if row["id"] == state["best"]), None)
    conditionings = [conditioning_of(row) for row in ([plain, best] if best else [plain])]
    warnings: list[str] = []
    tell(runtime, {"kind": "draw", "images": missing_images(evaluator, conditionings, seeds)})
    try:
        found = evaluator.evaluate(conditionings, prompt, seeds, emit=emitter(runtime))
    except BudgetSpent as error:
        warnings.append(f"the held-out check is not complete: {error}")
        found = evaluator.known(conditionings, prompt, seeds)
    rng_seed = runtime.context.settings.seed
    scores = {name: compare(found, name, rng_seed) for name in found.values}
    if evaluator.dropped:
        warnings.append(f"{evaluator.dropped} pictures were dropped: the model drew NaN, or a scorer had no answer")
    judged = _judged(runtime.context, state, scores, found.higher_is_better, best is not None)
    improved = judged["kind"] == (WORSE if isinstance(evaluator.objective, Adversarial) else BETTER)
    outcome: Outcome = {
        "verdict": judged,
        "improved": improved,
        "objective": judged["objective"],
        "higher_is_better": dict(found.higher_is_better),
        "best": best,
        "result": best if best and improved else plain,
        "scores": scores,
        "before": [str(key) for key in found.drawings[0]],
        "after": [str(key) for key in found.drawings[-1]],
        "warnings": [],
    }
    return {"outcome": outcome, "warnings": warnings, "note": judged["kind"]}


def _judged(context: Context, state: RefineState, scores: dict[str, ScoreRow], higher: Mapping[str, bool], compared: bool) -> Verdict:
    """The verdict on the candidate that was compared. That on an attack says what became of the pictures, worse being wanted."""
    objective = context.evaluator.objective
    attack = isinstance(objective, Adversarial)
    nothing = "" if compared else "no candidate was left to compare with your prompt"
    if not compared and state.get("unfaithful"):
        nothing = "every candidate showed less of what you asked for than your prompt does"
    return verdict(
        scores,
        {**higher, objective.name: objective.higher_is_better != attack},
        objective.name,
        undrawable=undrawable(context.card, state["prompt"]),
        nothing=nothing,
        missing=missing_evidence(context),
    )


@node("finish")
def finish(state: RefineState, runtime: Runtime[Context]) -> Update:
    """Completes the outcome with the warnings, and with the strip of a timed word where the budget covers it."""
    outcome: Outcome = {**state["outcome"], "warnings": state.get("warnings", [])}
    if outcome["best"] and (rows := draw_strip(runtime, conditioning_of(outcome["best"]))):
        outcome["strip"] = rows
    return {"outcome": outcome}
