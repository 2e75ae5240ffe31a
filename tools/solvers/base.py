"""What a solver is: a tool that starts from one Conditioning and proposes better ones, spending one Budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from limner.promptdb.records import Conditioning
from limner.tools.evaluator import Evaluator
from limner.tools.events import Emit


@dataclass(frozen=True, slots=True)
class Task:
    """What a solver is to improve.

    `reference`: the user's own prompt, against which everything is scored. `start`: conditionings to start from, best first.
    `seeds`: the search seeds, common to all candidates. `pins`: words that no candidate may lose.
    """

    reference: str
    start: tuple[Conditioning, ...]
    seeds: tuple[int, ...]
    pins: tuple[str, ...] = ()


class Solver(Protocol):
    """Duties: every number comes from the Evaluator; stop when BudgetSpent is raised and return what is known by then;
    randomness only from `rng`; never propose a conditioning that lost a pin.
    A solver may leave `findings` for the report, JSON values only."""

    name: str

    def missing(self, evaluator: Evaluator) -> str:
        """Why it cannot run here (weights, card entry, extra), in one line; empty when it can."""
        ...

    def solve(self, task: Task, evaluator: Evaluator, rng: np.random.Generator, emit: Emit) -> Sequence[Conditioning]:
        """Candidates for the final comparison, best first by its own search scores (which are never reported as results)."""
        ...
