"""Draws the strip of the report: the best candidate's picture as the range of one of its words slides, from what the budget has left.

No candidate is chosen by these pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

from langgraph.runtime import Runtime

from limner.graph.nodes import conditioning_of, emitter
from limner.graph.state import CandidateRow, Context, StripRow
from limner.promptdb.records import Conditioning
from limner.tools.budget import BudgetSpent
from limner.tools.solvers.df_prompt.sliding import PLACES, slide, telling_span


def strip_images(candidates: Sequence[CandidateRow]) -> int:
    """Returns the images to reserve for the strip: none where no candidate has timed or weighted words."""
    return PLACES if any(conditioning_of(row).spans for row in candidates) else 0


def draw_strip(runtime: Runtime[Context], best: Conditioning) -> list[StripRow]:
    """Draws the strip on the first held-out seed; returns a row a picture, none where the candidate has no spans or the budget is spent."""
    context = runtime.context
    span = telling_span(best)
    if span is None:
        return []
    places, seed = slide(best, span), context.settings.heldout[0]
    try:
        drawn = context.evaluator.draw([place.conditioning for place in places], [seed], emitter(runtime))
    except BudgetSpent:
        return []
    words = best.text[span.start : span.end]
    return [
        {"words": words, "lo": float(place.lo), "hi": float(place.hi), "seed": seed, "drawing": str(key)}
        for place, key in zip(places, drawn[:, 0], strict=True)
    ]
