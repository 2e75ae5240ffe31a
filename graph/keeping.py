"""The intent contract over candidates: whoever proposed them, those that break it are refused, counted and told.

On the string here; what can only be seen is judged in traits.py, once the pictures are there.
"""

from __future__ import annotations

from collections.abc import Sequence

from agents.contract import Contract
from graph.nodes import conditioning_of
from graph.state import CandidateRow, DroppedRow


def admitted(contract: Contract, rows: Sequence[CandidateRow]) -> tuple[list[CandidateRow], list[DroppedRow]]:
    """Those that keep the contract, and how many were refused, by whose they were and why."""
    kept: list[CandidateRow] = []
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        conditioning = conditioning_of(row)
        fault = contract.breach(conditioning.text, conditioning.negative)
        if fault is None:
            kept.append(row)
        else:
            counts[row["origin"], fault[0]] = counts.get((row["origin"], fault[0]), 0) + 1
    return kept, [{"origin": origin, "reason": reason, "count": count} for (origin, reason), count in counts.items()]
