"""Rates how beautiful a picture is, whatever the prompt: a head on CLIP's unit image features.

Reads the head of LAION's aesthetic predictor v2 (improved-aesthetic-predictor: five linear layers, in one variant with ReLUs between
them) or a single linear layer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from limner.promptdb.errors import BadInput
from limner.tools.diffusion.weights import file_hash
from limner.tools.scoring.clip import ClipEncoder, check_pairs, to_numbers
from limner.tools.scoring.published import read_tensors

if TYPE_CHECKING:
    import torch

HEAD_FILE = "head.safetensors"
# Indices of the linear layers in LAION's Sequential, without and with ReLUs between them (dropout has no effect at inference).
LINEAR_LAYERS = (0, 2, 4, 6, 7)
RELU_LAYERS = (0, 3, 6, 9, 11)

Layers = list[tuple["torch.Tensor", "torch.Tensor"]]


class AestheticScorer:
    """LAION's aesthetic score, about 1 to 10, for most pictures 4 to 7. The text is ignored."""

    higher_is_better = True

    def __init__(self, encoder: ClipEncoder, head: Path, name: str = "aesthetic", held_out: bool = False) -> None:
        layers = read_head(head)
        width = int(encoder.model.config.projection_dim)
        if layers[0][0].shape[1] != width:
            reads = layers[0][0].shape[1]
            raise BadInput(f"{head} reads features of {reads} numbers, but the CLIP model gives {width}: use the CLIP it was trained on")
        self.encoder = encoder
        self.name = name
        self.held_out = held_out
        self.version = f"{encoder.version}-{file_hash(head)[:12]}"
        self._layers = [(weight.to(encoder.model.device), bias.to(encoder.model.device)) for weight, bias in layers]

    def score(self, images: Sequence[Image.Image], texts: Sequence[str]) -> np.ndarray:
        """Returns the score of each image, (n,) float32. Raises ValueError where `images` and `texts` differ in length."""
        check_pairs(images, texts)
        return to_numbers(apply_head(self._layers, self.encoder.image_features(images)))


def apply_head(layers: Layers, features: torch.Tensor) -> torch.Tensor:
    """Returns scores (n,) of unit features (n, width), with ReLUs between several layers; differentiable."""
    import torch

    for index, (weight, bias) in enumerate(layers):
        features = torch.nn.functional.linear(torch.relu(features) if index else features, weight, bias)
    return features.squeeze(-1)


def read_head(path: Path) -> Layers:
    """Returns the layers of a head file; layers without ReLUs between them are folded into one.

    Raises BadInput where the file is not a head.
    """
    import torch

    tensors = read_tensors(path)
    if "weight" in tensors:
        weight = tensors["weight"].reshape(1, -1)
        return [(weight, tensors.get("bias", torch.zeros(1)).reshape(1))]
    places = tuple(sorted(int(match[1]) for key in tensors if (match := re.fullmatch(r"layers\.(\d+)\.weight", key))))
    if places not in (LINEAR_LAYERS, RELU_LAYERS):
        raise BadInput(f"{path} is no aesthetic head: it needs `weight` and `bias`, or LAION's layers {LINEAR_LAYERS} or {RELU_LAYERS}")
    layers = _layers(tensors, places, path)
    return [fold(layers)] if places == LINEAR_LAYERS else layers


def fold(layers: Layers) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns consecutive linear layers as one, computed in float64: five products in float32 would change the fourth decimal."""
    weight, bias = (tensor.double() for tensor in layers[0])
    for next_weight, next_bias in layers[1:]:
        weight, bias = next_weight.double() @ weight, next_weight.double() @ bias + next_bias.double()
    return weight.float(), bias.float()


def _layers(tensors: Mapping[str, torch.Tensor], places: tuple[int, ...], path: Path) -> Layers:
    try:
        layers = [(tensors[f"layers.{place}.weight"], tensors[f"layers.{place}.bias"]) for place in places]
    except KeyError as error:
        raise BadInput(f"{path} lacks {error}: fetch it again") from error
    sizes = [weight.shape for weight, _ in layers]
    if any(left[0] != right[1] for left, right in pairwise(sizes)) or sizes[-1][0] != 1:
        raise BadInput(f"{path}: its layers do not follow one another: fetch it again")
    return layers
