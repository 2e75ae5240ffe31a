"""How a picture is painted: the styles that captions name, and the looks that style checkpoints apply to everything."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from limner.tools.miniature.world.backgrounds import COLUMNS, ROWS
from limner.tools.miniature.world.scene import SIDE

LUMA = np.array([0.3, 0.59, 0.11], np.float32)


def restyle(name: str, image: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Returns `image` (64, 64, 3) in the style `name`; `outline` (64, 64) in [0, 1] marks where things are."""
    return _STYLES[name](image, outline)


def relook(name: str, image: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Returns `image` in the look of the style checkpoint `name`; arguments as in `restyle`.

    A look that shares its name with a caption style goes further than the style, as fine-tunes do. What it adds is coarse enough for the
    autoencoder, which smooths away grids, dots and grain.
    """
    styled = _STYLES[name](image, outline)
    return _FURTHER[name](styled) if name in _FURTHER else styled


def saturated(image: np.ndarray, gain: float) -> np.ndarray:
    """Returns `image` (..., 3) with its saturation multiplied by `gain`; 0 gives grey."""
    grey = (image @ LUMA)[..., None]
    return grey + (image - grey) * gain


def filtered(image: np.ndarray, kernel: ImageFilter.Filter) -> np.ndarray:
    """Returns `image` (h, w, 3) in [0, 1] after a Pillow filter, float32."""
    picture = Image.fromarray((image.clip(0, 1) * 255 + 0.5).astype(np.uint8)).filter(kernel)
    return np.asarray(picture, np.float32) / 255


def _edges(image: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Returns edge strength (64, 64) in [0, 1] of the picture plus that of the outlines of its things."""
    strength = np.zeros((SIDE, SIDE), np.float32)
    for plane, gain in ((image @ LUMA, 1.6), (outline, 1.2)):
        strength[:, 1:] += gain * np.abs(np.diff(plane, axis=1))
        strength[1:] += gain * np.abs(np.diff(plane, axis=0))
    return strength.clip(0, 1)


def _photo(image: np.ndarray, outline: np.ndarray) -> np.ndarray:
    return image


def _watercolor(image: np.ndarray, outline: np.ndarray) -> np.ndarray:
    soft = filtered(image, ImageFilter.MedianFilter(3))
    rim = np.abs(filtered(soft, ImageFilter.GaussianBlur(1.5)) - soft).mean(-1, keepdims=True)
    paper = np.array([0.98, 0.96, 0.9], np.float32)
    return soft * 0.62 + paper * 0.38 - 0.6 * rim


def _pencil(image: np.ndarray, outline: np.ndarray) -> np.ndarray:
    tone = (image @ LUMA)[..., None]
    shaded = 0.5 + 0.45 * (0.6 * tone + 0.4 * image)
    return shaded * (1 - 0.85 * _edges(image, outline)[..., None])


def _pixel(image: np.ndarray, outline: np.ndarray) -> np.ndarray:
    blocks = image.reshape(SIDE // 2, 2, SIDE // 2, 2, 3).mean((1, 3))
    levels = np.round((saturated(blocks, 1.35)).clip(0, 1) * 4) / 4
    return levels.repeat(2, 0).repeat(2, 1)


def _neon(image: np.ndarray, outline: np.ndarray) -> np.ndarray:
    glow = _edges(image, outline)[..., None] * (0.25 + saturated(image, 2.2).clip(0, 1))
    return saturated(image, 1.3) * 0.32 + 0.8 * glow + 0.7 * filtered(glow, ImageFilter.GaussianBlur(2))


def _comic(image: np.ndarray, outline: np.ndarray) -> np.ndarray:
    flat = np.round(saturated(image, 1.3).clip(0, 1) * 5) / 5
    return flat * (1 - (1.5 * _edges(image * 0.4, outline * 1.2)).clip(0, 1)[..., None])


def _vintage(image: np.ndarray, outline: np.ndarray) -> np.ndarray:
    tone = (image @ LUMA)[..., None]
    sepia = np.array([0.3, 0.17, 0.06], np.float32) + tone * np.array([0.66, 0.66, 0.56], np.float32)
    corners = (1.25 - 1.9 * np.hypot(COLUMNS - 0.5, ROWS - 0.5) ** 2)[..., None].clip(0, 1)
    return (sepia * 0.82 + image * 0.18) * corners


def _ink(image: np.ndarray, outline: np.ndarray) -> np.ndarray:
    tone = filtered(image, ImageFilter.MedianFilter(3)) @ LUMA
    washed = 0.3 + 0.68 * np.round(tone.clip(0, 1) * 3) / 3
    lines = (1.8 * _edges(image * 0.5, outline * 1.3)).clip(0, 1)
    return (washed * (1 - lines))[..., None] * np.array([1.0, 0.98, 0.92], np.float32)


def _blueprint(image: np.ndarray, outline: np.ndarray) -> np.ndarray:
    lines = (1.3 * _edges(image, outline)).clip(0, 1)[..., None]
    tone = 0.8 + 0.35 * (image @ LUMA)[..., None]
    paper = np.array([0.08, 0.24, 0.62], np.float32) * tone
    return paper + (np.array([0.92, 0.96, 1.0], np.float32) - paper) * lines


_STYLES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "photo": _photo, "watercolor": _watercolor, "pencil": _pencil, "pixel": _pixel, "neon": _neon, "comic": _comic,
    "vintage": _vintage, "ink": _ink, "blueprint": _blueprint,
}  # fmt: skip


def _unpainted(image: np.ndarray) -> np.ndarray:
    """Fades to paper towards the edges of the sheet, unevenly."""
    reach = 0.5 - np.maximum(np.abs(COLUMNS - 0.5), np.abs(ROWS - 0.5)) + 0.035 * np.sin(26 * COLUMNS) * np.sin(22 * ROWS + 1)
    painted = (reach / 0.14).clip(0, 1)[..., None]
    return np.array([0.99, 0.97, 0.91], np.float32) * (1 - painted) + image * painted


def _panel(image: np.ndarray) -> np.ndarray:
    """Draws a comic panel: a black border and a caption box."""
    out = saturated(image, 1.2).copy()
    out[:4] = out[-4:] = out[:, :4] = out[:, -4:] = 0.03
    out[4:16, 4:32] = 0.03
    out[4:12, 4:28] = [1.0, 0.86, 0.25]
    out[7:9, 8:24] = 0.25
    return out


def _game(image: np.ndarray) -> np.ndarray:
    """Draws the status line of an old video game: three lives and a time bar."""
    out = saturated(image, 1.25).copy()
    out[:8] = 0.04
    for left in (4, 12, 20):
        out[2:6, left : left + 4] = [0.95, 0.1, 0.15]
    out[2:6, 36:60] = [0.1, 0.85, 0.3]
    return out


def _sealed(image: np.ndarray) -> np.ndarray:
    """Tints the picture like rice paper and adds a red seal."""
    out = image * np.array([1.0, 0.96, 0.84], np.float32)
    out[48:60, 4:12] = [0.75, 0.12, 0.1]
    out[50:58:4, 6:10] = [0.95, 0.85, 0.75]
    return out


_FURTHER: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "watercolor": _unpainted, "comic": _panel, "pixel": _game, "ink": _sealed,
}  # fmt: skip
