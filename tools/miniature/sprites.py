"""Emoji sprites from Debian's fonts-noto-color-emoji. Needed for training and truth renders only; drawing pictures needs no font."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from promptdb.errors import BadInput
from tools.miniature.vocabulary import COLOURS, NOUNS

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
GLYPH = 109  # the only size the bitmap font has, pixels


@lru_cache(maxsize=4096)
def sprite(noun: int, colour: str | None, pixels: int) -> np.ndarray:
    """(pixels, pixels, 4) float32 in [0, 1], premultiplied: the noun's sprite, tinted, fitted into a square."""
    rgba = np.asarray(_glyph(noun), np.float32) / 255
    if colour is not None:
        rgba = np.concatenate([_tint(rgba[..., :3], rgba[..., 3], COLOURS[colour]), rgba[..., 3:]], -1)
    rgba[..., :3] *= rgba[..., 3:]
    kernel = Image.Resampling.BOX if pixels < 30 else Image.Resampling.BILINEAR
    bands = [Image.fromarray(rgba[..., band]).resize((pixels, pixels), kernel, reducing_gap=2.0) for band in range(4)]
    return np.stack([np.asarray(band, np.float32) for band in bands], -1).clip(0, 1)


@lru_cache(maxsize=len(NOUNS))
def _glyph(noun: int) -> Image.Image:
    image = Image.new("RGBA", (160, 150), (0, 0, 0, 0))
    ImageDraw.Draw(image).text((8, 4), NOUNS[noun].emoji, font=_font(), embedded_color=True)
    box = image.getbbox()
    if box is None:
        raise BadInput(f"the emoji font has no picture for {NOUNS[noun].name!r}")
    image = image.crop(box)
    side = max(image.size)
    square = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont:
    if not FONT.is_file():
        raise BadInput(f"training needs the emoji font {FONT.name}: apt-get install fonts-noto-color-emoji")
    return ImageFont.truetype(str(FONT), GLYPH)


def _tint(rgb: np.ndarray, alpha: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Repaint in one colour, keeping the sprite's own light and shade, but brought to a middle brightness: a sprite that is dark all over
    would turn orange into brown."""
    luminance = rgb @ np.array([0.3, 0.59, 0.11], np.float32)
    inside = luminance[alpha > 0.5]
    low, high = np.quantile(inside, [0.04, 0.96]) if inside.size else (0.0, 1.0)
    shade = ((luminance - low) / max(high - low, 0.15)).clip(0, 1)
    middle = float(np.median(shade[alpha > 0.5])) if inside.size else 0.5
    shade = (shade ** np.clip(np.log(0.6) / np.log(np.clip(middle, 0.02, 0.98)), 0.3, 2.0))[..., None]
    target = np.array(colour, np.float32) / 255
    dark, light = target * 0.42, target + (1 - target) * 0.3
    return dark + (light - dark) * shade
