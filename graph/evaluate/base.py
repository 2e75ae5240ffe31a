"""What a suite is, and how one is run: it measures, this file compares with the targets and makes the document.

Whether a row passes is computed from its numbers here, never said by a suite. Knows nothing of what is measured.
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
    """What a row must reach: `value >= 0.5`, or with `of` "lo" or "hi" an end of its interval, as in `the whole interval below 0`."""

    relation: Literal[">=", ">", "<=", "<"]
    bound: float
    of: Literal["value", "lo", "hi"] = "value"

    def __str__(self) -> str:
        what = {"value": "", "lo": "lower end ", "hi": "upper end "}[self.of]
        return f"{what}{self.relation} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One number. `ci95`: its interval, None where it has none. `n`: independent units. `target`: None where nothing is claimed."""

    name: str
    value: float
    ci95: tuple[float, float] | None
    n: int
    target: Target | None = None

    @property
    def passed(self) -> bool | None:
        """Whether the target is reached; a number that is not there reaches none. None without a target."""
        if self.target is None:
            return None
        lo, hi = self.ci95 or (math.nan, math.nan)
        number = {"value": self.value, "lo": lo, "hi": hi}[self.target.of]
        return _RELATIONS[self.target.relation](number, self.target.bound)  # NaN compares false

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "value": _finite(self.value),
            "ci95": None if self.ci95 is None else [_finite(end) for end in self.ci95],
            "n": self.n,
            "target": None if self.target is None else str(self.target),
            "pass": self.passed,
        }


class Suite(Protocol):
    """Duties: every number comes from the Evaluator (so that a killed suite goes on from the cache when it is started again) and
    depends on nothing but the context's settings; the default ends within 40 minutes on two CPU cores."""

    name: str

    summary: str
    """One line for the list of suites."""

    def pictures(self, context: Context, full: bool) -> int:
        """How many pictures it will ask for, at most: the total of its progress bar."""
        ...

    def run(self, context: Context, full: bool, emit: Emit) -> Sequence[Row]:
        """Measure. `full` is the large version. `emit` hears what the Evaluator tells."""
        ...


def open_suite(name: str) -> Suite:
    """Raises BadInput that lists what there is."""
    if name not in SUITES:
        raise BadInput(f"there is no suite {name!r}; there are {', '.join(SUITES)}")
    module, attribute = SUITES[name].split(":")
    return cast(Suite, getattr(import_module(module), attribute))


def run_suite(suite: Suite, context: Context, full: bool = False, emit: Emit = ignore) -> dict[str, Any]:
    """The document of `evaluate --json`."""
    rows = suite.run(context, full, emit)
    return {
        "suite": suite.name,
        "checkpoint": context.evaluator.model.name,
        "rows": [row.to_json() for row in rows],
        "used": context.evaluator.budget.used(),
    }


def _finite(value: float) -> float | None:
    return round(value, DECIMALS) if math.isfinite(value) else None
