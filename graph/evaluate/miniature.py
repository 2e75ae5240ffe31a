"""Measures how well a checkpoint follows plain prompts by its judge, what good modifiers do against its defects, and what can be gained on
it.

Works on any checkpoint whose card brings a judge, held-out prompts and a list of good and bad tags; rows of numbers, styles and headroom
where it brings their prompts too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from limner.graph.evaluate import headroom, label_rows, style_rows
from limner.graph.evaluate.base import Row, Target
from limner.graph.evaluate.heldout import card_prompts, heldout_prompts, interval_of_rows, report_seeds, verdicts
from limner.graph.state import Context
from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning
from limner.tools.events import Emit
from limner.tools.scoring.judge import Verdict
from limner.tools.stats import Interval

SEEDS = 4
PROMPTS, PROMPTS_FULL = 100, 200
LARGE = 160  # nouns of a checkpoint from which on it has the higher targets
COUNTED, COUNTED_FULL = 40, 200  # prompts that ask for a number

# Targets of a checkpoint of a small world, and of a large one.
FAITHFUL: dict[str, tuple[float, float]] = {
    "single object right": (0.80, 0.95),
    "both objects right": (0.55, 0.85),
    "colour right, given the object": (0.75, 0.93),
    "relation right, given both objects": (0.75, 0.92),
    "background right": (0.90, 0.97),
    "style right": (0.90, 0.97),
}
DEFECTS_LOWERED = (0.40, 0.60)
STYLES_RECOGNISED = (0.80, 0.95)
JUDGE_HEAD = 0.97
PREFERENCE_RIGHT, VARIANTS_RIGHT = 0.90, 0.85


class MiniatureSuite:
    """Rows: share right per attribute on plain prompts and on those of a number; the defect rate, and by how much good tags, and bad tags
    as the negative prompt, lower it; styles; headroom; what scorers and judge reached on renders in training, from the card; the judge's
    agreement with a person where pictures were labelled.
    """

    name: ClassVar[str] = "miniature"
    summary: ClassVar[str] = "is what is asked for in the picture, do modifiers act, and is there anything to be won?"

    def pictures(self, context: Context, full: bool) -> int:
        """Returns how many pictures the suite draws at most."""
        sets = 3 * SEEDS * len(heldout_prompts(context, PROMPTS_FULL if full else PROMPTS)) + SEEDS * (COUNTED_FULL if full else COUNTED)
        sets += len(label_rows.labels_of(context))
        return sets + style_rows.pictures(context, full) + (headroom.pictures(context, full) if _brings_headroom(context) else 0)

    def run(self, context: Context, full: bool, emit: Emit) -> Sequence[Row]:
        """Draws and judges; returns the rows. Raises BadInput where the card has no tags."""
        prompts = heldout_prompts(context, PROMPTS_FULL if full else PROMPTS)
        seeds, seed = report_seeds(context, SEEDS), context.settings.seed
        tags = context.card.document.get("tags")
        if not tags:
            raise BadInput(f"{context.evaluator.model.name} says nothing of good and bad tags (card.json, tags)")
        large = len(context.card.document.get("nouns", ())) >= LARGE
        plain = verdicts(context, prompts, [Conditioning(text) for text in prompts], seeds, emit)
        good = verdicts(context, prompts, [Conditioning(f"{text}, {tags['positive']}") for text in prompts], seeds, emit)
        without = verdicts(context, prompts, [Conditioning(text, tags["negative"]) for text in prompts], seeds, emit)
        rows = faithfulness(plain, seed, large)
        rows += _counting(context, full, emit)
        rows.append(_row("defect rate of plain prompts", interval_of_rows(_defects(plain), seed)))
        rows.append(_lowered("defect rate: lowered by good tags, share", plain, good, seed, Target(">=", DEFECTS_LOWERED[large])))
        rows.append(_row("defect rate: change by good tags", interval_of_rows(_change(plain, good), seed), Target("<", 0, "hi")))
        rows.append(
            _row("defect rate: change by bad tags as negative", interval_of_rows(_change(plain, without), seed), Target("<", 0, "hi"))
        )
        rows += style_rows.style_rows(context, full, emit, STYLES_RECOGNISED[large])
        if _brings_headroom(context):
            rows += headroom.headroom_rows(context, full, emit)
        return [*rows, *_card_rows(context), *label_rows.label_rows(context, emit)]


SUITE = MiniatureSuite()


def faithfulness(plain: Sequence[Sequence[Verdict]], seed: int, large: bool = False) -> list[Row]:
    """Returns one row an attribute, with the target of a small or a `large` world. Pictures whose prompt does not ask for it
    are left out.
    """
    single, both, colour, relation, background, style = (list[list[float]]() for _ in range(6))
    for row in plain:
        single.append([float(item.objects[0]) for item in row if len(item.objects) == 1])
        both.append([float(all(item.objects)) for item in row if len(item.objects) == 2])
        colour.append([float(ok) for item in row for ok in item.colours if ok is not None])
        relation.append([float(item.relation) for item in row if item.relation is not None])
        background.append([float(item.background) for item in row if item.background is not None])
        style.append([float(item.style) for item in row if item.style is not None])
    columns = (single, both, colour, relation, background, style)
    return [
        _row(name, interval_of_rows(rows, seed), Target(">=", bounds[large]))
        for (name, bounds), rows in zip(FAITHFUL.items(), columns, strict=True)
    ]


def _brings(context: Context, kind: str) -> bool:
    return f"{kind}.heldout" in context.card.document.get("prompts", {})


def _brings_headroom(context: Context) -> bool:
    return _brings(context, "crowded") and _brings(context, "hard")


def _counting(context: Context, full: bool, emit: Emit) -> list[Row]:
    """Rows of prompts that ask for two or three of a kind, where the checkpoint brings such prompts."""
    if not _brings(context, "counting"):
        return []
    prompts = card_prompts(context, "counting.heldout", COUNTED_FULL if full else COUNTED)
    found = verdicts(context, prompts, [Conditioning(text) for text in prompts], report_seeds(context, SEEDS), emit)
    right = [[float(ok) for item in row for ok in item.counts if ok is not None] for row in found]
    return [_row("number right, given the object", interval_of_rows(right, context.settings.seed))]


def _lowered(
    name: str, before: Sequence[Sequence[Verdict]], after: Sequence[Sequence[Verdict]], seed: int, target: Target, resamples: int = 2000
) -> Row:
    """The share of itself by which the defect rate fell; the interval resamples whole prompts and takes the ratio each time."""
    pairs = [
        (np.mean(early), np.mean(late))
        for early, late in zip(_defects(before), _defects(after), strict=True)
        if early and len(early) == len(late)
    ]
    rates = np.array(pairs, np.float64).reshape(-1, 2)
    if not len(rates) or not rates[:, 0].sum():
        return Row(name, float("nan"), None, len(rates), target)
    picks = np.random.default_rng(seed).integers(len(rates), size=(resamples, len(rates)))
    resampled = rates[picks].sum(1)
    ratios = 1 - resampled[:, 1] / np.maximum(resampled[:, 0], 1e-9)
    lo, hi = np.quantile(ratios, [0.025, 0.975]).tolist()
    return Row(name, float(1 - rates[:, 1].sum() / rates[:, 0].sum()), (lo, hi), len(rates), target)


def _card_rows(context: Context) -> list[Row]:
    """What the recipe measured on fresh renders, which need the emoji font, from the card.

    `object_exact` (all nouns of a picture right at once) has no target, since no prompt asks for it.
    """
    measured = context.card.document.get("measured", {})
    heads, count = measured.get("judge_on_renders", {}), int(measured.get("fresh_scenes", 0))
    rows = [
        Row(f"judge on fresh renders: {head}", float(value), None, count, None if head == "object_exact" else Target(">=", JUDGE_HEAD))
        for head, value in heads.items()
    ]
    if "alignment_variants" in measured:
        name = "alignment on fresh renders: right one of 16 that differ in one attribute"
        rows.append(Row(name, float(measured["alignment_variants"]), None, count, Target(">=", VARIANTS_RIGHT)))
    if pairs := measured.get("preference_pairs_right"):
        rows.append(Row("preference on fresh renders: pairs right", float(pairs["pairs"]), None, count, Target(">=", PREFERENCE_RIGHT)))
    return rows


def _defects(rows: Sequence[Sequence[Verdict]]) -> list[list[float]]:
    return [[float(bool(item.defects)) for item in row] for row in rows]


def _change(before: Sequence[Sequence[Verdict]], after: Sequence[Sequence[Verdict]]) -> list[list[float]]:
    """The change paired by seed; a prompt that lost a picture to NaN is left out, since its seeds no longer match."""
    pairs = zip(_defects(before), _defects(after), strict=True)
    return [[late - early for early, late in zip(first, second, strict=True)] for first, second in pairs if len(first) == len(second)]


def _row(name: str, interval: Interval, target: Target | None = None) -> Row:
    return Row(name, interval.mean, (interval.lo, interval.hi), interval.n, target)
