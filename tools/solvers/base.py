"""The interface of solvers: a solver starts from conditionings and proposes better ones, within one Budget."""

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
    """What a solver improves.

    `reference`: the user's own prompt, against which everything is scored. `start`: conditionings to start from, best first. `seeds`: the
    search seeds, common to all candidates. `pins`: words that no candidate may lose.
    """

    reference: str
    start: tuple[Conditioning, ...]
    seeds: tuple[int, ...]
    pins: tuple[str, ...] = ()


class Solver(Protocol):
    """A search method.

    An implementation takes every score from the Evaluator, stops when BudgetSpent is raised and returns what it has by then, takes
    randomness only from `rng`, and never proposes a conditioning that lost a pin. It may set `findings` for the report, JSON values only.
    """

    name: str

    def missing(self, evaluator: Evaluator) -> str:
        """Returns, in one line, why the solver cannot run here (weights, card entry, extra); '' where it can."""
        ...

    def solve(self, task: Task, evaluator: Evaluator, rng: np.random.Generator, emit: Emit) -> Sequence[Conditioning]:
        """Returns candidates for the final comparison, best first by its own search scores, which are never reported as results."""
        ...
