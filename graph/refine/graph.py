"""Refining one prompt, from retrieval to evidence:

    retrieve -> rewrite -> (solver) -> gather -> search -> select -> heldout -> finish

Candidates are compared on the search seeds; the best of them then meets the user's prompt on seeds that no search has seen, and
only that comparison is reported. Nodes are thin: agents decide, tools act. Knows nothing of command lines, web pages or files.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from limner.agents import rewriter
from limner.graph.exemplars import exemplar, exemplars_for, origins
from limner.graph.intent import admitted, lost_traits, outside_world, shows_less, witness
from limner.graph.nodes import Update, candidate_row, conditioning_of, emitter, missing_images, node, stop_if_asked, tell
from limner.graph.plan import plan_images
from limner.graph.refine.timing_strip import draw_strip, strip_images
from limner.graph.solvers import AS_TYPED, is_solver, sole_solver
from limner.graph.state import CandidateRow, Context, DroppedRow, Outcome, RefineState, ScoreRow
from limner.promptdb.records import Candidate, Conditioning
from limner.promptdb.search.modifiers import fitting
from limner.tools.budget import BudgetSpent
from limner.tools.evaluation import Evaluation
from limner.tools.stats import paired_bootstrap

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
    tokens = context.evaluator.model.token_count
    try:
        answer = rewriter.rewrite(
            context.chat,
            prompt,
            exemplars,
            wanted,
            pins=settings.contract.kept,
            token_limit=tokens,
            seed=settings.seed,
            bans=settings.bans,
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
    kept, dropped = admitted(settings.contract, state["candidates"])
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
        context.db.add_candidate(Candidate(state["run"], conditioning_of(row), row["origin"], row["parent"], row["note"]))
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
    objective = evaluator.objective
    improved = best is not None and is_gain(scores[objective.name], objective.higher_is_better)
    outcome: Outcome = {
        "improved": improved,
        "objective": objective.name,
        "higher_is_better": dict(found.higher_is_better),
        "best": best,
        "result": best if best and improved else plain,
        "scores": scores,
        "before": [str(key) for key in found.drawings[0]],
        "after": [str(key) for key in found.drawings[-1]],
        "warnings": [],
    }
    return {"outcome": outcome, "warnings": warnings, "note": "improved" if improved else "no improvement found"}


@node("finish")
def finish(state: RefineState, runtime: Runtime[Context]) -> Update:
    """Completes the outcome with the warnings, and with the strip of a timed word where the budget covers it."""
    outcome: Outcome = {**state["outcome"], "warnings": state.get("warnings", [])}
    if outcome["best"] and (rows := draw_strip(runtime, conditioning_of(outcome["best"]))):
        outcome["strip"] = rows
    return {"outcome": outcome}


def compare(found: Evaluation, name: str, seed: int) -> ScoreRow:
    """Compares the first with the last conditioning of an evaluation by scorer `name`, on the seeds where both have a value.

    `seed`: of the bootstrap. Returns means, their paired difference and its 95 % interval; None instead of a number that cannot be
    computed.
    """
    both = ~(np.isnan(found.values[name][0]) | np.isnan(found.values[name][-1]))
    count = int(both.sum())
    if count == 0:
        return {"before": None, "after": None, "delta": None, "ci95": None, "n": 0}
    before, after = (float(found.values[name][row][both].mean()) for row in (0, -1))
    row: ScoreRow = {"before": before, "after": after, "delta": after - before, "ci95": None, "n": count}
    if count > 1:
        interval = paired_bootstrap((found.values[name][-1] - found.values[name][0])[both], None, seed)
        row["ci95"] = [interval.lo, interval.hi]
    return row


def is_gain(row: ScoreRow, higher_is_better: bool) -> bool:
    """Returns whether the whole interval lies on the better side of zero; False without an interval."""
    if row["ci95"] is None:
        return False
    lo, hi = row["ci95"]
    return lo > 0 if higher_is_better else hi < 0
