"""Where each model call of a sampler stands in the denoising: by its number, and by the noise that is left.

A range of a DF-Prompt is a part of the steps, or of the noise level where its conditioning says so; both are turned into call numbers
here, for any scheduler. Solvers of second order make more calls than steps, and each call counts (PAE, Mo et al. 2024, its executor).
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
"""Schedules whose first step holds no signal at all would have a noise level without end."""


@dataclass(frozen=True, slots=True)
class Timing:
    """`by_step`, `by_sigma`: the elapsed part of the denoising at which each model call begins, which never falls."""

    scheduler: str
    steps: int
    by_step: tuple[Fraction, ...] = field(repr=False, compare=False)
    by_sigma: tuple[Fraction, ...] = field(repr=False, compare=False)

    @property
    def calls(self) -> int:
        return len(self.by_step)

    def places(self, unit: RangeUnit) -> tuple[Fraction, ...]:
        return self.by_sigma if unit == "sigma" else self.by_step


def timing(checkpoint: Checkpoint, scheduler: str, steps: int) -> Timing:
    """Of a scheduler class on this checkpoint. Raises BadInput where it cannot serve."""
    opened = checkpoint.scheduler(scheduler, steps)
    return Timing(scheduler, steps, elapsed_by_step(len(opened.timesteps)), elapsed_by_sigma(_noise_levels(opened)))


def _noise_levels(scheduler: Any) -> list[float]:
    """sigma = sqrt((1 - alpha) / alpha) at each call, alpha the product of the schedule up to its timestep; between two timesteps the
    logarithm of alpha is interpolated. A call that goes back a little, as some solvers' do, stands where the one before it stood."""
    import numpy as np

    alphas = scheduler.alphas_cumprod.cpu().double().numpy().clip(LEAST_SIGNAL, 1 - LEAST_SIGNAL)
    at = scheduler.timesteps.cpu().double().numpy()
    alpha = np.exp(np.interp(at, np.arange(len(alphas)), np.log(alphas)))
    return [float(sigma) for sigma in np.minimum.accumulate(np.sqrt((1 - alpha) / alpha))]
