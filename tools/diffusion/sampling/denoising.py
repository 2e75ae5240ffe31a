"""One batch on its way from noise to clean latents: guided UNet calls under any scheduler of diffusers.

All that moves is in one object (latents, scheduler with its history, noise streams), so that a method can stop at a step, look,
take a gradient, or go on. Equal to the loop of diffusers' StableDiffusionPipeline at the same noise and embeddings. Knows
nothing of texts, buckets or pictures.
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
    """`latents`: x_t, (rows, channels, height, width), fp32. `timesteps`: one for each model call, more than `steps` for solvers
    of higher order. `guidance`: (rows, 1, 1, 1), or None where guidance is off.

    The latents stay fp32 whatever the UNet computes in: a half-precision state would round away late steps.
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
        """The guided model output at the present latents, fp32 and differentiable in `embeddings` (as in `Hooks.embeddings`)."""
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
        """One solver step from x_t towards the picture."""
        self.latents = self.scheduler.step(prediction, self.timesteps[step], self.latents, **self._extra, return_dict=False)[0]

    def run(
        self,
        positives: Sequence[StepEmbeddings],
        negatives: Sequence[StepEmbeddings],
        hooks: Hooks | None = None,
        real_rows: int | None = None,
        steps: range | None = None,
    ) -> torch.Tensor:
        """Model calls `steps`, by default all; returns the latents then, x_0 at the end. Hooks see the first `real_rows` rows, the others
        being padding."""
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
        """The same denoising with row `rows[n]` as its row n, to go on by itself: latents, solver history and noise streams are its own,
        and this one stays as it is. A row may be taken several times, or not at all."""
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
    """A copy of a scheduler whose history is that of the rows `index`: whatever it keeps in the shape of the latents, in lists too.
    Schedules, which all rows share, have one dimension and stay."""
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
    """Rows of embeddings as one tensor, stacked anew only when a row has changed."""

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
    """Ask the hook about the real rows only, and pad its answer as the batch is padded: by the last row."""
    import torch

    halves = [half[:real] for half in embeddings.split(rows)]
    answer = hook(step, torch.cat(halves))
    if answer.shape != torch.Size([len(halves) * real, *embeddings.shape[1:]]):
        raise ValueError(f"the embeddings hook must return shape {tuple(torch.cat(halves).shape)}, not {tuple(answer.shape)}")
    padded = [torch.cat([half, half[-1:].expand(rows - real, -1, -1)]) for half in answer.split(real)]
    return torch.cat(padded).to(embeddings.dtype)
