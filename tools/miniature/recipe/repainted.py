"""Training pictures repainted by the UNet, for the judge: they look like generated pictures, and their ground truth is known.

A picture is noised part of the way and denoised again with its own caption (Meng et al. 2022, "SDEdit"). The content stays; edges and
colours become as soft as in generated pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from limner.tools.miniature.recipe.dataset import Dataset
from limner.tools.miniature.recipe.tokenizer import POSITIONS
from limner.tools.miniature.recipe.unet import new_scheduler
from limner.tools.miniature.recipe.vae import decode, kept_latents, kept_rows
from limner.tools.miniature.world.captions import Manner, caption
from limner.tools.training import device_of, mixed_precision

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

FROM, TO = 300, 680  # noise is added up to a timestep between these; with more the content may change
STEPS = 4  # DDIM steps from there to 0
GUIDANCE = 2.0  # as the checkpoint's card recommends
SAYS = Manner(full=True, crowded=False)


@dataclass(frozen=True, slots=True)
class Painter:
    """The parts of a diffusion model that repaint pictures."""

    vae: AutoencoderKL
    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer


def kept_repainted(
    painter: Painter, data: Dataset, count: int, seed: int, work: Path, say: Callable[[str], None]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows of `data` (n,), evenly spread, and their pictures repainted (n, 64, 64, 3) uint8; computed once and stored in `work`."""
    rows = np.unique(np.linspace(0, len(data) - 1, count).round().astype(int))

    def paint(start: int, stop: int) -> np.ndarray:
        rng = np.random.default_rng([seed, 1960, start])
        some = rows[start:stop]
        captions = [caption(data.scene(int(row)), rng, SAYS) for row in some]
        return decode(painter.vae, repainted(painter, latents()[some], captions, rng))

    def latents() -> np.ndarray:
        return kept_latents(painter.vae, data, work, say)

    return rows, kept_rows(work / "repainted.npy", len(rows), paint, say, part=64)


def repainted(painter: Painter, latents: np.ndarray, captions: list[str], rng: np.random.Generator) -> torch.Tensor:
    """Noises scaled latents (n, 8, 16, 16) to one random timestep and denoises them in `STEPS` steps with `captions` as prompts."""
    import torch

    device = device_of(painter.unet)
    alphas = new_scheduler().alphas_cumprod.to(device)
    times = np.linspace(int(rng.integers(FROM, TO)), 0, STEPS + 1).round().astype(int)
    clean = torch.from_numpy(np.array(latents)).float().to(device)
    noise = torch.from_numpy(rng.standard_normal(clean.shape, np.float32)).to(device)
    ids = painter.tokenizer(
        [*captions, *[""] * len(captions)], padding="max_length", truncation=True, max_length=POSITIONS, return_tensors="pt"
    ).input_ids.to(device)
    with torch.inference_mode(), mixed_precision(device):
        context = painter.text_encoder(ids).last_hidden_state
        level = alphas[times[0]]
        now = level.sqrt() * clean + (1 - level).sqrt() * noise
        for time, after in pairwise(times):
            level, following = alphas[time], alphas[after] if after else torch.ones((), device=device)
            asked, unasked = painter.unet(torch.cat([now, now]), int(time), context).sample.float().chunk(2)
            velocity = unasked + GUIDANCE * (asked - unasked)
            shown = level.sqrt() * now - (1 - level).sqrt() * velocity
            left = level.sqrt() * velocity + (1 - level).sqrt() * now
            now = following.sqrt() * shown + (1 - following).sqrt() * left
    return now.float().cpu()
