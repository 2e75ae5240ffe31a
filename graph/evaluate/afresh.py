"""An Evaluator for comparing searches: each pays for every picture that it looks at, whoever drew it before.

Searches of one prompt meet the same candidates, and a suite that is started again finds all of them stored. Without this the second of two
searches, or the second start, would have more to spend.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from promptdb.records import Conditioning
from tools.budget import Budget
from tools.evaluation import Evaluation
from tools.evaluator import Emit, Evaluator
from tools.scoring.base import Scorer


class AfreshEvaluator(Evaluator):
    """`budget`: this search's. What is really drawn is spent on `outer.budget` too. Gradients are paid for in the same way."""

    pays_again = True

    def __init__(self, outer: Evaluator, scorers: Sequence[Scorer], budget: Budget) -> None:
        super().__init__(outer.model, scorers, outer.db, outer.images, budget, outer.settings, outer.run)
        self.outer = outer
        self.paid: set[str] = set()

    def draw(self, conditionings: Sequence[Conditioning], seeds: Sequence[int], emit: Emit | None = None) -> np.ndarray:
        """As the Evaluator's; BudgetSpent as if nothing were stored."""
        wanted = {drawing.id: drawing for drawing in self._table(conditionings, seeds).flat}
        head, refusal = self._pay([drawing for key, drawing in wanted.items() if key not in self.paid])
        self.paid.update(drawing.id for drawing in head)
        stored = self._pictures(wanted)
        self._dropped.update(key for key, picture in stored.items() if picture is None)
        if missing := [drawing for drawing in head if drawing.id not in stored]:
            self.outer.budget.spend(images=len(missing), unet_rows=self.model.unet_rows(missing))
            self._draw(missing, emit)
        if refusal:
            raise refusal
        return np.array([[self.drawing(item, seed).id for seed in seeds] for item in conditionings], dtype=object)

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
