"""Denoises one batch from noise to clean latents: guided UNet calls under any scheduler of diffusers.

All state is in one object (latents, scheduler with its history, noise streams), so that a method can stop at a step, inspect it, take a
gradient, or go on. With equal noise and embeddings it equals the loop of diffusers' StableDiffusionPipeline.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from limner.promptdb.records import SamplerSettings
from limner.tools.diffusion.base import Hooks
from limner.tools.diffusion.sampling.conditioning import StepEmbeddings
from limner.tools.diffusion.sampling.noise import copies, initial_noise, noise_streams

if TYPE_CHECKING:
    import torch

    from limner.tools.diffusion.checkpoint import Checkpoint


class Denoising:
    """The state of one batch.

    `latents`: x_t, (rows, channels, height, width), fp32 whatever the UNet computes in, since half precision would round away late steps.
    `timesteps`: one for each model call, more than `steps` for higher-order solvers. `guidance`: (rows, 1, 1, 1), None where it is off.
    """

    def __init__(self, checkpoint: Checkpoint, settings: SamplerSettings, seeds: Sequence[int], guidance_scales: Sequence[float]) -> None:
        import torch

        self.checkpoint = checkpoint
        self.scheduler = checkpoint.scheduler(settings.scheduler, settings.steps)
        self.timesteps: torch.Tensor = self.scheduler.timesteps
        self.streams = noise_streams(seeds)
        shape = (checkpoint.latent_channels, settings.height // checkpoint.vae_factor, settings.width // checkpoint.vae_factor)
        self.latents = initial_noise(self.streams, shape).to(checkpoint.device) * self.scheduler.init_noise_sigma
        guided = guidance_scales[0] > 1
        scales = torch.tensor(guidance_scales, dtype=torch.float32, device=checkpoint.device)
        self.guidance = scales.reshape(-1, 1, 1, 1) if guided else None
        self._extra = self._step_arguments()

    def predict(self, step: int, embeddings: torch.Tensor) -> torch.Tensor:
        """Returns the guided model output for the current latents, fp32 and differentiable in `embeddings` (shaped as in
        `Hooks.embeddings`).
        """
        import torch

        timestep = self.timesteps[step]
        rows = self.latents if self.guidance is None else torch.cat([self.latents, self.latents])
        rows = self.scheduler.scale_model_input(rows, timestep).to(self.checkpoint.unet.dtype)
        output = self.checkpoint.unet(rows, timestep, encoder_hidden_states=embeddings, return_dict=False)[0].float()
        if self.guidance is None:
            return output
        negative, positive = output.chunk(2)
        return negative + self.guidance * (positive - negative)

    def advance(self, step: int, prediction: torch.Tensor) -> None:
        """Makes one solver step from x_t towards the picture, with the guided model output `prediction`."""
        self.latents = self.scheduler.step(prediction, self.timesteps[step], self.latents, **self._extra, return_dict=False)[0]

    def run(
        self,
        positives: Sequence[StepEmbeddings],
        negatives: Sequence[StepEmbeddings],
        hooks: Hooks | None = None,
        real_rows: int | None = None,
        steps: range | None = None,
    ) -> torch.Tensor:
        """Makes the model calls `steps`, by default all, and returns the latents, x_0 after the last.

        Hooks see the first `real_rows` rows; the rest is padding.
        """
        real = real_rows or len(positives)
        stack = _Stack([*negatives, *positives] if self.guidance is not None else list(positives))
        for step in range(len(self.timesteps)) if steps is None else steps:
            embeddings = stack.at(step)
            if hooks and hooks.on_step:
                hooks.on_step(step, self.timesteps[step], self.latents[:real])
            if hooks and hooks.embeddings:
                embeddings = _replace(hooks.embeddings, step, embeddings, len(positives), real)
            self.advance(step, self.predict(step, embeddings))
        return self.latents

    def fork(self, rows: Sequence[int]) -> Denoising:
        """Returns a denoising whose row n is row `rows[n]` of this one, which stays unchanged. Rows may repeat or be left out.

        Latents, solver history and noise streams are copied.
        """
        import torch

        fork = copy.copy(self)
        index = torch.tensor(rows, device=self.latents.device)
        fork.latents = self.latents[index]
        fork.guidance = None if self.guidance is None else self.guidance[index]
        fork.streams = copies([self.streams[row] for row in rows])
        fork.scheduler = _of_rows(self.scheduler, index, self.latents.shape)
        fork._extra = fork._step_arguments()
        return fork

    def _step_arguments(self) -> dict[str, Any]:
        accepted = inspect.signature(self.scheduler.step).parameters
        arguments: dict[str, Any] = {"eta": 0.0, "generator": self.streams}
        return {name: value for name, value in arguments.items() if name in accepted}


def _of_rows(scheduler: Any, index: torch.Tensor, shape: torch.Size) -> Any:
    """Returns a copy of a scheduler with the history of the rows `index`: everything shaped as the latents, in lists too.

    Schedules, which all rows share, have one dimension and are not copied.
    """
    import torch

    def taken(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value[index] if value.shape == shape else value
        if isinstance(value, list):  # a scheduler puts into its lists, so the copy needs lists of its own
            return [taken(item) for item in value]
        return value

    chosen = copy.copy(scheduler)
    vars(chosen).update({name: taken(value) for name, value in vars(scheduler).items()})
    return chosen


class _Stack:
    """Rows of embeddings as one tensor, stacked again only where a row has changed."""

    def __init__(self, rows: list[StepEmbeddings]) -> None:
        self.rows = rows
        self.parts: list[torch.Tensor] = []
        self.stacked: torch.Tensor | None = None

    def at(self, step: int) -> torch.Tensor:
        import torch

        parts = [row.at(step) for row in self.rows]
        if self.stacked is None or any(new is not old for new, old in zip(parts, self.parts, strict=True)):
            self.parts, self.stacked = parts, torch.stack(parts)
        return self.stacked


def _replace(hook: Callable[[int, torch.Tensor], torch.Tensor], step: int, embeddings: torch.Tensor, rows: int, real: int) -> torch.Tensor:
    """Calls the hook with the real rows only, and pads its answer with the last row, as the batch is padded."""
    import torch

    halves = [half[:real] for half in embeddings.split(rows)]
    answer = hook(step, torch.cat(halves))
    if answer.shape != torch.Size([len(halves) * real, *embeddings.shape[1:]]):
        raise ValueError(f"the embeddings hook must return shape {tuple(torch.cat(halves).shape)}, not {tuple(answer.shape)}")
    padded = [torch.cat([half, half[-1:].expand(rows - real, -1, -1)]) for half in answer.split(real)]
    return torch.cat(padded).to(embeddings.dtype)
