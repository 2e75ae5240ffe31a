"""`refine --method auto`: one run in which all strategies that are present share one budget, allotted by what each has gained so far.

    retrieve -> allot -> (rewrite | adapter | df-prompt | dpo-diff) -> weigh -> allot -> ... -> gather -> search -> select -> heldout

Every strategy has one slice of the search's share of the budget; after that UCB chooses who has the next. A strategy starts from the best
candidates that any has found so far. A slice is counted in image equivalents, so that gradients cost what they cost; no slice reaches what
the held-out check needs. A single strategy has the whole share, and auto is that strategy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command

from limner.agents.instructions.bandit import upper_bound
from limner.graph.intent import shows_less, witness
from limner.graph.nodes import Node, Update, candidate_row, conditioning_of, emitter, node, stop_if_asked, tell
from limner.graph.plan import plan_images
from limner.graph.refine.graph import SHOWN_DECIMALS, build_refine, finish, gather, heldout, retrieve, rewrite, search, select
from limner.graph.refine.timing_strip import PLACES
from limner.graph.solvers import TOOLS, missing, tool_node
from limner.graph.state import CandidateRow, Context, RefineState, SkippedRow, SliceRow
from limner.promptdb.records import Conditioning
from limner.tools.budget import BudgetSpent

STRATEGIES = ("rewrite", *TOOLS)
EXTRA = 1  # slices beyond one for each strategy, where there are several: below ten pictures a solver hardly begins
MOST_SLICES = 16
STARTS = 3  # the best candidates, from which a solver starts


def graph_of(method: str) -> StateGraph[RefineState, Context, RefineState, RefineState]:
    """Returns the graph of a method, not yet compiled."""
    return build_auto() if method == "auto" else build_refine(method)


def build_auto() -> StateGraph[RefineState, Context, RefineState, RefineState]:
    """Returns the graph of `auto`, not yet compiled: whoever runs it chooses where its state is stored."""
    graph = StateGraph(RefineState, context_schema=Context)
    steps: dict[str, Any] = {"retrieve": retrieve, "allot": allot, **{name: strategy(name) for name in STRATEGIES}, "weigh": weigh}
    steps |= {"gather": gather, "search": search, "select": select, "heldout": heldout, "finish": finish}
    for name, step in steps.items():
        graph.add_node(name, step, destinations=(*STRATEGIES, "gather") if name == "allot" else None)
    graph.add_edge(START, "retrieve")
    graph.add_edge("retrieve", "allot")
    for name in STRATEGIES:
        graph.add_edge(name, "weigh")
    graph.add_edge("weigh", "allot")
    for before, after in pairwise(["gather", "search", "select", "heldout", "finish", END]):
        graph.add_edge(before, after)
    return graph


@node("allot")
def _allot(state: RefineState, runtime: Runtime[Context]) -> Update:
    context = runtime.context
    slices = state.get("slices", [])
    reasons = {name: missing(name, context.solvers, context.evaluator) for name in TOOLS}
    skipped: list[SkippedRow] = []
    if not slices:
        skipped = [{"method": name, "reason": reason} for name, reason in reasons.items() if reason]
        for row in skipped:
            tell(runtime, {"kind": "skipped", **row})
    present = [name for name in STRATEGIES if not reasons.get(name)]
    whole = _for_search(context)
    left = whole - sum(row["images"] for row in slices)
    share = whole if len(present) == 1 else max(_least(context), whole // (len(present) + EXTRA))
    able = [name for name in present if not _exhausted(name, slices)]
    if not able or left < _least(context) or len(slices) >= MOST_SLICES or (len(present) == 1 and slices):
        return {"skipped": skipped, "slice": {"strategy": "", "share": 0}, "note": f"{len(slices)} slices, {left:g} images left"}
    fresh = [name for name in able if name not in {row["strategy"] for row in slices}]
    indices = ucb(slices, able)
    chosen = fresh[0] if fresh else max(able, key=lambda name: (indices[name], -STRATEGIES.index(name)))
    numbers = ", ".join(f"{name} {indices[name]:.2f}" for name in able if math.isfinite(indices[name]))
    note = f"{chosen} next, {min(share, left):g} images" + (f" (UCB: {numbers})" if numbers else "")
    return {"skipped": skipped, "slice": {"strategy": chosen, "share": int(min(share, left))}, "note": note}


def allot(state: RefineState, runtime: Runtime[Context]) -> Command[str]:
    """Chooses the strategy that has the next slice of the budget, or ends the search."""
    update = _allot(state, runtime)
    goto: Any = update["slice"]["strategy"] or "gather"
    return Command(goto=goto, update=update)


def strategy(name: str) -> Node:
    """Returns the strategy's own node, which runs with a slice of the budget and starts from the best candidates so far."""
    inner = rewrite if name == "rewrite" else tool_node(name)

    def run(state: RefineState, runtime: Runtime[Context]) -> Update:
        context, share = runtime.context, state["slice"]["share"]
        settings, outer = context.settings, context.evaluator
        start = starts(state, 1 if outer.objective.higher_is_better else -1)
        part = outer.budget.slice(images=share, unet_rows=share * outer.rows_per_image, keep=_for_the_end(context))
        if name == "rewrite":
            pulls = sum(row["strategy"] == name for row in state.get("slices", []))
            room = max(1, share // settings.search_seeds - (0 if pulls else 1))
            asked = settings.variants if not pulls else room + len(state["candidates"])
            settings = replace(settings, variants=max(1, asked), seed=settings.seed + pulls)
        work = runtime.override(context=replace(context, evaluator=outer.within(part), settings=settings))
        update = inner({**state, "method": name, "candidates": start}, work)
        known = {row["id"] for row in state["candidates"]}
        found = [row for row in update.get("candidates", []) if row["id"] not in known]
        update["candidates"] = found[:room] if name == "rewrite" else found
        return {**update, "slice": {**state["slice"], "rows": part.spent["unet_rows"]}}

    return run


@node("weigh")
def weigh(state: RefineState, runtime: Runtime[Context]) -> Update:
    """Measures the slice that was spent: by how much it raised the best on the search seeds, and at what cost."""
    context, slice_ = runtime.context, state["slice"]
    part = context.evaluator.budget.slice(keep=_for_the_end(context))
    evaluator, seeds = context.evaluator.within(part), context.settings.search
    scores = dict(state.get("search", {}))
    plain = candidate_row(Conditioning(state["prompt"]), "user")
    fresh = [row for row in state["candidates"] if row["id"] not in scores]
    rows = [plain, *fresh]
    name, guard = evaluator.objective.name, witness(context)
    names = [name, guard.name] if guard else [name]
    conditionings = [conditioning_of(row) for row in rows]
    warnings: list[str] = []
    try:
        found = evaluator.evaluate(conditionings, state["prompt"], seeds, names, emitter(runtime))
    except BudgetSpent as error:
        warnings.append(f"not all candidates of {slice_['strategy']} were drawn: {error}")
        found = evaluator.known(conditionings, state["prompt"], seeds, names)
    stop_if_asked(runtime)
    less = set(state.get("unfaithful", [])) | set(shows_less(found, guard.name) if guard else [])
    sign = 1 if evaluator.objective.higher_is_better else -1
    means = found.mean(name)
    values = {item.id: float(mean) for item, mean in zip(conditionings, means, strict=True) if not math.isnan(mean)}
    before_it = [sign * value for key, value in scores.items() if value is not None and key not in less]
    ahead = max(before_it, default=sign * values.get(plain["id"], math.nan))
    best = max((sign * value for key, value in values.items() if key != plain["id"] and key not in less), default=-math.inf)
    gain = max(0.0, best - ahead) if math.isfinite(best) and math.isfinite(ahead) else 0.0
    scores |= {key: round(value, SHOWN_DECIMALS) for key, value in values.items()}
    cost = (slice_.get("rows", 0.0) + part.spent["unet_rows"]) / evaluator.rows_per_image
    spread = float(np.std([value for value in scores.values() if value is not None])) if len(scores) > 1 else 0.0
    row: SliceRow = {
        "strategy": slice_["strategy"],
        "images": round(cost, 3),
        "candidates": len(fresh),
        "gain": gain,
        "reward": gain / spread if spread > 0 else 0.0,
    }
    note = f"{slice_['strategy']}: {len(fresh)} candidates for {cost:.1f} images, gain {gain:.4g}"
    return {"slices": [row], "search": scores, "unfaithful": sorted(less), "warnings": warnings, "note": note}


def starts(state: RefineState, sign: int) -> list[CandidateRow]:
    """Returns the best candidates so far that may win, for a solver to start from; those that show less of the prompt are left out."""
    less = set(state.get("unfaithful", []))
    return [row for row in ranked(state, sign) if row["id"] not in less][:STARTS]


def ranked(state: RefineState, sign: int) -> list[CandidateRow]:
    """Returns the candidates so far, best first on the search seeds; those without a score and those that show less of the prompt come
    last.

    `sign`: 1 where higher scores are better, -1 where lower ones are.
    """
    scores: Mapping[str, float | None] = state.get("search", {})
    less = set(state.get("unfaithful", []))

    def key(row: CandidateRow) -> tuple[bool, float, str]:
        value = scores.get(row["id"])
        return value is None or row["id"] in less, -sign * (value or 0.0), row["id"]

    return sorted(state["candidates"], key=key)


def ucb(slices: Sequence[SliceRow], names: Sequence[str]) -> dict[str, float]:
    """Returns the upper bound of each strategy's mean reward, with the spread of all rewards; infinite for one that has had no slice."""
    rewards = {name: [row["reward"] for row in slices if row["strategy"] == name] for name in names}
    spread = float(np.std([row["reward"] for row in slices])) if len(slices) > 1 else 0.0
    return {name: upper_bound(float(np.mean(own)), len(own), len(slices), spread) if own else math.inf for name, own in rewards.items()}


def _for_the_end(context: Context) -> dict[str, float]:
    """The images that the search must leave for the nodes after it."""
    return {"images": context.settings.budget - _for_search(context)}


def _for_search(context: Context) -> int:
    """Images for the search: without the held-out check and, where there are many, without the strip that shows a timed word."""
    settings = context.settings
    left = settings.budget - plan_images(settings.budget, settings.search_seeds, settings.heldout_seeds).heldout
    timed = not missing("df-prompt", context.solvers, context.evaluator)
    return left - PLACES if timed and left >= 4 * PLACES else left


def _least(context: Context) -> int:
    """Images below which no slice is begun: one candidate on the search seeds."""
    return context.settings.search_seeds


def _exhausted(name: str, slices: Sequence[SliceRow]) -> bool:
    """Whether the strategy's last slice found nothing new."""
    own = [row for row in slices if row["strategy"] == name]
    return bool(own) and own[-1]["candidates"] == 0
