"""The shortcut text gradient: how a picture's loss changes with what the UNet is told, through a few late calls of it alone.

`done` model calls without gradient, `graded` ones with it, the clean latents from the last prediction in closed form, decoded, judged
(DPO-Diff, Wang et al. 2024, sec. 6.1.1 and eq. 8). Convention: exactly `graded` UNet calls carry gradient; with `done` + `graded` equal to
all of them it is the full gradient, where the sampler's last step returns its own estimate of the clean latents. Only the searched
branch of guidance is graded. Knows nothing of words, searches or budgets.
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
"""Clean latents to pictures in [0, 1], not clamped: (rows, 3, height, width). A smaller decoder may stand in for the checkpoint's own."""

HALF_SCALE = 1024.0
"""Losses are multiplied by it before they go back through a float16 network, whose small gradients would vanish otherwise."""


@dataclass(frozen=True, slots=True)
class Shortcut:
    """Where the gradient is taken. `done`: model calls before it (the paper's t); `graded`: model calls that carry it (its K)."""

    done: int
    graded: int = 1

    def __post_init__(self) -> None:
        if self.done < 0 or self.graded < 1:
            raise ValueError(f"a shortcut needs done >= 0 and graded >= 1, not {self.done} and {self.graded}")

    def within(self, calls: int) -> Shortcut:
        """The nearest one that a sampler of `calls` model calls can take: done + graded <= calls."""
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
    """Pictures as the sampler guesses them after `done` + `graded` calls, (seeds, 3, height, width) in [0, 1], fp32, differentiable in
    whichever context requires gradients.

    Contexts have one row or as many as seeds. `latents`: x_t before call `done`, (seeds, channels, height, width), where it is known;
    then nothing is computed before it. Raises ValueError where the sampler has fewer calls, or keeps a history that such latents lack.
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
    """The first `calls` steps exactly as the sampler makes them, both branches in one call, without gradient."""
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
    """The guided prediction with gradient through those branches alone whose context requires it, or through x_t once that does.

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
    """x_0 as a prediction at `step` has it: (x_t - sqrt(1 - A) e) / sqrt(A) for epsilon (eq. 8), sqrt(A) x_t - sqrt(1 - A) v for v.

    Schedulers that keep x_t at another scale give the UNet one of unit variance, which is what the formulas mean.
    """
    timestep = denoising.timesteps[step]
    latents = denoising.scheduler.scale_model_input(denoising.latents, timestep)
    kept = _kept(denoising.scheduler, timestep).to(latents)
    signal, noise = kept.sqrt(), (1 - kept).sqrt()
    if denoising.checkpoint.prediction_type == "v_prediction":
        return signal * latents - noise * prediction
    return (latents - noise * prediction) / signal


def loss_scale(checkpoint: Checkpoint) -> float:
    """By what a loss is multiplied before going back, and its gradient divided afterwards."""
    return HALF_SCALE if str(checkpoint.dtype) == "torch.float16" else 1.0


def branch(denoising: Denoising, step: int, context: TextContext) -> torch.Tensor:
    """The prediction of one branch of guidance."""
    timestep, unet = denoising.timesteps[step], denoising.checkpoint.unet
    rows = denoising.scheduler.scale_model_input(denoising.latents, timestep).to(unet.dtype)
    more: dict[str, Any] = {} if context.pooled is None else {"added_cond_kwargs": {"text_embeds": context.pooled}}
    output = unet(rows, timestep, encoder_hidden_states=context.hidden.to(unet.dtype), return_dict=False, **more)[0]
    return output.to(denoising.latents.dtype)


def _kept(scheduler: Any, timestep: torch.Tensor) -> torch.Tensor:
    """A_t, the share of the signal in x_t; between whole timesteps by the noise level, as schedulers that use them do."""
    import torch

    kept = scheduler.alphas_cumprod
    place = float(timestep)
    if place == int(place):
        return kept[int(place)]
    levels = ((1 - kept) / kept) ** 0.5
    low = int(place)
    level = torch.lerp(levels[low], levels[low + 1], place - low)
    return 1 / (1 + level**2)
