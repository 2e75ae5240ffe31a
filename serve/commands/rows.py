"""Score rows as documents show them: rounded, with every field there."""

from __future__ import annotations

from typing import Any

from graph.state import ScoreRow

DECIMALS = 6


def rounded(row: ScoreRow) -> dict[str, Any]:
    """{before, after, delta, ci95, n} and, where there is one, p."""
    numbers = {"before": row["before"], "after": row["after"], "delta": row["delta"]}
    shown: dict[str, Any] = {name: None if value is None else round(value, DECIMALS) for name, value in numbers.items()}
    interval = row["ci95"]
    shown |= {"ci95": None if interval is None else [round(end, DECIMALS) for end in interval], "n": row["n"]}
    return {**shown, "p": round(row["p"], DECIMALS)} if "p" in row else shown
