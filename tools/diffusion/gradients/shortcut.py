"""The shortcut text gradient: how a picture's loss changes with the UNet's text input, through a few late model calls alone.

`done` model calls run without gradient and `graded` ones with it; the clean latents follow from the last prediction in closed form, are
decoded and scored (DPO-Diff, Wang et al. 2024, sec. 6.1.1 and eq. 8). Exactly `graded` UNet calls carry gradient. With `done` + `graded`
equal to all calls it is the full gradient, for samplers whose last step returns its own estimate of the clean latents. Only the searched
branch of guidance carries gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limner.promptdb.records import SamplerSettings
from limner.tools.diffusion.checkpoint import Checkpoint
from limner.tools.diffusion.gradients.soft_text import TextContext
from limner.tools.diffusion.sampling.denoising import Denoising

if TYPE_CHECKING:
    import torch

Decode = Callable[["torch.Tensor"], "torch.Tensor"]
"""Decodes clean latents to pictures (rows, 3, height, width) in [0, 1], not clamped. A smaller decoder may replace the checkpoint's own."""

HALF_SCALE = 1024.0
"""Factor on losses before the backward pass through a float16 network, whose small gradients would underflow otherwise."""


@dataclass(frozen=True, slots=True)
class Shortcut:
    """Where the gradient is taken. `done`: model calls before it (the paper's t); `graded`: model calls that carry it (the paper's K).

    Raises ValueError unless done >= 0 and graded >= 1.
    """

    done: int
    graded: int = 1

    def __post_init__(self) -> None:
        if self.done < 0 or self.graded < 1:
            raise ValueError(f"a shortcut needs done >= 0 and graded >= 1, not {self.done} and {self.graded}")

    def within(self, calls: int) -> Shortcut:
        """Returns the nearest shortcut with done + graded <= `calls`, the model calls of a sampler."""
        graded = min(self.graded, calls)
        return Shortcut(min(self.done, calls - graded), graded)


def shortcut_pictures(
    checkpoint: Checkpoint,
    settings: SamplerSettings,
    seeds: Sequence[int],
    positive: TextContext,
    negative: TextContext,
    shortcut: Shortcut,
    latents: torch.Tensor | None = None,
    decode: Decode | None = None,
) -> torch.Tensor:
    """Returns pictures as predicted after `done` + `graded` calls: (seeds, 3, height, width) in [0, 1], fp32, not clamped.

    They are differentiable in each context that requires gradients. Contexts have one row or one per seed. `latents`: x_t before call
    `done`, (seeds, channels, height, width), where known; the calls before are then skipped. Raises ValueError where the sampler makes
    fewer calls, or needs a history that such latents lack.
    """
    import torch

    denoising = Denoising(checkpoint, settings, seeds, [settings.guidance_scale] * len(seeds))
    denoising.latents = denoising.latents.to(torch.promote_types(denoising.latents.dtype, checkpoint.dtype))
    if shortcut.done + shortcut.graded > len(denoising.timesteps):
        raise ValueError(f"{shortcut} needs more than the sampler's {len(denoising.timesteps)} model calls")
    contexts = positive.expand(len(seeds)), negative.expand(len(seeds))
    if latents is None:
        advance(denoising, contexts[0].detached(), contexts[1].detached(), shortcut.done)
    else:
        if shortcut.graded > 1 and settings.scheduler != "DDIMScheduler":
            raise ValueError(f"{settings.scheduler} keeps a history, so several graded calls cannot begin in the middle")
        denoising.latents = latents.to(denoising.latents.device)
    last = shortcut.done + shortcut.graded - 1
    for step in range(shortcut.done, last):
        denoising.advance(step, guided(denoising, step, *contexts))
    clean = clean_latents(denoising, last, guided(denoising, last, *contexts))
    return (decode or checkpoint.decode)(clean)


def advance(denoising: Denoising, positive: TextContext, negative: TextContext, calls: int) -> None:
    """Makes the first `calls` steps exactly as the sampler does, both branches in one call, without gradient."""
    import torch

    with torch.no_grad():
        for step in range(calls):
            if positive.pooled is not None:
                prediction = guided(denoising, step, positive, negative)
            else:
                both = positive.hidden if denoising.guidance is None else torch.cat([negative.hidden, positive.hidden])
                prediction = denoising.predict(step, both)
            denoising.advance(step, prediction)


def guided(denoising: Denoising, step: int, positive: TextContext, negative: TextContext) -> torch.Tensor:
    """Returns the guided prediction, with gradient through the branches whose context requires it, or through all once x_t requires it.

    Its derivative is the guidance scale w on the positive branch and 1 - w on the negative one (eq. 4).
    """
    import torch

    if denoising.guidance is None:
        return branch(denoising, step, positive)
    parts = []
    for context in (negative, positive):
        graded = context.requires_grad or denoising.latents.requires_grad
        with torch.set_grad_enabled(graded and torch.is_grad_enabled()):
            parts.append(branch(denoising, step, context))
    return parts[0] + denoising.guidance * (parts[1] - parts[0])


def clean_latents(denoising: Denoising, step: int, prediction: torch.Tensor) -> torch.Tensor:
    """Returns x_0 as predicted at `step`: (x_t - sqrt(1 - A) e) / sqrt(A) for epsilon (eq. 8), sqrt(A) x_t - sqrt(1 - A) v for v.

    Schedulers that store x_t at another scale give the UNet one of unit variance, to which the formulas apply.
    """
    timestep = denoising.timesteps[step]
    latents = denoising.scheduler.scale_model_input(denoising.latents, timestep)
    signal_share = _signal_share(denoising.scheduler, timestep).to(latents)
    signal, noise = signal_share.sqrt(), (1 - signal_share).sqrt()
    if denoising.checkpoint.prediction_type == "v_prediction":
        return signal * latents - noise * prediction
    return (latents - noise * prediction) / signal


def loss_scale(checkpoint: Checkpoint) -> float:
    """Returns the factor on losses before the backward pass; gradients are divided by it afterwards."""
    return HALF_SCALE if str(checkpoint.dtype) == "torch.float16" else 1.0


def branch(denoising: Denoising, step: int, context: TextContext) -> torch.Tensor:
    """Returns the prediction of one branch of guidance."""
    timestep, unet = denoising.timesteps[step], denoising.checkpoint.unet
    rows = denoising.scheduler.scale_model_input(denoising.latents, timestep).to(unet.dtype)
    more: dict[str, Any] = {} if context.pooled is None else {"added_cond_kwargs": {"text_embeds": context.pooled}}
    output = unet(rows, timestep, encoder_hidden_states=context.hidden.to(unet.dtype), return_dict=False, **more)[0]
    return output.to(denoising.latents.dtype)


def _signal_share(scheduler: Any, timestep: torch.Tensor) -> torch.Tensor:
    """Returns A_t, the share of the signal in x_t; between integer timesteps from the noise level, as schedulers that use them do."""
    import torch

    signal_share = scheduler.alphas_cumprod
    place = float(timestep)
    if place == int(place):
        return signal_share[int(place)]
    levels = ((1 - signal_share) / signal_share) ** 0.5
    low = int(place)
    level = torch.lerp(levels[low], levels[low + 1], place - low)
    return 1 / (1 + level**2)
