"""Stage 4: the UNet, on SD 1.x's noise schedule, with the text encoder frozen.

It predicts v, not the noise: on latents as small as these, what a thing is gets decided at high noise, where a picture computed from
predicted noise carries its error magnified tenfold (Salimans and Ho 2022, "Progressive Distillation", sec. 4). What a thing looks like
is the slow part to learn: so most batches are of high noise, where shapes are decided, the cells where a thing stands count more
than the background, which leaves the best prediction of each cell what it was, and the matrices are trained by Muon.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from limner.tools.miniature.recipe.dataset import Dataset
from limner.tools.miniature.recipe.tokenizer import POSITIONS
from limner.tools.miniature.recipe.vae import kept_latents
from limner.tools.miniature.world.captions import Manner, caption
from limner.tools.miniature.world.scene import GRID, SIDE, Scene
from limner.tools.training import Optimizers, Schedule, device_of, mixed_precision, muon, train

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

TIMESTEPS = 1000
DROPPED_CAPTIONS = 0.1  # share of empty captions, for classifier-free guidance
HIGH_NOISE, HIGH_NOISE_SHARE = 400, 0.75  # timestep from which shapes are decided; share of the batch drawn from there
THING_WEIGHT = 4.0  # of a latent cell that a thing covers, against 1 for background
APART = ("conv_in", "conv_out", "time_embedding", "positional_embedding")  # for AdamW, not Muon
SNR_CAP = 5.0  # Hang et al. 2023, "Efficient Diffusion Training via Min-SNR Weighting Strategy", sec. 3.4


def new_unet(channels: tuple[int, int, int] = (64, 96, 144), latent_channels: int = 8, text_width: int = 128) -> UNet2DConditionModel:
    """Untrained: 16x16, 8x8 and 4x4 cells. Cross-attention at 8x8 and in the middle; besides, the text is pooled and scales and shifts
    every block's features, as the noise level does: what a thing looks like depends on its name and on the place within it
    together, and attention alone adds a name's value to every place. At 4x4 the borders tell a convolution where it is."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=16,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=channels,
        layers_per_block=1,
        cross_attention_dim=text_width,
        attention_head_dim=4,
        norm_num_groups=8,
        resnet_time_scale_shift="scale_shift",
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
    )


def new_scheduler() -> DDIMScheduler:
    """SD 1.x's: scaled linear betas from 0.00085 to 0.012 over 1000 timesteps; v-prediction."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
    )


def train_unet(
    unet: UNet2DConditionModel, vae: AutoencoderKL, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, data: Dataset,
    schedule: Schedule, batch: int, work: Path, seed: int, say: Callable[[str], None],
) -> None:  # fmt: skip
    """Mean squared error of v, weighted by place and, as in min-SNR, by noise; latents are encoded once and kept beside the pictures."""
    import torch
    from diffusers.models.attention_processor import AttnProcessor

    latents = cache(lambda: kept_latents(vae, data, work, say))  # not needed where the stage is done already
    device = device_of(unet)
    kept = new_scheduler().alphas_cumprod.to(device)
    text_encoder.requires_grad_(False).eval()

    def loss(rng: np.random.Generator) -> torch.Tensor:
        rows = np.sort(rng.integers(len(data), size=batch))
        scenes = [data.scene(int(row)) for row in rows]
        captions = ["" if rng.random() < DROPPED_CAPTIONS else caption(scene, rng, Manner(careless=data.nouns)) for scene in scenes]
        ids = tokenizer(captions, padding="max_length", truncation=True, max_length=POSITIONS, return_tensors="pt").input_ids.to(device)
        clean = torch.from_numpy(latents()[rows]).float().to(device)
        timesteps = torch.from_numpy(draw_timesteps(rng, batch)).to(device)
        with torch.no_grad(), mixed_precision(device):
            context = text_encoder(ids).last_hidden_state
        return velocity_error(unet, clean, timesteps, context, scenes, kept)

    unet.set_attn_processor(AttnProcessor())  # the fused kernel's backward pass costs a CPU a fifth of the step
    train("unet", unet, loss, schedule, work, seed, say, _optimizers)
    unet.set_default_attn_processor()
    unet.eval()


def velocity_error(
    unet: UNet2DConditionModel,
    clean: torch.Tensor,
    timesteps: torch.Tensor,
    context: torch.Tensor,
    scenes: Sequence[Scene],
    kept: torch.Tensor,
) -> torch.Tensor:
    """Mean squared error of v at `timesteps` (n,) of the latents `clean` (n, 8, 16, 16) of `scenes`, weighted by place and noise. `kept`
    (1000,): the schedule's cumulated alphas. Noise comes from torch's generator."""
    import torch

    noise = torch.randn(clean.shape).to(clean.device)  # drawn on the CPU, so that a seed means the same on every device
    level = kept[timesteps].view(-1, 1, 1, 1)
    noisy = level.sqrt() * clean + (1 - level).sqrt() * noise
    target = level.sqrt() * noise - (1 - level).sqrt() * clean
    with mixed_precision(clean.device):
        predicted = unet(noisy, timesteps, context).sample
    places = torch.from_numpy(place_weights(scenes)).to(clean.device)
    error = (places[:, None] * (predicted.float() - target).square()).mean((1, 2, 3))
    snr = kept[timesteps] / (1 - kept[timesteps])
    return ((1 + snr).clamp(max=SNR_CAP) / (1 + snr) * error).mean()


def draw_timesteps(rng: np.random.Generator, batch: int) -> np.ndarray:
    """(batch,) int64 in 0..999, `HIGH_NOISE_SHARE` of them from `HIGH_NOISE` on."""
    high = rng.random(batch) < HIGH_NOISE_SHARE
    return np.where(high, rng.integers(HIGH_NOISE, TIMESTEPS, size=batch), rng.integers(HIGH_NOISE, size=batch))


def place_weights(scenes: Sequence[Scene]) -> np.ndarray:
    """(n, 16, 16) float32 of mean 1 each: how much a latent cell counts."""
    weights = np.ones((len(scenes), SIDE // GRID, SIDE // GRID), np.float32)
    for cells, scene in zip(weights, scenes, strict=True):
        for thing in scene.things:
            left, top = ((centre - thing.pixels / 2) / GRID for centre in (thing.x, thing.y))
            right, bottom = (start + thing.pixels / GRID for start in (left, top))
            cells[max(0, int(top)) : math.ceil(bottom), max(0, int(left)) : math.ceil(right)] = THING_WEIGHT
    return weights / weights.mean((1, 2), keepdims=True)


def _optimizers(module: torch.nn.Module, weight_decay: float) -> Optimizers:
    return muon(module, weight_decay, APART)
