"""Defines what a suite is, runs one, compares its numbers with the targets and makes the document.

Whether a row passes is computed from its numbers here, never by a suite. Knows nothing of what is measured.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol, cast

from limner.graph.state import Context
from limner.promptdb.errors import BadInput
from limner.tools.events import Emit, ignore

SUITES = {
    "miniature": "limner.graph.evaluate.miniature:SUITE",
    "rewrite": "limner.graph.evaluate.rewrite:SUITE",
    "batch-gradient": "limner.graph.evaluate.batch_gradient:SUITE",
    "df-prompt": "limner.graph.evaluate.df_prompt:SUITE",
    "dpo-diff": "limner.graph.evaluate.dpo_diff:SUITE",
    "auto": "limner.graph.evaluate.auto:SUITE",
}
"""Name -> "module:object" of a suite; imported when it is asked for."""

DECIMALS = 6

_RELATIONS: dict[str, Callable[[float, float], bool]] = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on a row: on its value, or with `of` "lo" or "hi" on an end of its interval."""

    relation: Literal[">=", ">", "<=", "<"]
    bound: float
    of: Literal["value", "lo", "hi"] = "value"

    def __str__(self) -> str:
        what = {"value": "", "lo": "lower end ", "hi": "upper end "}[self.of]
        return f"{what}{self.relation} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One number. `ci95`: its 95 % interval, None where it has none. `n`: independent units. `target`: None where nothing is claimed."""

    name: str
    value: float
    ci95: tuple[float, float] | None
    n: int
    target: Target | None = None

    @property
    def passed(self) -> bool | None:
        """Returns whether the target is reached, which NaN never does; None without a target."""
        if self.target is None:
            return None
        lo, hi = self.ci95 or (math.nan, math.nan)
        number = {"value": self.value, "lo": lo, "hi": hi}[self.target.of]
        return _RELATIONS[self.target.relation](number, self.target.bound)  # NaN compares false

    def to_json(self) -> dict[str, Any]:
        """Returns the row as it stands in the document: rounded numbers, None for those that are not finite."""
        return {
            "name": self.name,
            "value": _finite(self.value),
            "ci95": None if self.ci95 is None else [_finite(end) for end in self.ci95],
            "n": self.n,
            "target": None if self.target is None else str(self.target),
            "pass": self.passed,
        }


class Suite(Protocol):
    """A list of measurements.

    Duties: every number comes from the Evaluator, so that a killed suite that is started again continues from the stored pictures, and
    depends on nothing but the context's settings; the default version ends within 40 minutes on two CPU cores.
    """

    name: str

    summary: str
    """One line for the list of suites."""

    def pictures(self, context: Context, full: bool) -> int:
        """Returns how many pictures the suite asks for at most: the total of its progress bar."""
        ...

    def run(self, context: Context, full: bool, emit: Emit) -> Sequence[Row]:
        """Measures; returns the rows. `full`: the large version. `emit`: called with the Evaluator's events."""
        ...


def open_suite(name: str) -> Suite:
    """Returns the suite of that name. Raises BadInput with the names that there are."""
    if name not in SUITES:
        raise BadInput(f"there is no suite {name!r}; there are {', '.join(SUITES)}")
    module, attribute = SUITES[name].split(":")
    return cast(Suite, getattr(import_module(module), attribute))


def run_suite(suite: Suite, context: Context, full: bool = False, emit: Emit = ignore) -> dict[str, Any]:
    """Runs a suite; returns the document of `evaluate --json`."""
    rows = suite.run(context, full, emit)
    return {
        "suite": suite.name,
        "checkpoint": context.evaluator.model.name,
        "rows": [row.to_json() for row in rows],
        "used": context.evaluator.budget.used(),
    }


def _finite(value: float) -> float | None:
    return round(value, DECIMALS) if math.isfinite(value) else None
