"""How faithful a checkpoint is to plain prompts, by its judge, and what good modifiers do against its defects.

Works on any checkpoint whose card brings a judge, held-out prompts and a list of good and bad tags.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from graph.evaluate.base import Emit, Row, Target
from graph.evaluate.heldout import heldout_prompts, interval_of_rows, report_seeds, verdicts
from graph.state import Context
from promptdb.errors import BadInput
from promptdb.records import Conditioning
from tools.scoring.judge import Verdict
from tools.stats import Interval

SEEDS = 4
PROMPTS, PROMPTS_FULL = 100, 200

FAITHFUL: dict[str, Target | None] = {
    "single object right": Target(">=", 0.5),
    "both objects right": None,
    "colour right, given the object": None,
    "relation right, given both objects": None,
    "background right": Target(">=", 0.8),
    "style right": Target(">=", 0.8),
}


class MiniatureSuite:
    """Rows: share right per attribute on plain prompts; change of the defect rate by good tags, and by bad tags as the negative prompt;
    the judge's own accuracy on renders, as measured when it was trained."""

    name: ClassVar[str] = "miniature"
    summary: ClassVar[str] = "is what is asked for in the picture, and do modifiers act?"

    def pictures(self, context: Context, full: bool) -> int:
        return 3 * SEEDS * len(heldout_prompts(context, PROMPTS_FULL if full else PROMPTS))

    def run(self, context: Context, full: bool, emit: Emit) -> Sequence[Row]:
        prompts = heldout_prompts(context, PROMPTS_FULL if full else PROMPTS)
        seeds, seed = report_seeds(context, SEEDS), context.settings.seed
        tags = context.card.document.get("tags")
        if not tags:
            raise BadInput(f"{context.evaluator.model.name} says nothing of good and bad tags (card.json, tags)")
        plain = verdicts(context, prompts, [Conditioning(text) for text in prompts], seeds, emit)
        good = verdicts(context, prompts, [Conditioning(f"{text}, {tags['positive']}") for text in prompts], seeds, emit)
        without = verdicts(context, prompts, [Conditioning(text, tags["negative"]) for text in prompts], seeds, emit)
        rows = faithfulness(plain, seed)
        rows.append(_row("defect rate of plain prompts", interval_of_rows(_defects(plain), seed)))
        rows.append(_row("defect rate: change by good tags", interval_of_rows(_change(plain, good), seed), Target("<", 0, "hi")))
        rows.append(
            _row("defect rate: change by bad tags as negative", interval_of_rows(_change(plain, without), seed), Target("<", 0, "hi"))
        )
        return [*rows, *_judge_rows(context)]


SUITE = MiniatureSuite()


def faithfulness(plain: Sequence[Sequence[Verdict]], seed: int) -> list[Row]:
    """One row an attribute; pictures whose prompt does not ask for it are left out."""
    single, both, colour, relation, background, style = (list[list[float]]() for _ in range(6))
    for row in plain:
        single.append([float(item.objects[0]) for item in row if len(item.objects) == 1])
        both.append([float(all(item.objects)) for item in row if len(item.objects) == 2])
        colour.append([float(ok) for item in row for ok in item.colours if ok is not None])
        relation.append([float(item.relation) for item in row if item.relation is not None])
        background.append([float(item.background) for item in row if item.background is not None])
        style.append([float(item.style) for item in row if item.style is not None])
    columns = (single, both, colour, relation, background, style)
    return [_row(name, interval_of_rows(rows, seed), target) for (name, target), rows in zip(FAITHFUL.items(), columns, strict=True)]


def _judge_rows(context: Context) -> list[Row]:
    """From the card: what the recipe measured on fresh renders, which need the emoji font. `object_exact` (every one of all nouns right at
    once) is no question that anybody asks, so it is told without a target."""
    measured = context.card.document.get("measured", {})
    heads, count = measured.get("judge_on_renders", {}), int(measured.get("fresh_scenes", 0))
    return [
        Row(f"judge on fresh renders: {head}", float(value), None, count, None if head == "object_exact" else Target(">=", 0.95))
        for head, value in heads.items()
    ]


def _defects(rows: Sequence[Sequence[Verdict]]) -> list[list[float]]:
    return [[float(bool(item.defects)) for item in row] for row in rows]


def _change(before: Sequence[Sequence[Verdict]], after: Sequence[Sequence[Verdict]]) -> list[list[float]]:
    """Paired by seed; a prompt that lost a picture to NaN is left out, since its seeds no longer match."""
    pairs = zip(_defects(before), _defects(after), strict=True)
    return [[late - early for early, late in zip(first, second, strict=True)] for first, second in pairs if len(first) == len(second)]


def _row(name: str, interval: Interval, target: Target | None = None) -> Row:
    return Row(name, interval.mean, (interval.lo, interval.hi), interval.n, target)
