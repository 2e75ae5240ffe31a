"""The timeline of a DF-Prompt: each stretch of words as a bar over the denoising, its weight as thickness; and the pictures as one word's
range slides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limner.graph.state import Context, StripRow
from limner.promptdb.records import Conditioning, EffectSpan
from limner.serve.reports import page
from limner.tools.prompt_language.assemble import write_number
from limner.tools.prompt_language.write import write

WIDTH = 400
THICK = 8
"""Pixels: width of the whole denoising, and thickness of a bar of weight 1."""


def timeline(conditioning: Conditioning) -> dict[str, Any]:
    """Returns the template's data; empty without effect spans.

    Positions are fractions of the elapsed denoising, by steps or by noise level.
    """
    if not conditioning.spans and not conditioning.negative_spans:
        return {}
    rows = _rows(conditioning.text, conditioning.spans) + _rows(conditioning.negative, conditioning.negative_spans, True)
    return {"prompt": write(conditioning), "rows": rows, "width": WIDTH, "unit": conditioning.range_unit}


def strip(context: Context, rows: Sequence[StripRow]) -> dict[str, Any]:
    """Returns the pictures as one word's range slides; empty where none were drawn."""
    uris = page.data_uris(context, [row["drawing"] for row in rows])
    shown = [{"image": uris[row["drawing"]], "label": f"{_percent(row['lo'])} to {_percent(row['hi'])}"} for row in rows]
    return {"words": rows[0]["words"], "seed": rows[0]["seed"], "pictures": shown} if rows else {}


def _rows(text: str, spans: Sequence[EffectSpan], negative: bool = False) -> list[Mapping[str, Any]]:
    rows, position = list[Mapping[str, Any]](), 0
    for span in (*spans, EffectSpan(len(text), len(text) + 1)):
        if between := text[position : span.start].strip(" ,\n"):
            rows.append(_row(between, EffectSpan(0, 1), negative))
        if span.start < len(text):
            rows.append(_row(text[span.start : span.end], span, negative))
        position = span.end
    return rows


def _row(words: str, span: EffectSpan, negative: bool) -> dict[str, Any]:
    thickness = max(2.0, min(20.0, THICK * float(span.weight)))
    return {
        "words": words,
        "negative": negative,
        "weight": write_number(span.weight),
        "when": "always" if (span.lo, span.hi) == (0, 1) else f"{_percent(float(span.lo))} to {_percent(float(span.hi))}",
        "x": round(WIDTH * float(span.lo), 1),
        "width": round(WIDTH * float(span.hi - span.lo), 1),
        "thickness": round(thickness, 1),
    }


def _percent(part: float) -> str:
    return f"{100 * part:.3g} %"
