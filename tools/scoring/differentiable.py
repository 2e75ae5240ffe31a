"""Scorers as losses of picture tensors, so that a gradient can flow from a score to what the picture was made from.

Lower is better whatever the scorer's direction; equal to the scorer's own values up to the rounding of pixels and of resizing.
Preprocessing is done on tensors of (rows, 3, height, width), never transposed.
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
"""Pictures in [0, 1], (rows, 3, height, width), to a loss each, (rows,)."""


def differentiable(scorer: Scorer, reference: str) -> PictureLoss | None:
    """The scorer as a loss of pictures for the text `reference`; None for one that has no gradient (a judge, a server, one of unknown
    kind). A scorer that is to be led astray (`adversarial`) gives the negated loss."""
    if isinstance(scorer, Adversarial):
        inner = differentiable(scorer.scorer, reference)
        return None if inner is None else lambda pictures: -inner(pictures)
    if isinstance(scorer, AestheticScorer):
        return lambda pictures: -apply_head(scorer._layers, image_features(scorer.encoder, pictures))
    if not isinstance(scorer, ClipScorer | HpsScorer):
        return None
    encoder = scorer.encoder
    text = encoder.text_features([reference]).to(encoder.model.device)  # before any gradient, and once
    if isinstance(scorer, SphericalClipScorer):
        return lambda pictures: spherical_loss(image_features(encoder, pictures), text)
    return lambda pictures: -(image_features(encoder, pictures) * text).sum(dim=-1)


def image_features(encoder: ClipEncoder, pictures: torch.Tensor) -> torch.Tensor:
    """Unit features, (rows, width), of pictures in [0, 1]; what lies outside is clamped, as it is when a picture is written."""
    return encoder.encode_pixels(prepare(encoder, pictures.float().clamp(0, 1)))


def prepare(encoder: ClipEncoder, pictures: torch.Tensor) -> torch.Tensor:
    """The encoder's own preprocessing, on tensors. Raises TypeError for one that is not known."""
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
        # Pillow's bicubic is the antialiased one; others are near enough for a gradient.
        pictures = functional.interpolate(pictures, sides, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
    if steps.crop:
        top, left = (pictures.shape[-2] - steps.crop[0]) // 2, (pictures.shape[-1] - steps.crop[1]) // 2
        pictures = pictures[..., top : top + steps.crop[0], left : left + steps.crop[1]]
    return pictures
