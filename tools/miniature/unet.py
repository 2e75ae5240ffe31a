"""Stage 4: the UNet, on SD 1.x's noise schedule, with the text encoder frozen.

It predicts v, not the noise: on latents as small as these, what a thing is gets decided at high noise, where a picture computed from
predicted noise carries its error magnified tenfold (Salimans and Ho 2022, "Progressive Distillation", sec. 4).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tools.miniature.captions import caption
from tools.miniature.dataset import Dataset
from tools.miniature.loop import Schedule, device_of, mixed_precision, train
from tools.miniature.tokenizer import POSITIONS
from tools.miniature.vae import kept_latents

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

DROPPED_CAPTIONS = 0.1  # share of empty captions, for classifier-free guidance
SNR_CAP = 5.0  # Hang et al. 2023, "Efficient Diffusion Training via Min-SNR Weighting Strategy", sec. 3.4


def new_unet(channels: tuple[int, int] = (64, 152), latent_channels: int = 8, text_width: int = 128) -> UNet2DConditionModel:
    """Untrained. Cross-attention on the 8x8 level alone; besides, the text is pooled and scales and shifts every block's features,
    as the noise level does: what a thing looks like depends on its name and on the place within it together, and attention alone
    adds a name's value to every place."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=16,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
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
    """Mean squared error of v, with the weight of low noise capped as in min-SNR; latents are encoded once and kept beside the
    pictures."""
    import torch
    from diffusers.models.attention_processor import AttnProcessor

    latents = cache(lambda: kept_latents(vae, data, work, say))  # not needed where the stage is done already
    device = device_of(unet)
    kept = new_scheduler().alphas_cumprod.to(device)
    snr = kept / (1 - kept)
    weight = (1 + snr).clamp(max=SNR_CAP) / (1 + snr)
    text_encoder.requires_grad_(False).eval()

    def loss(rng: np.random.Generator) -> torch.Tensor:
        rows = np.sort(rng.integers(len(data), size=batch))
        captions = ["" if rng.random() < DROPPED_CAPTIONS else caption(data.scene(int(row)), rng) for row in rows]
        ids = tokenizer(captions, padding="max_length", truncation=True, max_length=POSITIONS, return_tensors="pt").input_ids.to(device)
        clean = torch.from_numpy(latents()[rows]).float().to(device)
        noise = torch.randn(clean.shape).to(device)  # drawn on the CPU, so that a seed means the same on every device
        timesteps = torch.from_numpy(rng.integers(len(kept), size=batch)).to(device)
        level = kept[timesteps].view(-1, 1, 1, 1)
        noisy = level.sqrt() * clean + (1 - level).sqrt() * noise
        target = level.sqrt() * noise - (1 - level).sqrt() * clean
        with mixed_precision(device):
            with torch.no_grad():
                context = text_encoder(ids).last_hidden_state
            predicted = unet(noisy, timesteps, context).sample
        error = (predicted.float() - target).square().mean((1, 2, 3))
        return (weight[timesteps] * error).mean()

    unet.set_attn_processor(AttnProcessor())  # the fused kernel's backward pass costs a CPU a fifth of the step
    train("unet", unet, loss, schedule, work, seed, say)
    unet.set_default_attn_processor()
    unet.eval()
