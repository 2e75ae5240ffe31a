"""The result of an evaluation: scores of every conditioning on every seed, and comparisons of candidates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from limner.promptdb.records import Conditioning

RANKING_DECIMALS = 4  # closer candidates count as equal: a pixel changes by up to 1/255 between batch shapes and devices


@dataclass(frozen=True)
class Evaluation:
    """Scores as (conditioning, seed) arrays.

    `drawings`: ids. `values`: by scorer name, float64. NaN means that there is no value: not evaluated (eliminated early, or the budget was
    spent) or failed (the model drew NaN, or the scorer gave no finite number).
    """

    conditionings: tuple[Conditioning, ...]
    seeds: tuple[int, ...]
    drawings: np.ndarray
    values: dict[str, np.ndarray]
    higher_is_better: dict[str, bool]

    def complete(self, name: str) -> np.ndarray:
        """Returns (c,) bool: which conditionings have a value on every seed."""
        return ~np.isnan(self.values[name]).any(axis=1)

    def mean(self, name: str) -> np.ndarray:
        """Returns (c,) means over the seeds; NaN where a seed is missing, since means over different seeds are not comparable."""
        return self.values[name].mean(axis=1) if self.seeds else np.full(len(self.conditionings), np.nan)

    def differences(self, name: str, before: int, after: int) -> np.ndarray:
        """Returns the value of `after` minus that of `before` (indices), on each seed where both have one: the units of a paired test."""
        delta = self.values[name][after] - self.values[name][before]
        return delta[~np.isnan(delta)]

    def ranking(self, name: str) -> list[int]:
        """Returns indices, best first: by mean rounded to 1e-4, equal ones by conditioning id.

        Conditionings with more values rank first, so that a mean over few lucky seeds never beats one over all of them.
        """
        sign = -1.0 if self.higher_is_better[name] else 1.0

        def key(index: int) -> tuple[int, float, str]:
            row = self.values[name][index]
            present = row[~np.isnan(row)]
            mean = round(float(present.mean()), RANKING_DECIMALS) if len(present) else 0.0
            return -len(present), sign * mean, self.conditionings[index].id

        return sorted(range(len(self.conditionings)), key=key)
