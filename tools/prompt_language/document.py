"""The JSON form of a DF-Prompt, for other programs; independent of the form in which the prompt database stores a Conditioning.

    {"version": 1, "text": ..., "negative": ..., "spans": [{"start", "end", "words", "lo", "hi", "weight"}], "negative_spans": [...],
     "semantics": {"axis": "elapsed", "range": "step" | "sigma", "weight": "mean_restore" | ...}}

`start`, `end` count characters; `lo`, `hi` are fractions of the *elapsed* denoising (0 = pure noise), unlike the numbers in a triple.
Numbers are strings, so that 1/3 stays exact.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning, EffectSpan, canonical_text
from limner.tools.prompt_language.assemble import read_number, write_number

VERSION = 1

_FORM = 'a document is {"version": 1, "text": ..., "spans": [{"start", "end", "lo", "hi", "weight"}], "semantics": {...}}'


def to_document(conditioning: Conditioning) -> dict[str, Any]:
    """Returns the JSON-able document of a Conditioning, without its adapter, which is no part of the language."""
    return {
        "version": VERSION,
        "text": conditioning.text,
        "negative": conditioning.negative,
        "spans": _rows(conditioning.text, conditioning.spans),
        "negative_spans": _rows(conditioning.negative, conditioning.negative_spans),
        "semantics": {"axis": "elapsed", "range": conditioning.range_unit, "weight": conditioning.weight_mode},
    }


def from_document(document: object) -> Conditioning:
    """Returns the Conditioning of a document written by `to_document`. Raises BadInput for anything else."""
    if not isinstance(document, Mapping) or document.get("version") != VERSION:
        raise BadInput(f"this is no DF-Prompt document of version {VERSION}; {_FORM}")
    semantics = document.get("semantics", {})
    if not isinstance(semantics, Mapping) or semantics.get("axis", "elapsed") != "elapsed":
        raise BadInput(f"the semantics of a DF-Prompt document count the elapsed denoising (axis: elapsed); {_FORM}")
    unit, mode = semantics.get("range", "step"), semantics.get("weight", "mean_restore")
    if unit not in ("step", "sigma") or mode not in ("mean_restore", "none", "norm_restore", "lerp_from_empty"):
        raise BadInput(f"unknown semantics range={unit!r}, weight={mode!r}; there are step and sigma, mean_restore, none, norm_restore "
                       "and lerp_from_empty")  # fmt: skip
    texts = [document.get("text"), document.get("negative", "")]
    for text in texts:
        if not isinstance(text, str) or canonical_text(text) != text:
            raise BadInput(f"the texts of a DF-Prompt document are in NFC without outer blanks, or offsets would not hold; {_FORM}")
    try:
        spans, negative_spans = (_spans(document.get(name, [])) for name in ("spans", "negative_spans"))
        return Conditioning(str(texts[0]), str(texts[1]), spans, negative_spans, mode, unit)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"a span of the DF-Prompt document is not usable ({error}); {_FORM}") from error


def read_json(text: str) -> object:
    """Parses a JSON value. Raises BadInput where `text` is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"this begins as JSON and is not: {str(error)[:80]}") from error


def _rows(text: str, spans: Sequence[EffectSpan]) -> list[dict[str, Any]]:
    return [
        {
            "start": span.start,
            "end": span.end,
            "words": text[span.start : span.end],
            **{name: write_number(getattr(span, name)) for name in ("lo", "hi", "weight")},
        }
        for span in spans
    ]


def _spans(rows: Any) -> tuple[EffectSpan, ...]:
    spans = []
    for row in rows:
        if not isinstance(row["start"], int) or not isinstance(row["end"], int):
            raise TypeError("start and end count characters")
        numbers = [read_number(str(row.get(name, default))) for name, default in (("lo", 0), ("hi", 1), ("weight", 1))]
        if None in numbers:
            raise ValueError("lo, hi and weight are numbers")
        spans.append(EffectSpan(row["start"], row["end"], *numbers))  # type: ignore[arg-type]
    return tuple(spans)
