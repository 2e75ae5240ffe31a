"""Learning an instruction on a batch of prompts (Yang, Wang and Hu 2024), from the first iteration to the evidence:

    sample -> pull -> select -> gradient -> modify -> trial -> (again, or) playoff -> suffix -> heldout -> finish

Every arm is measured on the same prompts and seeds. The survivors' weakest is contrasted with the best that is known for these prompts, and
each finding makes a child; a child that does worse than its parent on its parent's own batch is rejected. The best few are then measured on
more prompts, since an arm born late has few pulls. The winner is compared with plain prompts, the initial instruction and the best fixed
suffix on prompts and seeds that no search has seen.
"""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from limner.agents.instructions import bandit, modifier, text_gradient
from limner.agents.instructions.bandit import best, best_first, open_selector
from limner.graph.nodes import Update, emitter, missing_images, node, stop_if_asked, tell
from limner.graph.optimize import arms, suffix
from limner.graph.optimize.heldout import check_heldout
from limner.graph.optimize.state import OptimizeState, PromptRow
from limner.graph.plan import LearningSettings
from limner.graph.state import ArmRow, Context, LearnOutcome
from limner.promptdb.files.prompt_file import BatchPrompt
from limner.promptdb.records import Conditioning, Instruction, content_id
from limner.promptdb.trials import Arm, Standing, Trials

STEPS = ("sample", "pull", "select", "gradient", "modify", "trial")
STEADY = 3  # iterations that a winner must have led, and be significantly ahead of the initial instruction, to end the search
SURE = 0.99
FINALISTS = 3  # arms in the playoff, besides the initial instruction
FINALS = 8  # prompts of the playoff at most
KEPT_BACK = 0.25  # share of the images for learning that is reserved for the playoff


def build_optimize() -> StateGraph[OptimizeState, Context, OptimizeState, OptimizeState]:
    """Returns the graph, not yet compiled: whoever runs it chooses where its state is stored."""
    graph = StateGraph(OptimizeState, context_schema=Context)
    steps: dict[str, Any] = {"sample": sample, "pull": pull, "select": select, "gradient": gradient, "modify": modify, "trial": trial}
    steps |= {"playoff": playoff, "suffix": search_suffix, "heldout": heldout, "finish": finish}
    for name, step in steps.items():
        graph.add_node(name, step)
    graph.add_edge(START, "sample")
    for before, after in pairwise(STEPS):
        graph.add_edge(before, after)
    graph.add_conditional_edges("trial", lambda state: "playoff" if state["stop"] else "sample", ["playoff", "sample"])
    for before, after in pairwise(["playoff", "suffix", "heldout", "finish", END]):
        graph.add_edge(before, after)
    return graph


def first_state(run: str, prompts: list[BatchPrompt], heldout: list[BatchPrompt], shared: bool, initial: str) -> OptimizeState:
    """Returns the state that a run begins with: one arm, the initial instruction. `shared`: both lists hold the same one prompt."""
    arm: ArmRow = {"id": Instruction(initial).id, "text": initial, "parent": None, "finding": "", "born": -1}
    return {
        "run": run,
        "prompts": [{"text": prompt.text, "pins": list(prompt.pins)} for prompt in prompts],
        "heldout": [{"text": prompt.text, "pins": list(prompt.pins)} for prompt in heldout],
        "shared": shared,
        "initial": initial,
        "iteration": -1,
        "arms": [arm],
        "children": [],
        "winner": arm["id"],
        "steady": 0,
        "counters": {},
        "stop": "",
        "cut": 0,
    }


@node("sample")
def sample(state: OptimizeState, runtime: Runtime[Context]) -> Update:
    """Takes the prompts of this iteration: the next of an order drawn once by the run's seed, so that all come before any comes again."""
    iteration = state["iteration"] + 1
    batch = _batch(state, runtime, iteration, min(_learning(runtime).batch_size, len(state["prompts"])))
    Trials(runtime.context.db, state["run"]).add_arms([Arm(_instruction(row), row["born"]) for row in state["arms"]])
    return {"iteration": iteration, "batch": batch, "note": f"iteration {iteration + 1}: {len(batch)} prompts"}


@node("pull")
def pull(state: OptimizeState, runtime: Runtime[Context]) -> Update:
    """Lets every arm, the initial instruction and the professionals write for the batch; draws and scores all of it in one population."""
    learning = _learning(runtime)
    texts = {row["id"]: row["text"] for row in state["arms"]}
    if not learning.reference_ucb:
        texts[Instruction(state["initial"]).id] = state["initial"]
    return _pulled(state, runtime, texts, learning.professional)


def _pulled(state: OptimizeState, runtime: Runtime[Context], texts: dict[str, str], professional: bool, final: bool = False) -> Update:
    context = runtime.context
    whole = final or context.learning.reference_ucb or not state["iteration"]  # the plan covers a first iteration for certain, and no more
    affordable = context.plan.learning if whole else int((1 - KEPT_BACK) * context.plan.learning)
    batch = _prompts(state["batch"])
    writing = arms.write(context, texts, batch, _learning(runtime).professional)
    stop_if_asked(runtime)
    trials = Trials(context.db, state["run"])
    stop, written, cost = state["stop"], list(writing.written), arms.pictures(trials.trials())
    cost |= arms.pictures_of(written, context.settings.search)
    if len(cost) > affordable:
        return {"stop": stop or "the images for learning are spent", "note": "nothing more is drawn"}
    for row in arms.professionals(context, batch) if professional else []:
        if len(cost | arms.pictures_of([row], context.settings.search)) <= affordable:
            cost |= arms.pictures_of([row], context.settings.search)
            written.append(row)
    everything = [*(row.conditioning for row in written), *(Conditioning(row.prompt.text) for row in written)]
    fresh = missing_images(context.evaluator, everything, context.settings.search)
    tell(runtime, {"kind": "draw", "images": fresh})
    spent = arms.pull(context, trials, state["iteration"], written, emitter(runtime))
    if spent:
        stop = stop or str(spent)
    return {
        "stop": stop,
        "cut": state["cut"] + writing.cut,
        "dropped": writing.dropped,
        "note": f"{len(written)} prompts, {fresh} new pictures",
    }


@node("select")
def select(state: OptimizeState, runtime: Runtime[Context]) -> Update:
    """Selects the arms that stay, by the selector; the best of all so far always stays. Then marks the weakest of them."""
    learning, context = _learning(runtime), runtime.context
    trials = Trials(context.db, state["run"])
    known = {row["id"]: row for row in state["arms"]}
    found = arms.records(context, trials, known)
    if not found:
        return {"low": "", "winner": state["winner"], "note": "no arm has a usable picture"}
    iteration = state["iteration"]
    keep = min(learning.arms, len(found))
    counters = state["counters"]
    if learning.reference_ucb:
        raw = arms.raw_records(trials, known)
        chosen, counters = bandit.reference_ucb(raw, keep, iteration, counters)
        winner = max(raw, key=lambda arm: (arm.latest, arm.id)).id
    else:
        rng = random.Random(content_id(["select", context.settings.seed, iteration]))
        chosen = open_selector(learning.selector)(found, keep, rng)
        winner = best(found).id
    numbers = {choice.id: choice.index for choice in chosen}
    survivors = [choice.id for choice in chosen]
    if not learning.reference_ucb and winner not in survivors:
        survivors[-1] = winner
    trials.add_standings(
        Standing(iteration, arm.id, arms.mean(trials, arm.id, iteration), len(arm.rewards), numbers.get(arm.id), _fate(arm.id, survivors))
        for arm in found
    )
    latest = {arm.id: arm.latest for arm in found}
    low = min(survivors, key=lambda arm: (latest[arm], arm))
    steady = state["steady"] + 1 if winner == state["winner"] else 1
    tell(runtime, {"kind": "iteration", "iteration": iteration, "text": known[winner]["text"], "count": len(found)})
    update: Update = {"arms": [known[arm] for arm in survivors], "low": low, "winner": winner, "steady": steady, "counters": counters}
    return {**update, "note": f"{len(survivors)} of {len(found)} arms stay"}


@node("gradient")
def gradient(state: OptimizeState, runtime: Runtime[Context]) -> Update:
    """Contrasts the weakest survivor's rows with the best that are known for the same prompts: what should the instruction say?"""
    context, learning = runtime.context, _learning(runtime)
    if state["stop"] or not state["low"]:
        return {"children": [], "note": "no gradient: the search ends here"}
    low = next(row for row in state["arms"] if row["id"] == state["low"])
    rows = arms.rows_of(Trials(context.db, state["run"]).trials(iteration=state["iteration"]), context.evaluator.objective.higher_is_better)
    weak = rows.get(low["id"], {})
    strong = arms.best_rows(rows)
    pairs = text_gradient.pairs(list(weak.values()), list(strong.values()))
    children: list[ArmRow] = []
    dropped: dict[str, int] = {}
    if pairs:
        found = text_gradient.contrast(context.chat, low["text"], pairs, learning.children, seed=state["iteration"])
        dropped = dict(found.dropped)
        children = [_child(finding.improvement, low, state["iteration"]) for finding in found.findings[: learning.children]]
    return {"children": children, "dropped": dropped, "note": f"{len(pairs)} contrasts, {len(children)} findings"}


@node("modify")
def modify(state: OptimizeState, runtime: Runtime[Context]) -> Update:
    """Makes one new instruction of each finding; where there are none, variants of the weak one. Drops answers that are no instruction."""
    context, learning = runtime.context, _learning(runtime)
    if state["stop"] or not state["low"]:
        return {"children": [], "note": "no children"}
    low = next(row for row in state["arms"] if row["id"] == state["low"])
    seen = [arm.instruction.text for arm in Trials(context.db, state["run"]).arms()]
    subjects = [row["text"] for row in state["batch"]]
    made = modifier.offspring(
        context.chat,
        low["text"],
        [row["finding"] for row in state["children"]],
        learning.children,
        seen=seen,
        subjects=subjects,
        seed=state["iteration"],
    )
    children: list[ArmRow] = [
        {"id": Instruction(text).id, "text": text, "parent": low["id"], "finding": finding, "born": state["iteration"]}
        for text, finding in made.children
    ]
    for row in children:
        tell(runtime, {"kind": "candidate", "text": row["text"], "origin": "text-gradient"})
    return {"children": children, "dropped": dict(made.dropped), "note": f"{len(children)} children"}


@node("trial")
def trial(state: OptimizeState, runtime: Runtime[Context]) -> Update:
    """Measures the children on their parent's batch; rejects those that do worse than it.

    The others take the parent's place. Where none is left the parent is dropped too, as exhausted. The best arm of all always stays.
    """
    context, learning = runtime.context, _learning(runtime)
    children, iteration = state["children"], state["iteration"]
    update: Update = {"children": []}
    kept = children
    if children:
        trials = Trials(context.db, state["run"])
        trials.add_arms([Arm(_instruction(row), row["born"]) for row in children])
        if not learning.reference_ucb:
            update |= _pulled(state, runtime, {row["id"]: row["text"] for row in children}, professional=False)
            kept = arms.accepted(context, trials, state["iteration"], state["low"], children)
    replaced = bool(kept) if learning.reference_ucb else state["low"] != state["winner"]
    if replaced and children:
        Trials(context.db, state["run"]).settle(iteration, state["low"], "replaced" if kept else "exhausted")
    stay = [row for row in state["arms"] if not (replaced and row["id"] == state["low"])]
    update |= {"arms": [*stay, *kept], "note": f"{len(kept)} of {len(children)} children taken in"}
    stop = state["stop"] or update.get("stop", "")
    if not stop and iteration + 1 >= learning.iterations:
        stop = f"all {learning.iterations} iterations are done"
    if not stop and _is_sure(state, context):
        stop = "the winner is significantly ahead of the initial instruction"
    return {**update, "stop": stop}


@node("playoff")
def playoff(state: OptimizeState, runtime: Runtime[Context]) -> Update:
    """Measures the best few and the initial instruction on more prompts, as many as the images for learning cover, and names the winner."""
    context = runtime.context
    trials = Trials(context.db, state["run"])
    everyone = {row["id"]: row["text"] for row in _everyone(trials)}
    initial, found = Instruction(state["initial"]).id, arms.records(context, trials, everyone)
    finalists = dict.fromkeys([*(arm.id for arm in best_first(found)[:FINALISTS]), initial])
    left = context.plan.learning - len(arms.pictures(trials.trials()))
    count = min(FINALS, len(state["prompts"]), left // ((1 + len(finalists)) * len(context.settings.search)))
    if context.learning.reference_ucb or len(finalists) < 2 or count < 1:
        return {"note": "none"}
    iteration = state["iteration"] + 1
    final: OptimizeState = {**state, "iteration": iteration, "batch": _batch(state, runtime, iteration, count)}
    update = _pulled(final, runtime, {id: everyone[id] for id in finalists}, professional=False, final=True)
    winner = best(arms.records(context, trials, everyone)).id
    return {"cut": update.get("cut", state["cut"]), "winner": winner, "note": f"{len(finalists)} arms meet {count} more prompts"}


@node("suffix")
def search_suffix(state: OptimizeState, runtime: Runtime[Context]) -> Update:
    """Finds the best fixed suffix for the same number of pictures: the rival of the learned instruction."""
    context = runtime.context
    found = suffix.search(context, _prompts(state["prompts"]), Trials(context.db, state["run"]), emitter(runtime))
    return {"suffix": found, "note": "none" if found is None else f"{found['positive']!r} after {found['pulls']} pictures"}


@node("heldout")
def heldout(state: OptimizeState, runtime: Runtime[Context]) -> Update:
    """Compares plain, initial, learned and suffixed prompts on held-out prompts and seeds, by every scorer: the only numbers reported."""
    context = runtime.context
    trials = Trials(context.db, state["run"])
    everyone = _everyone(trials)
    winner = state["winner"]
    if not _learning(runtime).reference_ucb and (found := arms.records(context, trials, [row["id"] for row in everyone])):
        winner = best(found).id
    chosen = next(row for row in everyone if row["id"] == winner)
    outcome, warnings = check_heldout(state, runtime, everyone[0], chosen)
    return {
        "winner": winner,
        "outcome": outcome,
        "warnings": warnings,
        "note": outcome["verdict"]["kind"],
    }


@node("finish")
def finish(state: OptimizeState, runtime: Runtime[Context]) -> Update:
    """Completes the outcome with the warnings and the reason why learning stopped."""
    outcome: LearnOutcome = {**state["outcome"], "stopped": state["stop"], "warnings": state.get("warnings", [])}
    return {"outcome": outcome}


def _batch(state: OptimizeState, runtime: Runtime[Context], iteration: int, count: int) -> list[PromptRow]:
    """The next `count` prompts of the run's order, from where `iteration` begins."""
    order = list(state["prompts"])
    random.Random(content_id(["batch", runtime.context.settings.seed])).shuffle(order)
    first = iteration * min(_learning(runtime).batch_size, len(order))
    return [order[(first + place) % len(order)] for place in range(count)]


def _everyone(trials: Trials) -> list[ArmRow]:
    """All arms of the run, the initial instruction first."""
    return [
        {
            "id": arm.instruction.id,
            "text": arm.instruction.text,
            "parent": arm.instruction.parent,
            "finding": arm.instruction.finding,
            "born": arm.born,
        }
        for arm in trials.arms()
    ]


def _learning(runtime: Runtime[Context]) -> LearningSettings:
    return runtime.context.learning


def _prompts(rows: list[Any]) -> list[BatchPrompt]:
    return [BatchPrompt(row["text"], tuple(row["pins"])) for row in rows]


def _instruction(row: ArmRow) -> Instruction:
    return Instruction(row["text"], row["parent"], row["finding"])


def _child(improvement: str, low: ArmRow, iteration: int) -> ArmRow:
    """The arm of a finding that is not yet an instruction."""
    return {"id": "", "text": "", "parent": low["id"], "finding": improvement, "born": iteration}


def _fate(arm: str, survivors: list[str]) -> str:
    return "kept" if arm in survivors else "dropped"


def _is_sure(state: OptimizeState, context: Context) -> bool:
    """Whether the winner has led for STEADY iterations and is significantly ahead of the initial instruction."""
    initial = Instruction(state["initial"]).id
    if context.learning.reference_ucb or state["winner"] == initial or state["steady"] < STEADY:
        return False
    return arms.is_ahead(context, Trials(context.db, state["run"]), state["winner"], initial, SURE)
