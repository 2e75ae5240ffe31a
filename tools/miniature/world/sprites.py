"""Emoji sprites: a thing's glyph, cut out, tinted and scaled.

The glyphs come from Debian's package fonts-noto-color-emoji. Training and rendered ground truth need it; generating pictures does not.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from limner.promptdb.errors import BadInput
from limner.tools.miniature.world.vocabulary import COLOURS, NOUNS

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
GLYPH = 109  # the only size the bitmap font has, pixels


class Glyphs(Hashable, Protocol):
    """A source of emoji pictures.

    It must be hashable, since sprites are cached by it, and picklable, since it is sent to worker processes.
    """

    def glyph(self, noun: int) -> Image.Image:
        """Returns the picture of NOUNS[noun] as RGBA of any size on transparent ground. Raises BadInput where it has no such picture."""


@dataclass(frozen=True)
class EmojiFont:
    """Glyphs from a bitmap font that has them at `GLYPH` pixels."""

    file: Path = FONT

    def glyph(self, noun: int) -> Image.Image:
        """Returns the picture of NOUNS[noun]: RGBA, 160x150, transparent where the font has none.

        Raises BadInput where the font is missing.
        """
        image = Image.new("RGBA", (160, 150), (0, 0, 0, 0))
        ImageDraw.Draw(image).text((8, 4), NOUNS[noun].emoji, font=_opened(self.file), embedded_color=True)
        return image


EMOJI_FONT = EmojiFont()


@lru_cache(maxsize=4096)
def sprite(noun: int, colour: str | None, pixels: int, glyphs: Glyphs) -> np.ndarray:
    """Returns the noun's sprite, tinted and scaled to a square: (pixels, pixels, 4) float32 in [0, 1], alpha premultiplied."""
    rgba = np.asarray(_cut_out(noun, glyphs), np.float32) / 255
    if colour is not None:
        rgba = np.concatenate([_tint(rgba[..., :3], rgba[..., 3], COLOURS[colour]), rgba[..., 3:]], -1)
    rgba[..., :3] *= rgba[..., 3:]
    kernel = Image.Resampling.BOX if pixels < 30 else Image.Resampling.BILINEAR
    bands = [Image.fromarray(rgba[..., band]).resize((pixels, pixels), kernel, reducing_gap=2.0) for band in range(4)]
    return np.stack([np.asarray(band, np.float32) for band in bands], -1).clip(0, 1)


@lru_cache(maxsize=len(NOUNS))
def _cut_out(noun: int, glyphs: Glyphs) -> Image.Image:
    """Returns the glyph, cropped to its box and centred in a square."""
    image = glyphs.glyph(noun)
    box = image.getbbox()
    if box is None:
        raise BadInput(f"the emoji font has no picture for {NOUNS[noun].name!r}")
    image = image.crop(box)
    side = max(image.size)
    square = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


@lru_cache(maxsize=1)
def _opened(file: Path) -> ImageFont.FreeTypeFont:
    if not file.is_file():
        raise BadInput(f"training needs the emoji font {file.name}: apt-get install fonts-noto-color-emoji")
    return ImageFont.truetype(str(file), GLYPH)


def _tint(rgb: np.ndarray, alpha: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Repaints in one colour.

    Keeps the sprite's shading but moves its mean to a middle brightness: a dark sprite would turn orange into brown.
    """
    luminance = rgb @ np.array([0.3, 0.59, 0.11], np.float32)
    inside = luminance[alpha > 0.5]
    low, high = np.quantile(inside, [0.04, 0.96]) if inside.size else (0.0, 1.0)
    shade = ((luminance - low) / max(high - low, 0.15)).clip(0, 1)
    middle = float(np.median(shade[alpha > 0.5])) if inside.size else 0.5
    shade = (shade ** np.clip(np.log(0.6) / np.log(np.clip(middle, 0.02, 0.98)), 0.3, 2.0))[..., None]
    target = np.array(colour, np.float32) / 255
    dark, light = target * 0.42, target + (1 - target) * 0.3
    return dark + (light - dark) * shade
