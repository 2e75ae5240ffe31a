"""Preprocessing of pictures for image towers. Scorers differ in this step, and a score is only valid with its own.

Uses Pillow and torch alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from limner.promptdb.errors import BadInput
from limner.tools.diffusion.weights import read_json

if TYPE_CHECKING:
    import torch

MEAN = (0.48145466, 0.4578275, 0.40821073)  # OpenAI's, of pixels in [0, 1]
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class ClipPreprocessing:
    """CLIPImageProcessor's steps: resize the shortest side (or to a fixed height and width), crop the centre, normalise."""

    shortest: int | None
    fixed: tuple[int, int] | None
    crop: tuple[int, int] | None
    resample: Image.Resampling = Image.Resampling.BICUBIC
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD

    @classmethod
    def read(cls, folder: Path, image_size: int) -> ClipPreprocessing:
        """Reads `preprocessor_config.json`; without it CLIP's own steps apply.

        Raises BadInput where the result is not `image_size` squared.
        """
        file = folder / "preprocessor_config.json"
        if not file.exists():
            return cls(image_size, None, (image_size, image_size))
        document = read_json(file)
        try:
            size, crop = document.get("size", image_size), document.get("crop_size", image_size)
            size = {"shortest_edge": size} if isinstance(size, int) else size
            crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop
            resize = document.get("do_resize", True)
            read = cls(
                shortest=size.get("shortest_edge") if resize else None,
                fixed=(size["height"], size["width"]) if resize and "shortest_edge" not in size else None,
                crop=(crop["height"], crop["width"]) if document.get("do_center_crop", True) else None,
                resample=Image.Resampling(document.get("resample", Image.Resampling.BICUBIC)),
                mean=tuple(document.get("image_mean", MEAN)),
                std=tuple(document.get("image_std", STD)),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInput(f"{file} is not a CLIP image processor's ({error}): fetch it again") from error
        if (read.crop or read.fixed) != (image_size, image_size):
            raise BadInput(f"{file} makes pictures of {read.crop or read.fixed}, but the model beside it reads {image_size}x{image_size}")
        return read

    def __call__(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Returns (n, 3, height, width) float32."""
        return normalise(to_unit(self._shape(image.convert("RGB")) for image in images), self.mean, self.std)

    def _shape(self, image: Image.Image) -> Image.Image:
        if self.shortest:
            short = min(image.size)
            sides = [self.shortest if side == short else int(self.shortest * side / short) for side in image.size]
            image = image.resize(sides, self.resample)
        elif self.fixed:
            image = image.resize(self.fixed[::-1], self.resample)
        if self.crop:
            left, top = (image.width - self.crop[1]) // 2, (image.height - self.crop[0]) // 2
            image = image.crop((left, top, left + self.crop[1], top + self.crop[0]))
        return image


def to_unit(images: Iterable[Image.Image]) -> torch.Tensor:
    """Converts RGB pictures of equal size to (n, 3, height, width) float32 in [0, 1]."""
    import torch

    return torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2).float() / 255


def normalise(pixels: torch.Tensor, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> torch.Tensor:
    """Subtracts `mean` and divides by `std`, channel by channel; differentiable."""
    return (pixels - pixels.new_tensor(mean).view(1, -1, 1, 1)) / pixels.new_tensor(std).view(1, -1, 1, 1)


@dataclass(frozen=True)
class PadPreprocessing:
    """HPS's steps: longest side to `size`, bicubic with antialiasing on the float picture, centred on black, then OpenAI's mean and std.

    Nothing is cropped, so a picture's aspect ratio matters. The original does not pad where the longest side already equals `size`; this
    does.
    """

    size: int

    def __call__(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Returns (n, 3, size, size) float32."""
        import torch

        return normalise(torch.cat([self._shape(to_unit([image.convert("RGB")])) for image in images]))

    def _shape(self, pixels: torch.Tensor) -> torch.Tensor:
        from torch.nn import functional

        height, width = pixels.shape[-2:]
        scale = self.size / max(height, width)
        sides = max(1, round(height * scale)), max(1, round(width * scale))
        if sides != (height, width):
            pixels = functional.interpolate(pixels, sides, mode="bicubic", align_corners=False, antialias=True)
        below, right = self.size - sides[0], self.size - sides[1]
        return functional.pad(pixels, (right // 2, right - right // 2, below // 2, below - below // 2), value=0.0)
