"""Scorers as differentiable losses of picture tensors.

Lower is better whatever the scorer's direction; values equal the scorer's own up to rounding of pixels and resizing. Preprocessing works
on tensors (rows, 3, height, width).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from limner.tools.scoring.adversarial import Adversarial
from limner.tools.scoring.aesthetic import AestheticScorer, apply_head
from limner.tools.scoring.base import Scorer
from limner.tools.scoring.clip import ClipEncoder, ClipScorer, SphericalClipScorer, spherical_loss
from limner.tools.scoring.hps import HpsScorer
from limner.tools.scoring.preprocessing import ClipPreprocessing, PadPreprocessing, normalise

if TYPE_CHECKING:
    import torch

PictureLoss = Callable[["torch.Tensor"], "torch.Tensor"]
"""Returns a loss for each picture, (rows,), of pictures (rows, 3, height, width) in [0, 1]."""


def differentiable(scorer: Scorer, reference: str) -> PictureLoss | None:
    """Returns the scorer as a loss for the text `reference`; None for scorers without a gradient (a judge, a server, an unknown class).

    An `Adversarial` scorer gives the negated loss.
    """
    if isinstance(scorer, Adversarial):
        inner = differentiable(scorer.scorer, reference)
        return None if inner is None else lambda pictures: -inner(pictures)
    if isinstance(scorer, AestheticScorer):
        return lambda pictures: -apply_head(scorer._layers, image_features(scorer.encoder, pictures))
    if not isinstance(scorer, ClipScorer | HpsScorer):
        return None
    encoder = scorer.encoder
    text = encoder.text_features([reference]).to(encoder.model.device)  # outside of any gradient, once for all pictures
    if isinstance(scorer, SphericalClipScorer):
        return lambda pictures: spherical_loss(image_features(encoder, pictures), text)
    return lambda pictures: -(image_features(encoder, pictures) * text).sum(dim=-1)


def image_features(encoder: ClipEncoder, pictures: torch.Tensor) -> torch.Tensor:
    """Returns unit features (rows, width) of pictures in [0, 1]; values outside are clamped, as they are when a picture is saved."""
    return encoder.encode_pixels(prepare(encoder, pictures.float().clamp(0, 1)))


def prepare(encoder: ClipEncoder, pictures: torch.Tensor) -> torch.Tensor:
    """Applies the encoder's preprocessing to tensors. Raises TypeError for an unknown kind of preprocessing."""
    steps = encoder.prepare
    if isinstance(steps, PadPreprocessing):
        return normalise(steps._shape(pictures))
    if isinstance(steps, ClipPreprocessing):
        return normalise(_shaped(steps, pictures), steps.mean, steps.std)
    raise TypeError(f"{type(steps).__name__} has no steps on tensors")


def _shaped(steps: ClipPreprocessing, pictures: torch.Tensor) -> torch.Tensor:
    from torch.nn import functional

    height, width = pictures.shape[-2:]
    sides = steps.fixed
    if steps.shortest:
        short = min(height, width)
        sides = tuple(steps.shortest if side == short else int(steps.shortest * side / short) for side in (height, width))  # type: ignore[assignment]
    if sides and tuple(sides) != (height, width):
        # Pillow's bicubic is antialiased; other filters are replaced by it, which is close enough for a gradient.
        pictures = functional.interpolate(pictures, sides, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
    if steps.crop:
        top, left = (pictures.shape[-2] - steps.crop[0]) // 2, (pictures.shape[-1] - steps.crop[1]) // 2
        pictures = pictures[..., top : top + steps.crop[0], left : left + steps.crop[1]]
    return pictures
