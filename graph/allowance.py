"""A part of a purse: whoever is given one cannot spend more, and what is spent of it is spent of the purse."""

from __future__ import annotations

from dataclasses import dataclass, field

from tools.budget import UNITS, Budget


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
