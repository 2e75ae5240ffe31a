"""The time of each model call of a sampler: by its number, and by the remaining noise.

A range of a DF-Prompt is a part of the steps, or of the noise level where its conditioning says so; both convert to call numbers here,
for any scheduler. Second-order solvers make more calls than steps, and each call counts (PAE, Mo et al. 2024, its executor).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from limner.promptdb.records import RangeUnit
from limner.tools.prompt_language.schedule import elapsed_by_sigma, elapsed_by_step

if TYPE_CHECKING:
    from limner.tools.diffusion.checkpoint import Checkpoint

LEAST_SIGNAL = 2.0**-24
"""Lower bound of alpha: a schedule whose first step has no signal at all would have an infinite noise level."""


@dataclass(frozen=True, slots=True)
class Timing:
    """`by_step`, `by_sigma`: the elapsed part of the denoising at which each model call begins, in rising order."""

    scheduler: str
    steps: int
    by_step: tuple[Fraction, ...] = field(repr=False, compare=False)
    by_sigma: tuple[Fraction, ...] = field(repr=False, compare=False)

    @property
    def calls(self) -> int:
        """The number of model calls."""
        return len(self.by_step)

    def places(self, unit: RangeUnit) -> tuple[Fraction, ...]:
        """Returns the elapsed part at each call, by `unit`: "step" or "sigma"."""
        return self.by_sigma if unit == "sigma" else self.by_step


def timing(checkpoint: Checkpoint, scheduler: str, steps: int) -> Timing:
    """Returns the timing of a scheduler class on this checkpoint. Raises BadInput where the scheduler cannot run."""
    opened = checkpoint.scheduler(scheduler, steps)
    return Timing(scheduler, steps, elapsed_by_step(len(opened.timesteps)), elapsed_by_sigma(_noise_levels(opened)))


def _noise_levels(scheduler: Any) -> list[float]:
    """Returns sigma = sqrt((1 - alpha) / alpha) at each call, with alpha the cumulative product up to its timestep.

    Between two timesteps the logarithm of alpha is interpolated. A call that goes back a little, as in some solvers, has the time of the
    one before.
    """
    import numpy as np

    alphas = scheduler.alphas_cumprod.cpu().double().numpy().clip(LEAST_SIGNAL, 1 - LEAST_SIGNAL)
    at = scheduler.timesteps.cpu().double().numpy()
    alpha = np.exp(np.interp(at, np.arange(len(alphas)), np.log(alphas)))
    return [float(sigma) for sigma in np.minimum.accumulate(np.sqrt((1 - alpha) / alpha))]
