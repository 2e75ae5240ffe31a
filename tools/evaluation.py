"""What an evaluation found: scores of every conditioning on every seed, and how candidates compare on them.

Pure numbers: knows nothing of drawing, scoring or storing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from limner.promptdb.records import Conditioning

RANKING_DECIMALS = 4  # candidates closer than this are equal: a pixel moves by up to 1/255 between batch shapes and devices


@dataclass(frozen=True)
class Evaluation:
    """Scores as (conditioning, seed) arrays.

    `drawings`: ids. `values`: by scorer name, float64, NaN where there is no number: not asked for (a race left the candidate
    behind, the budget ended) or dropped (the model drew NaN, the scorer gave no finite number).
    """

    conditionings: tuple[Conditioning, ...]
    seeds: tuple[int, ...]
    drawings: np.ndarray
    values: dict[str, np.ndarray]
    higher_is_better: dict[str, bool]

    def complete(self, name: str) -> np.ndarray:
        """(c,) bool: which conditionings have a value on every seed."""
        return ~np.isnan(self.values[name]).any(axis=1)

    def mean(self, name: str) -> np.ndarray:
        """(c,) mean over the seeds; NaN where one is missing, since a mean over other seeds cannot be compared."""
        return self.values[name].mean(axis=1) if self.seeds else np.full(len(self.conditionings), np.nan)

    def differences(self, name: str, before: int, after: int) -> np.ndarray:
        """Value of `after` minus that of `before` (indices), on each seed where both have one: the units of a paired test."""
        delta = self.values[name][after] - self.values[name][before]
        return delta[~np.isnan(delta)]

    def ranking(self, name: str) -> list[int]:
        """Indices, best first: by mean rounded to 1e-4, ties by conditioning id.

        Those with a value on every seed come before all others; the rest follow by the number of seeds they have, so that
        a mean over few lucky seeds never beats one over all of them.
        """
        sign = -1.0 if self.higher_is_better[name] else 1.0

        def key(index: int) -> tuple[int, float, str]:
            row = self.values[name][index]
            present = row[~np.isnan(row)]
            mean = round(float(present.mean()), RANKING_DECIMALS) if len(present) else 0.0
            return -len(present), sign * mean, self.conditionings[index].id

        return sorted(range(len(self.conditionings)), key=key)
