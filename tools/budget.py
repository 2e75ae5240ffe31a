"""One budget for a whole run: images, UNet rows, LLM calls, money and seconds. No cap is ever crossed by a `spend`.

`spend` is called *before* the work is done; a spend that would cross a cap raises BudgetSpent and counts nothing. Drawings that are stored
already cost nothing and are not spent at all. `slice` makes a part of a budget: what is spent of the slice is spent of all budgets above
it, all or none. A budget and its slices share one lock, so that threads are refused only what does not fit, and what is recorded of the
whole budget comes in the order of the spends.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

UNITS = ("images", "unet_rows", "llm_calls", "usd")

TOLERANCE = 1e-9
"""How far rounding may cross a cap, since fractions of rows and of money are added up."""


class BudgetSpent(Exception):
    """The next piece of work does not fit into the budget. `unit`: the unit whose cap it would cross."""

    def __init__(self, unit: str, cap: float) -> None:
        super().__init__(f"the budget of {cap:g} {unit.replace('_', ' ')} is spent")
        self.unit = unit
        self.cap = cap


@dataclass
class Budget:
    """Caps (None = no cap) and what was spent against them. Thread-safe.

    `images`: pictures drawn. `unet_rows`: latents through the UNet, the unit in which methods are compared (a gradient-carrying
    row counts at its measured ratio, so fractions may be spent). `llm_calls`: requests answered by a chat model. `usd`: what chat models
    and hosted image models charged, 0 where their prices are not known. `seconds`: wall time since construction, plus `seconds_before`
    when a run is resumed. `repeated`: drawings made again because a kill lost them; information, not a cap.
    Raises ValueError for a cap that is not a positive number.
    """

    images: int | None = None
    unet_rows: float | None = None
    llm_calls: int | None = None
    usd: float | None = None
    seconds: float | None = None
    clock: Callable[[], float] = time.monotonic
    spent: dict[str, float] = field(default_factory=dict)
    repeated: int = 0
    seconds_before: float = 0.0

    def __post_init__(self) -> None:
        for unit in (*UNITS, "seconds"):
            cap = getattr(self, unit)
            if cap is not None and (not math.isfinite(cap) or cap <= 0):
                raise ValueError(f"a budget must be a positive number of {unit.replace('_', ' ')}, not {cap:g}")
        self.spent = {**dict.fromkeys(UNITS, 0), **self.spent}
        self._started = self.clock()
        self._lock = threading.Lock()
        self._parent: Budget | None = None
        self._keep: Mapping[str, float] = {}

    def slice(
        self,
        *,
        images: float | None = None,
        unet_rows: float | None = None,
        llm_calls: float | None = None,
        usd: float | None = None,
        seconds: float | None = None,
        keep: Mapping[str, float] | None = None,
    ) -> Budget:
        """Makes a part of this budget.

        The caps are the slice's own, counted from now on; 0 allows nothing. `keep`: by unit, how much of this budget the slice cannot
        spend, where there is a cap. Returns a Budget: what is spent of it is counted there and here. Raises ValueError for a negative
        amount and for an unknown unit.
        """
        caps = {"images": images, "unet_rows": unet_rows, "llm_calls": llm_calls, "usd": usd, "seconds": seconds}
        kept = dict(keep or {})
        for unit, amount in (*caps.items(), *kept.items()):
            if unit not in caps or not (amount is None or amount >= 0):
                raise ValueError(f"a slice of a budget cannot have {amount} of {unit}")
        part = Budget(clock=self.clock)
        for unit, cap in caps.items():
            setattr(part, unit, cap)
        part._parent, part._keep, part._lock = self, kept, self._lock
        return part

    @property
    def elapsed(self) -> float:
        """Returns the seconds used so far."""
        return self.seconds_before + self.clock() - self._started

    def spend(self, **amounts: float) -> None:
        """Counts `amounts` (by unit) here and in every budget above, all or none.

        Raises BudgetSpent where one would cross a cap, where the time is up, and for work of unknown price (`usd=0`) with no money left;
        nothing is counted then.
        """
        with self._lock:
            for unit, amount in {"seconds": 0.0, **amounts}.items():
                for cap, used in self._limits(unit):
                    if used + amount > cap + TOLERANCE or (unit in ("seconds", "usd") and used >= cap):
                        raise BudgetSpent(unit, cap)
            self._count(amounts)

    def charge(self, **amounts: float) -> None:
        """Counts `amounts` that were used already, such as the price of an answer, even where they cross a cap."""
        with self._lock:
            self._count(amounts)

    def give_back(self, **amounts: float) -> None:
        """Undoes a `spend` whose work was refused before it began."""
        with self._lock:
            self._count({unit: -amount for unit, amount in amounts.items()})

    def repeat(self, drawings: int) -> None:
        """Counts drawings that were made again because a kill lost them."""
        with self._lock:
            for budget in self._upward():
                budget.repeated += drawings
            budget._record()

    def note(self) -> None:
        """Records again, because something changed that is recorded beside the spends."""
        with self._lock:
            *_, whole = self._upward()
            whole._record()

    def left(self, unit: str) -> float:
        """Returns what may still be spent of `unit` (or `seconds`), here and above; infinity where there is no cap."""
        return min((max(0.0, cap - used) for cap, used in self._limits(unit)), default=math.inf)

    def used(self) -> dict[str, float]:
        """Returns the object `used` of `--json` documents; `usd` only where money was spent."""
        counts = {unit: round(amount, 6 if unit == "usd" else 3) for unit, amount in self.spent.items() if amount or unit != "usd"}
        whole = {unit: int(amount) if amount == int(amount) else amount for unit, amount in counts.items()}
        return {**whole, "repeated": self.repeated, "seconds": round(self.elapsed, 3)}

    def _record(self) -> None:
        """Called on the whole budget after every change, with the lock held, for a subclass that stores a record."""

    def _upward(self) -> Iterator[Budget]:
        """This budget and those above it, the whole one last."""
        budget: Budget | None = self
        while budget is not None:
            yield budget
            budget = budget._parent

    def _limits(self, unit: str) -> Iterator[tuple[float, float]]:
        """(cap, used) of each budget from here upward that has a cap; the cap without what the slices on the way may not spend."""
        kept = 0.0
        for budget in self._upward():
            if (cap := getattr(budget, unit)) is not None:
                yield max(0.0, cap - kept), budget.elapsed if unit == "seconds" else budget.spent[unit]
            kept += budget._keep.get(unit, 0.0)

    def _count(self, amounts: Mapping[str, float]) -> None:
        """Counts with the lock held. Nothing is counted anywhere where no record could be made."""
        line = list(self._upward())
        before = [dict(budget.spent) for budget in line]
        for budget in line:
            for unit, amount in amounts.items():
                budget.spent[unit] += amount
        try:
            line[-1]._record()
        except BaseException:
            for budget, spent in zip(line, before, strict=True):
                budget.spent.update(spent)
            raise
