"""Whether a trait can still be seen: the visual half of the intent contract, by the checkpoint's alignment scorer.

A trait is judged against the person's own prompt on the same seeds: a candidate whose pictures are much less like the trait than those of
the plain prompt has lost it. Draws nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agents.contract import Contract
from graph.intent import aligners
from graph.state import Context, DroppedRow
from promptdb.records import Conditioning

SHARE = 1 / 3
"""Part of the plain prompt's mean cosine that a candidate may lose. On the miniature tags cost 0.15 to 0.30 of it, the thing's absence 0.29
to 1.13, so this overlooks some small things and accuses few (docs/chat.md)."""


def alignment_scorer(context: Context) -> str:
    """The name of a scorer that compares pictures with any text: one of kind `clip`; empty where there is none."""
    return next((scorer.name for scorer in aligners(context)), "")


def lost_traits(
    context: Context, contract: Contract, prompt: str, conditionings: Sequence[Conditioning], seeds: Sequence[int]
) -> tuple[set[int], list[DroppedRow]]:
    """Places of the candidates that lost a trait, and how many for each trait. Where no scorer can see it, or the plain prompt was not
    drawn on these seeds, nothing is said against anybody."""
    name = alignment_scorer(context)
    if not name or not contract.traits:
        return set(), []
    plain = Conditioning(prompt)
    lost: set[int] = set()
    dropped: list[DroppedRow] = []
    for trait in contract.traits:
        found = context.evaluator.known([plain, *conditionings], trait, seeds, [name])
        sign = 1 if found.higher_is_better[name] else -1
        ahead = sign * (found.values[name][1:] - found.values[name][:1])
        seen = found.values[name][0]
        slack = SHARE * abs(float(np.nanmean(seen))) if not np.isnan(seen).all() else np.inf
        falls = [place for place, row in enumerate(ahead) if not np.isnan(row).all() and np.nanmean(row) < -slack]
        if falls:
            dropped.append({"origin": "pictures", "reason": f"lost trait {trait!r}", "count": len(falls)})
            lost.update(falls)
    return lost, dropped
