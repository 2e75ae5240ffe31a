"""Measures whether a UNet uses the noun of its caption: a check of one minute whose result rises early in training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from limner.tools.miniature.recipe.tokenizer import POSITIONS
from limner.tools.miniature.world.vocabulary import NOUNS

if TYPE_CHECKING:
    import torch
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    from limner.tools.miniature.world.scene import Scene

FROM = 700  # timesteps from here on: so much noise that only the text determines what the thing is


def noun_gain(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    scenes: list[Scene],
    latents: torch.Tensor,
    nouns: int,
) -> float:
    """Returns the mean v-prediction loss with a wrong noun in the caption minus that with the right one; 0 for a UNet that ignores the
    noun.

    `latents`: scaled latents (n, 8, 16, 16) of `scenes`; only scenes without a relation are used.
    """
    import torch

    from limner.tools.miniature.recipe.unet import TIMESTEPS, new_scheduler

    device = latents.device
    rows = [row for row, scene in enumerate(scenes) if scene.relation is None]
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    clean = latents[rows].float()
    noise = torch.randn(clean.shape, generator=generator).to(device)
    timesteps = torch.linspace(FROM, TIMESTEPS - 1, len(rows)).long().to(device)
    level = new_scheduler().alphas_cumprod.to(device)[timesteps].view(-1, 1, 1, 1)
    noisy, target = level.sqrt() * clean + (1 - level).sqrt() * noise, level.sqrt() * noise - (1 - level).sqrt() * clean
    asked = [scenes[row].things[0].noun for row in rows]
    other = [int(rng.choice([noun for noun in range(nouns) if noun != own])) for own in asked]
    losses = []
    with torch.inference_mode():
        for named in (asked, other):
            captions = [_caption(scenes[row], noun) for row, noun in zip(rows, named, strict=True)]
            ids = tokenizer(captions, padding="max_length", truncation=True, max_length=POSITIONS, return_tensors="pt").input_ids.to(device)
            predicted = unet(noisy, timesteps, text_encoder(ids).last_hidden_state).sample
            losses.append((predicted.float() - target).square().mean((1, 2, 3)))
    return float((losses[1] - losses[0]).mean())


def _caption(scene: Scene, noun: int) -> str:
    words = [scene.things[0].size, scene.things[0].colour, NOUNS[noun].name]
    return f"{' '.join(word for word in words if word)}, {scene.background}, {scene.style}"
