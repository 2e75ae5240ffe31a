"""The picture that a prediction means, at the scale at which each kind of scheduler keeps x_t."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from limner.tools.diffusion.checkpoint import Checkpoint
from limner.tools.diffusion.gradients.shortcut import clean_latents
from limner.tools.diffusion.sampling.denoising import Denoising

UNIT = ["DDIMScheduler", "DDPMScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"]
BY_NOISE_LEVEL = ["EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler"]


@pytest.mark.parametrize("scheduler", [*UNIT, *BY_NOISE_LEVEL])
@pytest.mark.parametrize("name", ["sd1", "sd2"])
@pytest.mark.parametrize("step", [0, 2, 5])
def test_a_right_prediction_gives_the_picture_back(request: pytest.FixtureRequest, name: str, scheduler: str, step: int) -> None:
    """x_t is what diffusers' own scheduler makes of a picture and noise; the prediction is that noise, or the velocity."""
    checkpoint: Checkpoint = request.getfixturevalue(name)
    denoising = Denoising(checkpoint, replace(checkpoint.default_settings, scheduler=scheduler, steps=8), [0, 1], [7.5, 7.5])
    generator = torch.Generator().manual_seed(1)
    clean, noise = (torch.randn(denoising.latents.shape, generator=generator) for _ in range(2))
    timestep = denoising.timesteps[step : step + 1]
    denoising.latents = denoising.scheduler.add_noise(clean, noise, timestep.expand(2))
    kept = denoising.scheduler.alphas_cumprod[int(timestep)]
    prediction = noise if checkpoint.prediction_type == "epsilon" else kept.sqrt() * noise - (1 - kept).sqrt() * clean
    assert torch.allclose(clean_latents(denoising, step, prediction), clean, atol=2e-2)
    if scheduler in BY_NOISE_LEVEL:
        assert float(denoising.latents.std()) > 1.05 * float((kept.sqrt() * clean + (1 - kept).sqrt() * noise).std())
