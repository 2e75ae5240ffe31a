"""Score rows as documents show them: rounded, with every field there."""

from __future__ import annotations

from typing import Any

from graph.state import ScoreRow

DECIMALS = 6


def rounded(row: ScoreRow) -> dict[str, Any]:
    """{before, after, delta, ci95, n} and, where there is one, p."""
    numbers = {name: None if row[name] is None else round(row[name], DECIMALS) for name in ("before", "after", "delta")}  # type: ignore[literal-required]
    interval = row["ci95"]
    shown: dict[str, Any] = {**numbers, "ci95": None if interval is None else [round(end, DECIMALS) for end in interval], "n": row["n"]}
    return {**shown, "p": round(row["p"], DECIMALS)} if "p" in row else shown
