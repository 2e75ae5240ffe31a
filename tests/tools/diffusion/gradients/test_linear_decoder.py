"""The decoder whose way back is linear: the checkpoint's pictures forward, a gradient of about its direction backward."""

from __future__ import annotations

import torch

from limner.tools.diffusion.checkpoint import Checkpoint
from limner.tools.diffusion.gradients.linear_decoder import LinearDecoder, StraightThrough, fit_linear_decoder


def test_a_linear_map_is_found_again() -> None:
    """Fitted to a decoder that is linear, it is that decoder."""
    generator = torch.Generator().manual_seed(0)
    true = LinearDecoder(0.1 * torch.randn(12, 4, 5, 5, generator=generator), torch.randn(12, generator=generator), 2)

    class Linear:
        vae_factor = 2

        def decode(self, latents: torch.Tensor) -> torch.Tensor:
            return true(latents)

    latents = torch.randn(16, 4, 12, 12, generator=generator)
    found = fit_linear_decoder(Linear(), latents)  # type: ignore[arg-type]
    fresh = torch.randn(2, 4, 12, 12, generator=generator)
    assert torch.allclose(found(fresh), true(fresh), atol=1e-2)


def test_pictures_are_the_checkpoints_and_the_gradient_is_the_linear_maps(sd1: Checkpoint) -> None:
    generator = torch.Generator().manual_seed(0)
    linear = fit_linear_decoder(sd1, torch.randn(8, 4, 8, 8, generator=generator))
    through = StraightThrough(sd1, linear)
    latents = torch.randn(2, 4, 8, 8, generator=generator)
    leaf, other = latents.clone().requires_grad_(), latents.clone().requires_grad_()
    picture = through(leaf)
    assert torch.allclose(picture.detach(), sd1.decode(latents), atol=1e-5)
    picture.sum().backward()
    linear(other).sum().backward()
    assert torch.equal(leaf.grad, other.grad) and leaf.grad.abs().max() > 0  # type: ignore[arg-type, union-attr]
