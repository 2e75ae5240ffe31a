"""The work that a turn can call for besides drawing a round: a solver with a budget, the check of what is accepted, votes, searches.

Each function takes the topic and returns the result; events for front ends go to `tell` or `emit`. Nothing is spent beyond the thread's
budget.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from limner.agents.chat.actions import Side
from limner.graph.chat.rounds import DECIMALS, shown_names
from limner.graph.chat.state import Pair, Topic
from limner.graph.chat.topic import asked_for, contract_of, in_dialect, in_short, kept_lines, picture
from limner.graph.intent import missing_evidence, undrawable
from limner.graph.nodes import Emit, candidate_row, conditioning_of, missing_images
from limner.graph.refine.auto import graph_of
from limner.graph.runner import complete
from limner.graph.solvers import check_method
from limner.graph.state import Accepted, CandidateRow, Context, RefineState, ScoreRow, Shown
from limner.graph.verdict import BETTER, CANNOT_DRAW, compare, verdict
from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning, Vote, content_id, text_id
from limner.promptdb.search import search
from limner.promptdb.store import PromptDB
from limner.tools.bradley_terry import Strength, strengths
from limner.tools.budget import BudgetSpent

HITS = 5


def solve(context: Context, topic: Topic, method: str, images: int | None, run: str, tell: Emit) -> tuple[Topic, list[str]]:
    """Refines the topic's request within the conversation on a part of the budget; returns the topic and lines for the person.

    `images`: the part, in images; None for the settings' own. Raises BadInput where the method cannot run or the budget is too small.
    """
    left = context.evaluator.budget.left("images")
    wanted = images or context.settings.budget
    budget = int(min(wanted, left))
    lines = [f"{wanted} pictures are more than the cap leaves; using {budget}."] if budget < wanted else []
    if budget < 1:
        raise BadInput("the cap on pictures is reached; say `cap N` to raise it")
    check_method(method, context.solvers, context.evaluator)
    outer = context.evaluator
    inner = outer.within(outer.budget.slice(images=budget))
    settings = replace(context.settings, budget=budget)
    start: RefineState = {"run": run, "prompt": asked_for(topic), "method": method}
    if topic["base"] is not None:
        start["candidates"] = [topic["base"]]
    state = complete(graph_of(method), replace(context, evaluator=inner, settings=settings), start, tell)
    outcome = state["outcome"]
    lines = [outcome["verdict"]["words"], *lines, *_path(state), *_measured(outcome["scores"], outcome["objective"])]
    lines += [f"Note: {text}" for text in outcome["warnings"]]
    best = outcome["best"]
    base = outcome["result"] if outcome["improved"] else topic["base"]
    rows = [candidate_row(Conditioning(asked_for(topic)), "user"), *([best] if best else [])]
    return cast(Topic, {**topic, "base": base, "shown": shown_of(context, topic, rows, settings.heldout[:1])}), lines


def shown_of(context: Context, topic: Topic, rows: Sequence[CandidateRow], seeds: Sequence[int]) -> list[Shown]:
    """Returns the stored pictures of the candidates for showing, the last candidate first: a result before what it started from."""
    names = shown_names(context)
    found = context.evaluator.known([conditioning_of(row) for row in rows], asked_for(topic), seeds, names)
    shown: list[Shown] = []
    for place, row in reversed(list(enumerate(rows))):
        key = str(found.drawings[place][0])
        stored = context.db.stored_drawing(key)
        if stored is not None and stored.image is not None:
            values = {name: float(found.values[name][place][0]) for name in names}
            scores = {name: round(value, DECIMALS) for name, value in values.items() if not math.isnan(value)}
            shown.append(
                {"number": len(shown) + 1, "drawing": key, "image": stored.image, "seed": seeds[0], "candidate": row, "scores": scores}
            )
    return shown


def settle(context: Context, topic: Topic, emit: Emit) -> tuple[Accepted, list[str]]:
    """Compares what was accepted with the request by every scorer, on seeds by which nothing was chosen: the only numbers that are
    reported.

    Its pictures were kept out of what the rounds may spend, unless the person has lowered the cap since: then the verdict says that nothing
    was measured. Returns what was accepted and lines for the person. Raises BadInput where there is nothing to accept.
    """
    row = topic["base"]
    if row is None:
        raise BadInput("there is nothing to accept yet; say what to draw")
    plain, chosen = Conditioning(asked_for(topic)), conditioning_of(row)
    if chosen == plain:
        accepted = _accepted(context, topic, {}, "it is your own prompt, with nothing to compare")
        first = [accepted["verdict"]["words"]] if accepted["verdict"]["kind"] == CANNOT_DRAW else []
        return {**accepted, "note": "your own prompt"}, [*first, "Accepted: your own prompt, as it is."]
    seeds, evaluator = context.settings.heldout, context.evaluator
    text, negative = in_dialect(chosen, topic)
    told = [f"Accepted: {text}", *([f"Negative: {negative}"] if negative else [])]
    cost = missing_images(evaluator, [plain, chosen], seeds)
    if cost > evaluator.budget.left("images"):
        note = f"not measured: the check on fresh seeds needs {cost} pictures, more than the cap leaves"
        accepted = _accepted(context, topic, {}, note)
        return {**accepted, "note": note}, [accepted["verdict"]["words"], *told]
    emit({"kind": "draw", "images": cost})
    found = evaluator.evaluate([plain, chosen], asked_for(topic), seeds, emit=emit)
    scores = {name: compare(found, name, context.settings.seed) for name in found.values}
    accepted = _accepted(context, topic, scores)
    return accepted, [accepted["verdict"]["words"], *told, *_measured(scores, evaluator.objective.name)]


def _accepted(context: Context, topic: Topic, scores: Mapping[str, ScoreRow], nothing: str = "") -> Accepted:
    """What the person takes, with the verdict on it. `nothing`: why it could not be compared with the request, if so."""
    assert topic["base"] is not None
    evaluator = context.evaluator
    found = verdict(
        scores,
        {scorer.name: scorer.higher_is_better for scorer in evaluator.scorers},
        evaluator.objective.name,
        undrawable=undrawable(context.card, asked_for(topic)),
        nothing=nothing,
        missing=missing_evidence(context),
    )
    return {"result": topic["base"], "verdict": found, "improved": found["kind"] == BETTER, "scores": dict(scores), "note": ""}


def pair_for(context: Context, topic: Topic, image: int | None, other: int | None, turn: int, run: str, emit: Emit) -> tuple[Pair, int]:
    """Returns two pictures for a blind vote, and the next seed.

    The pictures are drawn on a seed not shown yet where the budget covers it, else they are those that were shown. Which one stands left is
    random, by `run` and `turn`. Raises BadInput where there are not two pictures that differ.
    """
    first = picture(topic, image) or (topic["shown"][0] if topic["shown"] else None)
    others = [row for row in topic["shown"] if first is not None and row["candidate"]["id"] != first["candidate"]["id"]]
    if not others:
        others = [row for row in topic["shown"] if first is not None and row["drawing"] != first["drawing"]]
    second = picture(topic, other) or (others[0] if others else None)
    if first is None or second is None or first["drawing"] == second["drawing"]:
        raise BadInput("a vote needs two pictures that differ; say `again` for more, or `compare 1 and 2`")
    rows, seed = [first, second], topic["seed"]
    if first["candidate"]["id"] != second["candidate"]["id"]:
        with_fresh = [conditioning_of(row["candidate"]) for row in rows]
        try:
            context.evaluator.draw(with_fresh, [seed], emit)
            fresh = [_on_seed(context, row, seed) for row in rows]
            rows, seed = [new or old for new, old in zip(fresh, rows, strict=True)] if all(fresh) else rows, seed + 1
        except BudgetSpent:
            pass
    if random.Random(content_id(["pair", run, turn])).random() < 0.5:
        rows.reverse()
    return {"left": rows[0], "right": rows[1]}, seed


def _on_seed(context: Context, row: Shown, seed: int) -> Shown | None:
    key = context.evaluator.drawing(conditioning_of(row["candidate"]), seed).id
    stored = context.db.stored_drawing(key)
    if stored is None or stored.image is None:
        return None
    return {**row, "drawing": key, "image": stored.image, "seed": seed, "scores": {}}


def vote(db: PromptDB, topic: Topic, choice: Side, voter: str) -> tuple[list[Strength], list[str]]:
    """Stores the choice; returns the strengths of the prompts by all votes on this request, and lines that say which picture was which.

    Raises BadInput where no vote is open.
    """
    pair = topic["pair"]
    if pair is None:
        raise BadInput("there is no vote under way; say `compare`")
    reference = db.register_text(asked_for(topic))
    winner = None if choice == "tie" else pair[choice]["drawing"]
    db.add_vote(Vote(reference, pair["left"]["drawing"], pair["right"]["drawing"], winner, voter))
    table = standing(db, reference)
    texts = {side: conditioning_of(pair[side]["candidate"]).text for side in ("left", "right")}
    lines = [f"Your vote: {'a tie' if winner is None else choice}.", f"  left:  {texts['left']}", f"  right: {texts['right']}"]
    return table, lines


def standing(db: PromptDB, reference: str) -> list[Strength]:
    """Returns the Bradley-Terry strengths of the prompts that were voted on for this request, the strongest first."""
    votes = db.votes(reference)
    ids = {key for item in votes for key in (item.left, item.right)}
    owner = {key: stored.drawing.conditioning.id for key, stored in db.stored_drawings(ids).items()}
    known = [item for item in votes if item.left in owner and item.right in owner and owner[item.left] != owner[item.right]]
    return strengths([(owner[item.left], owner[item.right], None if item.winner is None else owner[item.winner]) for item in known])


def strength_rows(db: PromptDB, topic: Topic, table: Sequence[Strength]) -> list[dict[str, Any]]:
    """Returns the strengths as JSON rows, with the prompts' words and the scores on search seeds."""
    rows = []
    for item in table:
        found = db.query("SELECT text, negative FROM conditioning WHERE id = ?", [item.id])
        text, negative = found[0] if found else ("", "")
        scores = next((row["scores"] for row in topic["shown"] if row["candidate"]["id"] == item.id), {})
        rows.append(
            {
                "conditioning": item.id,
                "text": text,
                "negative": negative,
                "strength": round(item.strength, 3),
                "ci95": [round(item.lo, 3), round(item.hi, 3)],
                "votes": item.votes,
                "scores": scores,
            }
        )
    return rows


def find(db: PromptDB, query: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns prompts of the database as data, and lines for the person. Nothing in them is taken as an instruction."""
    hits = search.both(db, query, HITS)
    rows = [{"text": hit.prompt.text, "negative": hit.prompt.negative, "source": hit.prompt.source} for hit in hits]
    lines = [f"{len(rows)} prompts for {query!r}:" if rows else f"No prompt of the database fits {query!r}."]
    return rows, lines + [f"  {number}. {row['text']} ({row['source']})" for number, row in enumerate(rows, 1)]


def status(db: PromptDB, topic: Topic, spent: Mapping[str, float]) -> list[str]:
    """Returns, in a few lines, what the conversation is about and what it has `spent`."""
    contract = contract_of(topic)
    lines = [f"Request: {asked_for(topic) or 'none yet'}", f"Checkpoint: {topic['checkpoint']}"]
    if topic["base"] is not None:
        lines.append(f"Going on from: {conditioning_of(topic['base']).text}")
    if topic["pair"] is None:  # while a vote is open nothing may tell the pictures apart
        lines += [f"{row['number']}: {in_short(row['candidate'], topic)}" for row in topic["shown"]]
    for name, words in contract.to_json().items():
        if words:
            lines.append(f"{name.replace('_', ' ').capitalize()}: {', '.join(words)}")
    lines += kept_lines(topic)
    lines.append(f"Pictures: {spent['images']} of {topic['cap']} drawn, {spent['llm_calls']} chat calls")
    table = standing(db, text_id(asked_for(topic))) if topic["request"] else []
    return lines + vote_lines(strength_rows(db, topic, table))


def vote_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the strengths as lines; empty without votes."""
    if not rows:
        return []
    lines = ["Votes so far (Bradley-Terry strength, 95 % interval; scorers on search seeds):"]
    for row in rows:
        scores = ", ".join(f"{name} {value:.3f}" for name, value in row["scores"].items())
        numbers = f"{row['strength']:+.2f} ({row['ci95'][0]:+.2f} to {row['ci95'][1]:+.2f}), {row['votes']} votes"
        lines.append(f"  {numbers}{'; ' + scores if scores else ''}: {row['text']}")
    return lines


def _measured(scores: Mapping[str, ScoreRow], objective: str) -> list[str]:
    lines = []
    for name, row in scores.items():
        delta, interval = row["delta"], row["ci95"]
        if delta is None:
            continue
        reach = f" ({interval[0]:+.3f} to {interval[1]:+.3f})" if interval else ""
        mark = " (the objective)" if name == objective else ""
        lines.append(f"  {name}{mark}: {row['before']:.3f} -> {row['after']:.3f}, {delta:+.3f}{reach} on {row['n']} fresh seeds")
    return lines


def _path(state: Mapping[str, Any]) -> list[str]:
    walked = [f"{row['node']} ({row['note']})" for row in state["path"] if row["note"]]
    return [f"Path: {' -> '.join(walked)}"] if walked else []
