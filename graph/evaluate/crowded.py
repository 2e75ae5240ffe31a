"""Crowded prompts: a subject among eight or more tags, some of which help and some of which do nothing, as practitioners write them."""

from __future__ import annotations

import json

import numpy as np

from limner.graph.evaluate.heldout import heldout_prompts
from limner.graph.state import Context
from limner.promptdb.errors import BadInput

CLUTTER = (
    "trending on artstation", "8k", "award winning", "unreal engine", "octane render", "concept art", "4k wallpaper", "professional",
    "stunning", "elegant", "high resolution",
)  # fmt: skip
"""Tags that people add whatever the picture shows."""


def crowded_prompts(context: Context, count: int) -> list[str]:
    """Returns the first `count` prompts of the card's own set (prompts, crowded.heldout).

    Where the card has none: held-out prompts with three to five of its good tags and four or five of clutter, drawn by a fixed seed. Raises
    BadInput where the card has neither.
    """
    if name := context.card.document.get("prompts", {}).get("crowded.heldout"):
        rows = context.card.path(name).read_text(encoding="utf-8").splitlines()
        return [str(json.loads(row)["prompt"]) for row in rows if row.strip()][:count]
    tags = context.card.document.get("tags")
    if not tags:
        raise BadInput(f"{context.evaluator.model.name} says nothing of good tags (card.json, tags)")
    good = [tag.strip() for tag in tags["positive"].split(",")]
    rng = np.random.default_rng(1901)
    found = []
    for subject in heldout_prompts(context, count):
        chosen = [*rng.permutation(good)[: int(rng.integers(3, 6))], *rng.permutation(CLUTTER)[: int(rng.integers(4, 6))]]
        found.append(", ".join([subject, *(str(tag) for tag in rng.permutation(chosen))]))
    return found
