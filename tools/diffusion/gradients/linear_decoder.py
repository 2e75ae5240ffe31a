"""A cheap backward pass through the decoder: the checkpoint's own VAE forward, a linear map fitted to it backward.

A patch of pixels is predicted for each latent position from the positions around it (like the latent previews of image tools, but with
neighbours), by ridge regression on latents drawn by the checkpoint itself. The loss sees the true picture; only the VAE's Jacobian is
approximate. For gradients alone, never for pictures that are shown or scored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limner.tools.diffusion.checkpoint import Checkpoint

if TYPE_CHECKING:
    import torch

REACH = 5
RIDGE = 1e-4


class StraightThrough:
    """Decodes with the checkpoint's own decoder; gradients are those of `linear`."""

    def __init__(self, checkpoint: Checkpoint, linear: LinearDecoder) -> None:
        self.checkpoint = checkpoint
        self.linear = linear

    def __call__(self, latents: torch.Tensor) -> torch.Tensor:
        """Decodes (rows, channels, height, width) to (rows, 3, height * factor, width * factor), fp32."""
        import torch

        guess = self.linear(latents)
        with torch.no_grad():
            picture = self.checkpoint.decode(latents.detach())
        return guess + (picture - guess).detach()


class LinearDecoder:
    """`weight`: (3 factor^2, channels, 5, 5), `bias`: (3 factor^2,). Takes the sampler's latents; pictures are in [0, 1], not clamped."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, factor: int) -> None:
        self.weight = weight
        self.bias = bias
        self.factor = factor

    def __call__(self, latents: torch.Tensor) -> torch.Tensor:
        """Decodes (rows, channels, height, width) to (rows, 3, height * factor, width * factor), fp32, differentiable."""
        from torch.nn import functional

        padded = functional.pad(latents.float(), (REACH // 2,) * 4, mode="replicate")
        return functional.pixel_shuffle(functional.conv2d(padded, self.weight, self.bias), self.factor)


def fit_linear_decoder(checkpoint: Checkpoint, latents: torch.Tensor) -> LinearDecoder:
    """Fits the decoder to a few dozen clean latents (rows, channels, height, width) drawn by the checkpoint."""
    import torch
    from torch.nn import functional

    factor, channels = checkpoint.vae_factor, latents.shape[1]
    with torch.no_grad():
        pictures = torch.cat([checkpoint.decode(row[None]) for row in latents])
        padded = functional.pad(latents.float(), (REACH // 2,) * 4, mode="replicate")
        inputs = functional.unfold(padded, REACH).transpose(1, 2).reshape(-1, channels * REACH**2).double()
        targets = functional.pixel_unshuffle(pictures, factor).flatten(2).transpose(1, 2).reshape(len(inputs), -1).double()
        inputs = torch.cat([inputs, torch.ones(len(inputs), 1, dtype=torch.float64, device=inputs.device)], dim=1)
        square = inputs.T @ inputs
        square += RIDGE * len(inputs) * torch.eye(len(square), dtype=torch.float64, device=square.device)
        solved = torch.linalg.solve(square, inputs.T @ targets).float()
    weight = solved[:-1].T.reshape(-1, channels, REACH, REACH)
    return LinearDecoder(weight.contiguous(), solved[-1].contiguous(), factor)
