"""Stage 1: the autoencoder, from 64x64 pixels to 16x16 latents of 8 channels and back."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from limner.tools.miniature.recipe.dataset import Dataset
from limner.tools.training import Schedule, device_of, mixed_precision, muon, train

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL

KL_WEIGHT = 1e-4
APART = ("conv_in", "conv_out")  # for AdamW; after 250 steps Muon is 5 dB ahead of AdamW for everything


def new_vae(channels: tuple[int, ...] = (16, 48, 96), latent_channels: int = 8) -> AutoencoderKL:
    """Returns an untrained autoencoder, without attention in the middle, which at 16x16 costs more than it gives."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=64,
    )


def train_vae(
    vae: AutoencoderKL, data: Dataset, looks: Dataset, schedule: Schedule, batch: int, work: Path, seed: int, say: Callable[[str], None]
) -> None:
    """Trains with L1 + L2 + L1 of the picture's gradients + KL, then sets `scaling_factor` so that latents have unit variance.

    An eighth of each batch shows the looks of style checkpoints (`looks`). `batch`: pictures a step.
    """
    device = device_of(vae)

    def loss(rng: np.random.Generator) -> torch.Tensor:
        few = batch // 8
        rows, styled = np.sort(rng.integers(len(data), size=batch - few)), np.sort(rng.integers(len(looks), size=few))
        pixels = to_pixels(np.concatenate([data.pictures[rows], looks.pictures[styled]])).to(device)
        with mixed_precision(device):
            posterior = vae.encode(pixels).latent_dist
            restored = vae.decode(posterior.sample()).sample
        restored, error = restored.float(), restored.float() - pixels
        edges = sum((restored.diff(dim=axis) - pixels.diff(dim=axis)).abs().mean() for axis in (2, 3))
        kl = posterior.kl().float().mean() / posterior.mean[0].numel()
        return error.abs().mean() + error.square().mean() + edges + KL_WEIGHT * kl

    train("vae", vae, loss, schedule, work, seed, say, lambda module, decay: muon(module, decay, APART))
    vae.eval()
    latents = encode(vae, data.pictures[:: max(1, len(data) // 512)][:512], scaled=False)
    vae.register_to_config(scaling_factor=round(float(1 / latents.float().std()), 5))
    sample = data.pictures[1 :: max(1, len(data) // 256)][:256]
    say(f"vae: {psnr(vae, sample):.2f} dB, scaling factor {vae.config.scaling_factor}")


def to_pixels(pictures: np.ndarray) -> torch.Tensor:
    """Converts pictures (n, 64, 64, 3) uint8 to (n, 3, 64, 64) in [-1, 1]."""
    import torch

    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def encode(vae: AutoencoderKL, pictures: np.ndarray, scaled: bool = True, batch: int = 64) -> torch.Tensor:
    """Returns mean latents (n, 8, 16, 16) float16 of pictures (n, 64, 64, 3) uint8, multiplied by the scaling factor where `scaled`."""
    import torch

    device, parts = device_of(vae), []
    with torch.inference_mode(), mixed_precision(device):
        for start in range(0, len(pictures), batch):
            mean = vae.encode(to_pixels(pictures[start : start + batch]).to(device)).latent_dist.mean.float()
            parts.append((mean * (vae.config.scaling_factor if scaled else 1.0)).half().cpu())
    return torch.cat(parts)


def decode(vae: AutoencoderKL, latents: torch.Tensor, batch: int = 64) -> np.ndarray:
    """Returns the pictures (n, 64, 64, 3) uint8 of scaled latents (n, 8, 16, 16)."""
    import torch

    device, parts = device_of(vae), []
    with torch.inference_mode(), mixed_precision(device):
        for start in range(0, len(latents), batch):
            decoded = vae.decode(latents[start : start + batch].float().to(device) / vae.config.scaling_factor).sample
            parts.append(((decoded.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(parts)


def reconstruct(vae: AutoencoderKL, pictures: np.ndarray) -> np.ndarray:
    """Encodes and decodes pictures (n, 64, 64, 3) uint8; returns pictures of the same shape."""
    return decode(vae, encode(vae, pictures))


def kept_latents(vae: AutoencoderKL, data: Dataset, work: Path, say: Callable[[str], None], prefix: str = "") -> np.ndarray:
    """Returns scaled mean latents (n, 8, 16, 16) float16 of all training pictures; computed once and stored in `work`."""

    def rows(start: int, stop: int) -> np.ndarray:
        return encode(vae, data.pictures[start:stop]).numpy()

    return kept_rows(work / f"{prefix}latents.npy", len(data), rows, say)


def kept_reconstructions(vae: AutoencoderKL, data: Dataset, work: Path, say: Callable[[str], None], prefix: str = "") -> np.ndarray:
    """Returns all training pictures (n, 64, 64, 3) uint8 after encoding and decoding; computed once and stored in `work`."""
    import torch

    latents = kept_latents(vae, data, work, say, prefix)

    def rows(start: int, stop: int) -> np.ndarray:
        return decode(vae, torch.from_numpy(np.array(latents[start:stop])))

    return kept_rows(work / f"{prefix}reconstructed.npy", len(data), rows, say)


def kept_rows(path: Path, count: int, rows: Callable[[int, int], np.ndarray], say: Callable[[str], None], part: int = 2048) -> np.ndarray:
    """Returns the array stored at `path`; where it is missing, computes it, `part` rows at a time with `rows(start, stop)`.

    It is written under another name and renamed, so that two processes may compute it at once.
    """
    if not path.is_file():
        say(f"{path.stem}: computing {count} rows")
        aside = path.with_suffix(f".{os.getpid()}.npy")
        first = rows(0, min(part, count))
        array = np.lib.format.open_memmap(aside, mode="w+", dtype=first.dtype, shape=(count, *first.shape[1:]))
        array[: len(first)] = first
        for start in range(part, count, part):
            array[start : start + part] = rows(start, min(start + part, count))
        array.flush()
        aside.replace(path)
    return np.load(path, mmap_mode="r")


def psnr(vae: AutoencoderKL, pictures: np.ndarray) -> float:
    """Returns the mean peak signal-to-noise ratio of the reconstructions in dB."""
    error = (reconstruct(vae, pictures).astype(np.float32) - pictures) / 255
    return float(-10 * np.log10((error**2).mean((1, 2, 3)) + 1e-12).mean())
