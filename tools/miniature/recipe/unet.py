"""Stage 4: the UNet, on SD 1.x's noise schedule, with the text encoder frozen.

It predicts v, not the noise: on latents as small as these the content is decided at high noise, where a picture computed from
predicted noise carries the error magnified tenfold (Salimans and Ho 2022, "Progressive Distillation", sec. 4). How a thing looks is
the slow part to learn. So most timesteps are of high noise, where shapes are decided; cells that a thing covers weigh more than
background, which does not change the best prediction of any cell; and the matrices are trained with Muon.
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
HIGH_NOISE, HIGH_NOISE_SHARE = 400, 0.75  # timesteps from here on decide shapes; share of the batch drawn from them
THING_WEIGHT = 4.0  # loss weight of a latent cell that a thing covers, against 1 for background
APART = ("conv_in", "conv_out", "time_embedding", "positional_embedding")  # for AdamW, not Muon
SNR_CAP = 5.0  # Hang et al. 2023, "Efficient Diffusion Training via Min-SNR Weighting Strategy", sec. 3.4


def new_unet(channels: tuple[int, int, int] = (64, 96, 144), latent_channels: int = 8, text_width: int = 128) -> UNet2DConditionModel:
    """Returns an untrained UNet for 16x16 latents, with blocks at 16x16, 8x8 and 4x4.

    Cross-attention stands at 8x8 and in the middle. Besides, the pooled text scales and shifts every block's features, as the timestep
    does: how a thing looks depends on its name and on the place within it together, and attention alone adds a name's value to every place
    alike. At 4x4 the borders tell a convolution where it is.
    """
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
    """Returns SD 1.x's schedule with v-prediction: scaled linear betas from 0.00085 to 0.012 over 1000 timesteps."""
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
    """Trains `unet` on the mean squared error of v, weighted by place and, as in min-SNR, by noise level.

    Latents are encoded once and stored in `work`. `batch`: pictures a step.
    """
    import torch
    from diffusers.models.attention_processor import AttnProcessor

    latents = cache(lambda: kept_latents(vae, data, work, say))  # on first use: a finished stage needs none
    device = device_of(unet)
    alphas = new_scheduler().alphas_cumprod.to(device)
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
        return velocity_error(unet, clean, timesteps, context, scenes, alphas)

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
    alphas: torch.Tensor,
) -> torch.Tensor:
    """Returns the mean squared error of v, weighted by place and noise level; the noise comes from torch's global generator.

    `clean`: latents (n, 8, 16, 16) of `scenes`; `timesteps`: (n,); `context`: text states; `alphas`: cumulative alphas (1000,) of the
    schedule.
    """
    import torch

    noise = torch.randn(clean.shape).to(clean.device)  # drawn on the CPU, so that a seed gives equal noise on every device
    level = alphas[timesteps].view(-1, 1, 1, 1)
    noisy = level.sqrt() * clean + (1 - level).sqrt() * noise
    target = level.sqrt() * noise - (1 - level).sqrt() * clean
    with mixed_precision(clean.device):
        predicted = unet(noisy, timesteps, context).sample
    places = torch.from_numpy(place_weights(scenes)).to(clean.device)
    error = (places[:, None] * (predicted.float() - target).square()).mean((1, 2, 3))
    snr = alphas[timesteps] / (1 - alphas[timesteps])
    return ((1 + snr).clamp(max=SNR_CAP) / (1 + snr) * error).mean()


def draw_timesteps(rng: np.random.Generator, batch: int) -> np.ndarray:
    """Draws (batch,) int64 in 0..999, on average `HIGH_NOISE_SHARE` of them from `HIGH_NOISE` on."""
    high = rng.random(batch) < HIGH_NOISE_SHARE
    return np.where(high, rng.integers(HIGH_NOISE, TIMESTEPS, size=batch), rng.integers(HIGH_NOISE, size=batch))


def place_weights(scenes: Sequence[Scene]) -> np.ndarray:
    """Returns the loss weight of each latent cell, (n, 16, 16) float32 with mean 1 for each scene."""
    weights = np.ones((len(scenes), SIDE // GRID, SIDE // GRID), np.float32)
    for cells, scene in zip(weights, scenes, strict=True):
        for thing in scene.things:
            left, top = ((centre - thing.pixels / 2) / GRID for centre in (thing.x, thing.y))
            right, bottom = (start + thing.pixels / GRID for start in (left, top))
            cells[max(0, int(top)) : math.ceil(bottom), max(0, int(left)) : math.ceil(right)] = THING_WEIGHT
    return weights / weights.mean((1, 2), keepdims=True)


def _optimizers(module: torch.nn.Module, weight_decay: float) -> Optimizers:
    return muon(module, weight_decay, APART)
