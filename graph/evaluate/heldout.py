"""What suites share: a checkpoint's held-out prompts, its judge, and verdicts on pictures of many prompts at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import cast

import numpy as np

from limner.graph.settings import HELDOUT_FROM
from limner.graph.state import Context
from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning
from limner.tools.events import Emit
from limner.tools.scoring.judge import Judge, Verdict
from limner.tools.stats import Interval, paired_bootstrap

REPORT_FROM = HELDOUT_FROM + 10**6
"""Suites report on seeds from here on, since a run's own held-out seeds chose what it returned."""


def heldout_prompts(context: Context, count: int) -> list[str]:
    """Returns the first `count` prompts of the card's held-out set. Raises BadInput where the checkpoint has none."""
    return card_prompts(context, "heldout", count)


def card_prompts(context: Context, key: str, count: int) -> list[str]:
    """Returns the first `count` prompts of the set that the card calls `key`. Raises BadInput where the checkpoint has none."""
    name = context.card.document.get("prompts", {}).get(key)
    if not name:
        raise BadInput(f"{context.evaluator.model.name} brings no {key.replace('heldout', 'held-out')} prompts (card.json, prompts.{key})")
    rows = context.card.path(name).read_text(encoding="utf-8").splitlines()
    return [str(json.loads(row)["prompt"]) for row in rows if row.strip()][:count]


def report_seeds(context: Context, count: int) -> list[int]:
    """Returns `count` seeds to report on, from REPORT_FROM and the run's own seed upwards."""
    return [REPORT_FROM + context.settings.seed + place for place in range(count)]


def judge_of(context: Context) -> Judge:
    """Returns the card's judge. Raises BadInput where there is none."""
    name = context.card.judge
    if not name:
        raise BadInput(f"{context.evaluator.model.name} brings no judge (card.json, judge)")
    return cast(Judge, context.evaluator.scorer(name))


def verdicts(
    context: Context, asked: Sequence[str], drawn: Sequence[Conditioning], seeds: Sequence[int], emit: Emit
) -> list[list[Verdict]]:
    """Returns the judge's verdicts on pictures of `drawn` against the prompts `asked` at the same places, as (prompt, seed).

    Dropped pictures are left out.
    """
    evaluator, judge = context.evaluator, judge_of(context)
    table = evaluator.draw(drawn, seeds, emit)
    stored = context.db.stored_drawings(table.ravel().tolist())
    rows: list[list[Verdict]] = []
    for text, ids in zip(asked, table, strict=True):
        there = [key for key in ids if stored[key].image]
        rows.append(judge.verdicts([evaluator.image(key) for key in there], [text] * len(there)))
    return rows


def interval_of_rows(rows: Sequence[Sequence[float]], seed: int) -> Interval:
    """Returns the mean over all pictures, with an interval that resamples whole prompts."""
    values = np.array([value for row in rows for value in row], np.float64)
    clusters = np.array([place for place, row in enumerate(rows) for _ in row])
    return paired_bootstrap(values, clusters, seed)
