"""An Evaluator for comparing searches: each pays for every picture that it looks at, whoever drew it before.

Searches of one prompt meet the same candidates, and a suite that is started again finds all of them stored. Without this the second of two
searches, or the second start, would have more to spend.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from promptdb.records import Conditioning, Drawing
from tools.budget import Budget
from tools.diffusion.base import ImageModel
from tools.evaluation import Evaluation
from tools.evaluator import Emit, Evaluator
from tools.scoring.base import Scorer


class AfreshEvaluator(Evaluator):
    """`budget`: this search's. What is really drawn is spent on `outer.budget` too, and so are gradients that are really taken."""

    goes_on = False

    def __init__(self, outer: Evaluator, scorers: Sequence[Scorer], budget: Budget) -> None:
        super().__init__(outer.model, scorers, outer.db, outer.images, budget, outer.settings, outer.run)
        self.outer = outer
        self.paid: set[str] = set()
        self._paid_here: set[str] = set()

    def through(self, model: ImageModel) -> Evaluator:
        inner = super().through(model)
        inner._paid_here = set()  # type: ignore[attr-defined]
        return inner

    def counts_as_drawn(self, drawings: Iterable[Drawing]) -> bool:
        """A gradient at a picture that the same search has just drawn is cheaper, and has to be so where the picture was stored."""
        return all(drawing.id in self._paid_here for drawing in drawings)

    def charge(self, rows: float, stored: bool = False) -> None:
        """Stored or not, it is paid for."""
        self.budget.spend(unet_rows=rows)
        self.outer.charge(rows, stored)

    def known(
        self,
        conditionings: Sequence[Conditioning],
        reference: str | Sequence[str],
        seeds: Sequence[int],
        scorers: Sequence[str] | None = None,
        emit: Emit | None = None,
    ) -> Evaluation:
        """From the pictures that were paid for alone."""
        found = super().known(conditionings, reference, seeds, scorers, emit)
        unpaid = np.array([[key not in self.paid for key in row] for row in found.drawings], bool).reshape(found.drawings.shape)
        for values in found.values.values():
            values[unpaid] = np.nan
        return found

    def _owed(self, wanted: Mapping[str, Drawing], stored: Mapping[str, str | None]) -> list[Drawing]:
        return [drawing for key, drawing in wanted.items() if key not in self.paid]

    def _lost(self, wanted: Mapping[str, Drawing], stored: Mapping[str, str | None]) -> list[Drawing]:
        return []  # all is paid for here, whatever an earlier start was drawing

    def _bought(self, paid: list[Drawing], stored: Mapping[str, str | None]) -> list[Drawing]:
        self.paid.update(drawing.id for drawing in paid)
        self._paid_here.update(drawing.id for drawing in paid)
        missing = [drawing for drawing in paid if drawing.id not in stored]
        if missing:
            self.outer.budget.spend(images=len(missing), unet_rows=self.model.unet_rows(missing))
        return missing

    def _refused(self, drawings: list[Drawing]) -> None:
        super()._refused(drawings)
        missing = [drawing for drawing in drawings if drawing.id not in self._pictures([drawing.id])]
        self.outer.budget.give_back(images=len(missing), unet_rows=self.model.unet_rows(missing))
        self.paid.difference_update(drawing.id for drawing in drawings)
