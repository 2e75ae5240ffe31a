"""Measures whether every style of a checkpoint is recognised, by the judge, and whether its own prompts suit it, by the objective.

A style is another model: it is drawn with an Evaluator of its own over the same database and budget.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from limner.graph.evaluate.base import Row, Target
from limner.graph.evaluate.heldout import interval_of_rows, report_seeds, verdicts
from limner.graph.state import Context
from limner.promptdb.records import Conditioning
from limner.tools.diffusion.card import MARK, styles_of
from limner.tools.diffusion.checkpoint import open_checkpoint
from limner.tools.diffusion.sampling.sampler import Sampler
from limner.tools.evaluator import Evaluator
from limner.tools.events import Emit
from limner.tools.stats import paired_bootstrap

SEEDS = 4
PROMPTS, PROMPTS_FULL = 24, 50


def pictures(context: Context, full: bool) -> int:
    """Returns how many pictures the rows of styles need at most."""
    return len(styles_of(context.card)) * (PROMPTS_FULL if full else PROMPTS) * 2 * SEEDS


def style_rows(context: Context, full: bool, emit: Emit, recognised: float) -> list[Row]:
    """Returns a row for the share of plain pictures that show their style, over all styles, and two for each style: that share and the gain
    of its manual prompts.

    `recognised`: the target of the first row. Empty for a checkpoint without styles.
    """
    rows, every, count = list[Row](), list[list[float]](), PROMPTS_FULL if full else PROMPTS
    for name, entry in styles_of(context.card).items():
        styled = _context_of(context, name)
        prompts = _manual(context, entry, count)
        seen = _recognised(styled, entry, [row["prompt"] for row in prompts], emit)
        every += seen
        share = interval_of_rows(seen, context.settings.seed)
        rows.append(Row(f"style {name} ({entry.get('split', '')}): recognised", share.mean, (share.lo, share.hi), share.n))
        rows.append(_gain(styled, f"headroom: style {name}, gain of manual prompts", prompts, emit))
    if every:
        share = interval_of_rows(every, context.settings.seed)
        name = "styles recognised from plain prompts"
        rows.insert(0, Row(name, share.mean, (share.lo, share.hi), share.n, Target(">=", recognised)))
    return rows


def _context_of(context: Context, style: str) -> Context:
    """The same run on the style's own model."""
    outer, settings = context.evaluator, context.settings
    checkpoint = open_checkpoint(f"{settings.checkpoint}{MARK}{style}", settings.device, settings.dtype)
    sampler = Sampler(checkpoint, settings.truncate)
    evaluator = Evaluator(sampler, outer.scorers, outer.db, outer.images, outer.budget, outer.settings, outer.run)
    return replace(context, evaluator=evaluator, card=checkpoint.card)


def _manual(context: Context, entry: Mapping[str, Any], count: int) -> list[dict[str, str]]:
    lines = context.card.path(entry["prompts"]).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()][:count]


def _recognised(context: Context, entry: Mapping[str, Any], prompts: Sequence[str], emit: Emit) -> list[list[float]]:
    """(prompt, seed): whether the judge sees the style, or for a merge one of its sources' styles, in the picture of a plain prompt.

    The judge is asked by trigger words alone: its vocabulary knows them as names of styles, and a prompt may name another one, as "a photo
    of" does.
    """
    seeds, plain = report_seeds(context, SEEDS), [Conditioning(prompt) for prompt in prompts]
    seen = [verdicts(context, [trigger] * len(prompts), plain, seeds, emit) for trigger in entry["triggers"]]
    return [
        [float(any(answers)) for answers in zip(*([bool(item.style) for item in row] for row in rows), strict=True)]
        for rows in zip(*seen, strict=True)
    ]


def _gain(context: Context, name: str, prompts: Sequence[Mapping[str, str]], emit: Emit) -> Row:
    """Objective of the practitioner's prompt less that of the plain one, both against the plain one."""
    objective, seeds, texts = context.evaluator.objective, report_seeds(context, SEEDS), [row["prompt"] for row in prompts]
    plain, manual = (
        context.evaluator.evaluate(asked, texts, seeds, scorers=[objective.name], emit=emit).values[objective.name]
        for asked in ([Conditioning(text) for text in texts], [Conditioning(row["text"], row["negative"]) for row in prompts])
    )
    sign = 1 if objective.higher_is_better else -1
    clusters = np.repeat(np.arange(len(texts)), len(seeds))
    interval = paired_bootstrap((sign * (manual - plain)).ravel(), clusters, context.settings.seed)
    return Row(name, interval.mean, (interval.lo, interval.hi), interval.n, Target(">", 0, "lo"))
