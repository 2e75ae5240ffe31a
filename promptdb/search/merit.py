"""What runs found out about prompts: scores that flow back, so that the next search for exemplars knows more than the last.

A gain is kept in units of its spread over seeds (Cohen's d), so that scorers of any scale may be averaged. A run that is taken up twice
counts once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from limner.promptdb.records import Prompt
from limner.promptdb.store import PromptDB

Role = Literal["drawn", "shown"]
"""The prompt was drawn and judged; or it was an exemplar when a prompt was rewritten, and stands for what came of that."""

SOURCE = "refined"  # what prompts that a run has found better are filed under
LARGEST = 5.0  # a gain of more spreads than this says no more


@dataclass(frozen=True, slots=True)
class Gain:
    """One prompt's gain over the user's own in a run, in units of its spread; positive is better, whatever the scorer's direction."""

    prompt: str
    role: Role
    value: float


def effect(delta: float, ci95: Sequence[float] | None, n: int, higher_is_better: bool) -> float | None:
    """Cohen's d of a mean paired difference with its 95 % interval over `n` pairs; None where there is no spread to measure it by."""
    if ci95 is None or n < 2 or not math.isfinite(delta):
        return None
    spread = (ci95[1] - ci95[0]) / (2 * 1.96) * math.sqrt(n)
    if not spread > 0:
        return None
    return max(-LARGEST, min(LARGEST, (delta if higher_is_better else -delta) / spread))


def take_up(db: PromptDB, run: str, scorer: str, gains: Iterable[Gain], found: Prompt | None = None) -> int:
    """Keep what a run found out about prompts of the library, and `found`, a better prompt, as a new one of it; how many had a gain.

    Gains of prompts that are not in the library are passed by.
    """
    with db.transaction():
        if found is not None:
            db.add_prompts([found])
        wanted = list(gains)
        numbers = dict(db.query_for("SELECT id, number FROM prompt WHERE id IN", [gain.prompt for gain in wanted]))
        rows = [(numbers[gain.prompt], run, gain.role, scorer, gain.value) for gain in wanted if gain.prompt in numbers]
        return db.write("INSERT OR REPLACE INTO merit (prompt, run, role, scorer, value) VALUES (?, ?, ?, ?, ?)", rows)


def merits(db: PromptDB, ids: Iterable[str]) -> dict[str, tuple[float, int]]:
    """(mean gain, runs) of those of the prompts that took part in a run, by id."""
    sql = "SELECT p.id, m.value FROM merit m JOIN prompt p ON p.number = m.prompt WHERE p.id IN"
    values: dict[str, list[float]] = {}
    for id, value in db.query_for(sql, ids):
        values.setdefault(id, []).append(value)
    return {id: (sum(found) / len(found), len(found)) for id, found in values.items()}
