"""Drafting, drawing and showing within a conversation: a few candidates, all on the same seeds, none that breaks the contract.

Shown pictures are ranked by the objective on search seeds; scorers that are kept out of searches are not computed before something is
accepted. Nothing is drawn beyond the person's cap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from limner.agents import rewriter
from limner.agents.contract import Contract
from limner.graph.chat.state import Topic
from limner.graph.chat.topic import asked_for, contract_of, whole_contract
from limner.graph.context import check_prompt
from limner.graph.exemplars import exemplar, exemplars_for
from limner.graph.intent import admitted, lost_traits
from limner.graph.nodes import Emit, candidate_row, conditioning_of, missing_images, token_limit
from limner.graph.plan import COMPARED
from limner.graph.state import CandidateRow, Context, DroppedRow, Shown
from limner.promptdb.records import Candidate, Conditioning
from limner.promptdb.search.modifiers import fitting
from limner.tools.budget import BudgetSpent
from limner.tools.evaluation import Evaluation

DRAFTS = 4  # candidates in a round: what a person can compare at a glance
WIDTH = 4  # pictures of `more like this`
EXEMPLARS = 5
DECIMALS = 6

Drawn = tuple[list[Shown], list[DroppedRow], list[str]]
"""The pictures to show, the candidates that were refused, and lines for the person."""


def mended(contract: Contract, text: str) -> str:
    """Returns `text` with the pinned words and triggers that it lacks."""
    parts = [text]
    for word in contract.kept:
        if Contract(pins=(word,)).breach(", ".join(parts)) if word in contract.pins else word not in ", ".join(parts):
            parts.append(word)
    return ", ".join(parts)


def draft(context: Context, topic: Topic, turn: int) -> tuple[list[CandidateRow], list[DroppedRow], list[str]]:
    """Returns the request, the prompt being worked on and rewritings of the request as candidates; then the counts of those that break the
    contract; then lines for the person.

    Raises BadInput where the request does not fit into the text encoder.
    """
    contract, settings = whole_contract(topic), context.settings
    prompt = check_prompt(asked_for(topic), context.evaluator.model, settings.truncate)
    rows = [candidate_row(Conditioning(mended(contract, prompt)), "user")]
    if topic["base"] is not None:
        rows.append(topic["base"])
    dropped: list[DroppedRow] = []
    lines: list[str] = []
    try:
        answer = rewriter.rewrite(
            context.chat,
            prompt,
            [exemplar(row) for row in exemplars_for(context.db, prompt, EXEMPLARS, context.card)],
            DRAFTS - len(rows),
            pins=contract.kept,
            token_limit=token_limit(context.evaluator, prompt),
            seed=settings.seed,
            bans=contract.bans,
            automatic=contract.automatic,
            modifiers=partial(fitting, context.db, prompt),
        )
    except BudgetSpent as error:
        lines.append(f"Nothing was rewritten: {error}.")
    else:
        dropped += [{"origin": "rewrite", "reason": kind, "count": count} for kind, count in answer.dropped.items()]
        if not answer.fallback:
            start = rows[0]["id"]
            rows += [candidate_row(item.conditioning, "rewrite", start, "; ".join(item.notes)) for item in answer]
        else:
            lines.append(f"Nothing was rewritten: {'; '.join(answer[0].notes)}.")
    kept, refused = admitted(contract, list({row["id"]: row for row in rows}.values()))
    for row in kept:
        context.db.add_candidate(Candidate(context.evaluator.run, conditioning_of(row), row["origin"], row["parent"], row["note"]))
    return kept, dropped + refused, lines


def shown_names(context: Context) -> list[str]:
    """Returns the scorers that a person sees while choosing: all that may take part in searches."""
    return [scorer.name for scorer in context.evaluator.scorers if not scorer.held_out]


def round_of(context: Context, topic: Topic, rows: Sequence[CandidateRow], seeds: Sequence[int], emit: Emit) -> Drawn:
    """Draws every candidate on every seed; one picture of each is shown, the best first."""
    chosen, lines = _affordable(context, rows, seeds)
    conditionings = [conditioning_of(row) for row in chosen]
    found, told = _evaluated(context, conditionings, asked_for(topic), seeds, emit)
    lost, dropped = lost_traits(context, contract_of(topic), asked_for(topic), conditionings, seeds)
    shown: list[Shown] = []
    name = context.evaluator.objective.name
    for place in found.ranking(name):
        if place in lost or math.isnan(found.mean(name)[place]):
            continue
        picture = _picture(context, found, place, chosen[place])
        if picture is not None:
            shown.append({**picture, "number": len(shown) + 1})
    return shown, dropped, lines + told


def more_of(context: Context, topic: Topic, row: CandidateRow, seeds: Sequence[int], emit: Emit) -> Drawn:
    """Draws one candidate on new seeds; each picture is shown by itself, the best first."""
    conditioning = conditioning_of(row)
    found, told = _evaluated(context, [conditioning], asked_for(topic), seeds, emit)
    values = found.values[context.evaluator.objective.name][0]
    sign = -1 if context.evaluator.objective.higher_is_better else 1
    shown: list[Shown] = []
    for column in np.argsort(sign * np.round(values, 4), kind="stable"):
        key = str(found.drawings[0][column])
        stored = context.db.stored_drawing(key)
        if math.isnan(values[column]) or stored is None or stored.image is None:
            continue
        scores = {name: round(float(rows[0][column]), DECIMALS) for name, rows in found.values.items()}
        shown.append(
            {"number": len(shown) + 1, "drawing": key, "image": stored.image, "seed": seeds[column], "candidate": row, "scores": scores}
        )
    return shown, [], told


def _affordable(context: Context, rows: Sequence[CandidateRow], seeds: Sequence[int]) -> tuple[list[CandidateRow], list[str]]:
    """The first candidates that the budget covers; the check of what will be accepted is no longer in it."""
    left, chosen = context.evaluator.budget.left("images"), list[CandidateRow]()
    for row in rows:
        cost = missing_images(context.evaluator, [conditioning_of(row)], seeds)
        if cost > left:
            break
        left -= cost
        chosen.append(row)
    lines = []
    if len(chosen) < len(rows):
        what = f"{len(rows) - len(chosen)} of {len(rows)} drafts were" if chosen else "Nothing was"
        kept = COMPARED * context.settings.heldout_seeds
        reached = f"the cap on pictures is reached, but for the {kept} of the check on fresh seeds. Say `cap N` to raise it."
        lines.append(f"{what} not drawn: {reached}".replace("Nothing was not", "Nothing was"))
    return chosen, lines


def _evaluated(
    context: Context, conditionings: Sequence[Conditioning], reference: str, seeds: Sequence[int], emit: Emit
) -> tuple[Evaluation, list[str]]:
    names = shown_names(context)
    emit({"kind": "draw", "images": missing_images(context.evaluator, conditionings, seeds)})
    try:
        return context.evaluator.evaluate(conditionings, reference, seeds, names, emit), []
    except BudgetSpent:
        known = context.evaluator.known(conditionings, reference, seeds, names)
        return known, ["The cap on pictures is reached. Say `cap N` to raise it."]


def _picture(context: Context, found: Evaluation, place: int, row: CandidateRow) -> Shown | None:
    """A candidate's picture on the first seed that gave one."""
    stored = context.db.stored_drawings([str(key) for key in found.drawings[place]])
    for column, key in enumerate(found.drawings[place]):
        if str(key) in stored and (image := stored[str(key)].image):
            means: dict[str, Any] = {name: float(found.mean(name)[place]) for name in found.values}
            scores = {name: round(value, DECIMALS) for name, value in means.items() if not math.isnan(value)}
            return {"number": 0, "drawing": str(key), "image": image, "seed": found.seeds[column], "candidate": row, "scores": scores}
    return None
