"""The merit of prompts: their gains in earlier runs, which later searches for exemplars use.

A gain is stored in units of its spread over seeds (Cohen's d), so that gains by different scorers can be averaged. A run that is recorded
twice counts once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from limner.promptdb.records import Prompt
from limner.promptdb.store import PromptDB

Role = Literal["drawn", "shown"]
""""drawn": the prompt itself was drawn and scored; "shown": it was an exemplar for a rewrite, and gets the rewrite's gain."""

SOURCE = "refined"  # source of the better prompts that runs found
LARGEST = 5.0  # larger gains are clipped


@dataclass(frozen=True, slots=True)
class Gain:
    """A prompt's gain over the user's own in a run, in units of its spread; positive is better, whatever the scorer's direction."""

    prompt: str
    role: Role
    value: float


def effect(delta: float, ci95: Sequence[float] | None, n: int, higher_is_better: bool) -> float | None:
    """Returns Cohen's d of a mean paired difference with its 95 % interval over `n` pairs; None where the spread is unknown or 0."""
    if ci95 is None or n < 2 or not math.isfinite(delta):
        return None
    spread = (ci95[1] - ci95[0]) / (2 * 1.96) * math.sqrt(n)
    if not spread > 0:
        return None
    return max(-LARGEST, min(LARGEST, (delta if higher_is_better else -delta) / spread))


def take_up(db: PromptDB, run: str, scorer: str, gains: Iterable[Gain], found: Prompt | None = None) -> int:
    """Stores a run's gains of prompts in the library, adds `found`, a better prompt, to it, and returns the number of stored gains.

    Gains of prompts that are not in the library are ignored.
    """
    with db.transaction():
        if found is not None:
            db.add_prompts([found])
        wanted = list(gains)
        numbers = dict(db.query_for("SELECT id, number FROM prompt WHERE id IN", [gain.prompt for gain in wanted]))
        rows = [(numbers[gain.prompt], run, gain.role, scorer, gain.value) for gain in wanted if gain.prompt in numbers]
        return db.write("INSERT OR REPLACE INTO merit (prompt, run, role, scorer, value) VALUES (?, ?, ?, ?, ?)", rows)


def merits(db: PromptDB, ids: Iterable[str]) -> dict[str, tuple[float, int]]:
    """Returns {prompt id: (mean gain, number of gains)} for the prompts that took part in runs."""
    sql = "SELECT p.id, m.value FROM merit m JOIN prompt p ON p.number = m.prompt WHERE p.id IN"
    values: dict[str, list[float]] = {}
    for id, value in db.query_for(sql, ids):
        values.setdefault(id, []).append(value)
    return {id: (sum(found) / len(found), len(found)) for id, found in values.items()}
