"""One budget for a whole run: images, UNet rows, LLM calls and seconds, held to the unit.

Whoever is about to spend calls `spend` *before* the work is done; a spend that would cross a cap raises `BudgetSpent` and
counts nothing. Cached drawings cost nothing and are not spent at all. Thread-safe: nodes may run in parallel. What is spent and a
subclass's record of it change under one lock, so that records are made in the order of the spends.

A part of a purse: whoever is given one cannot spend more, and what is spent of it is spent of the purse.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

UNITS = ("images", "unet_rows", "llm_calls")


class BudgetSpent(Exception):
    """The next piece of work does not fit. `unit` says which cap it would cross."""

    def __init__(self, unit: str, cap: float) -> None:
        super().__init__(f"the budget of {cap:g} {unit.replace('_', ' ')} is spent")
        self.unit = unit
        self.cap = cap


@dataclass
class Budget:
    """Caps (None = no cap) and what was spent against them.

    `images`: pictures drawn. `unet_rows`: latents through the UNet, the unit in which methods are compared (a gradient-carrying
    row counts at its measured ratio, so fractions may be spent). `llm_calls`: requests answered by a chat model. `seconds`: wall time
    since construction, plus `seconds_before` when a run is resumed. `repeated`: drawings made again because a kill lost them;
    information, not a cap.
    """

    images: int | None = None
    unet_rows: float | None = None
    llm_calls: int | None = None
    seconds: float | None = None
    clock: Callable[[], float] = time.monotonic
    spent: dict[str, float] = field(default_factory=lambda: dict.fromkeys(UNITS, 0))
    repeated: int = 0
    seconds_before: float = 0.0

    def __post_init__(self) -> None:
        for unit in (*UNITS, "seconds"):
            cap = getattr(self, unit)
            if cap is not None and (not math.isfinite(cap) or cap <= 0):
                raise ValueError(f"a budget must be a positive number of {unit.replace('_', ' ')}, not {cap:g}")
        self._started = self.clock()
        self._lock = threading.Lock()

    @property
    def elapsed(self) -> float:
        """Seconds used so far."""
        return self.seconds_before + self.clock() - self._started

    def spend(self, **amounts: float) -> None:
        """Count `amounts` (by unit), all or none.

        Raises BudgetSpent where one would cross its cap or the time is up; nothing is counted then.
        """
        with self._lock:
            if self.seconds is not None and self.elapsed >= self.seconds:
                raise BudgetSpent("seconds", self.seconds)
            for unit, amount in amounts.items():
                cap = getattr(self, unit)
                if cap is not None and self.spent[unit] + amount > cap + 1e-9:
                    raise BudgetSpent(unit, cap)
            self._count(amounts)

    def give_back(self, **amounts: float) -> None:
        """Undo a `spend` whose work was refused before it began, so that `used` tells only what was done."""
        with self._lock:
            self._count({unit: -amount for unit, amount in amounts.items()})

    def repeat(self, drawings: int) -> None:
        """Count drawings that were made again because a kill lost them."""
        with self._lock:
            self.repeated += drawings
            self._record()

    def note(self) -> None:
        """Record anew, because something changed that is recorded beside the spends."""
        with self._lock:
            self._record()

    def _record(self) -> None:
        """Called after every change, with the lock held: a subclass that keeps a record makes it here."""

    def _count(self, amounts: Mapping[str, float]) -> None:
        """With the lock held. Nothing is counted where no record could be made."""
        before = dict(self.spent)
        for unit, amount in amounts.items():
            self.spent[unit] += amount
        try:
            self._record()
        except BaseException:
            self.spent.update(before)
            raise

    def left(self, unit: str) -> float:
        """What remains of `unit`; infinity where there is no cap."""
        cap = getattr(self, unit)
        used = self.elapsed if unit == "seconds" else self.spent[unit]
        return math.inf if cap is None else max(0.0, cap - used)

    def affordable_images(self, rows_per_image: float) -> float:
        """How many images of `rows_per_image` UNet rows still fit; infinity without a cap."""
        if self.left("seconds") == 0:
            return 0
        return min(self.left("images"), self.left("unet_rows") // rows_per_image)

    def used(self) -> dict[str, float]:
        """The `used` object of the command line contract."""
        counts = {unit: round(amount, 3) for unit, amount in self.spent.items()}
        whole = {unit: int(amount) if amount == int(amount) else amount for unit, amount in counts.items()}
        return {**whole, "repeated": self.repeated, "seconds": round(self.elapsed, 3)}


@dataclass
class Allowance(Budget):
    """A Budget with caps of its own inside another one."""

    purse: Budget = field(default_factory=Budget)

    def spend(self, **amounts: float) -> None:
        """Raises BudgetSpent where either would be overdrawn; nothing is counted then."""
        super().spend(**amounts)
        try:
            self.purse.spend(**amounts)
        except BaseException:
            super().give_back(**amounts)
            raise

    def give_back(self, **amounts: float) -> None:
        super().give_back(**amounts)
        self.purse.give_back(**amounts)

    def repeat(self, drawings: int) -> None:
        super().repeat(drawings)
        self.purse.repeat(drawings)

    def note(self) -> None:
        self.purse.note()


def difference(after: dict[str, float], before: dict[str, float]) -> dict[str, float]:
    """What was spent between two readings, by unit."""
    return {unit: after.get(unit, 0) - before.get(unit, 0) for unit in UNITS}
