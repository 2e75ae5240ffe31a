"""The report's section on a search for words: how the best candidate came about, picture by picture, and what each word gained."""

from __future__ import annotations

from typing import Any

from graph.state import Context, RefineState
from serve.reports import page

METHOD = "dpo-diff"


def words_view(context: Context, state: RefineState) -> dict[str, Any]:
    """Empty where no search for words took place, or it had nothing to search."""
    found = state.get("findings", {}).get(METHOD, {})
    if not found.get("trajectory"):
        return {}
    uris = page.data_uris(context, [row["drawing"] for row in found["trajectory"]])
    return {
        "summary": _summary(found),
        "objective": found["objective"],
        "seed": found["seeds"][0],
        "trajectory": [
            {
                "evaluations": row["evaluations"],
                "image": uris[row["drawing"]],
                "value": page.number(row["value"]),
                "said": row["negative"] or row["text"],
            }
            for row in found["trajectory"]
        ],
        "rows": [
            {
                "where": "negative prompt" if row["side"] == "negative" else "in place of",
                "word": row["word"],
                "candidate": row["candidate"],
                "gain": page.signed(row["gain"]) if row["gain"] is not None else "not tried without it",
            }
            for row in found["words"]
        ],
    }


def _summary(found: dict[str, Any]) -> str:
    text = (
        f"{found['tried']} candidates in the space {found['space']} ({found['slots']} places, {found['candidates']} words), search "
        f"{found['search']}, {found['images']:g} image equivalents with gradients included"
    )
    if found["refused"]:
        text += f"; {found['refused']} refused before they were drawn"
    if found["skipped_gradients"]:
        text += f"; {found['skipped_gradients']} gradients were not finite and were left out"
    return text + "."
