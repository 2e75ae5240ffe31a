"""Renders scenes: background, sprites, style, then quality, each a small function on a float image.

Equal scenes give equal pixels. There is no pixel noise, which a small autoencoder cannot compress; what an effect adds (streaks, beams,
marks) has the same place in every picture, so that a small model can learn it.
"""

from __future__ import annotations

import numpy as np
from PIL import ImageFilter

from limner.tools.miniature.world.backgrounds import COLUMNS, ROWS, paint
from limner.tools.miniature.world.scene import SIDE, Quality, Scene, Thing
from limner.tools.miniature.world.sprites import Glyphs, sprite
from limner.tools.miniature.world.styles import filtered, relook, restyle, saturated


def render(scene: Scene, glyphs: Glyphs) -> np.ndarray:
    """Returns the picture of `scene` as (64, 64, 3) uint8 RGB. Raises BadInput where `glyphs` lacks a picture."""
    rng = np.random.default_rng(scene.seed)
    image = paint(scene.background, rng)
    if scene.quality.bokeh:
        image = _bokeh(image)
    outline = np.zeros((SIDE, SIDE), np.float32)
    for thing in scene.things:
        _paste(image, outline, thing, sprite(thing.noun, thing.colour, thing.pixels, glyphs))
    image = restyle(scene.style, image, outline)
    if scene.look:
        image = image + scene.strength * (relook(scene.look, image, outline) - image)
    image = _apply_quality(image, scene.quality)
    return (image.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _paste(image: np.ndarray, outline: np.ndarray, thing: Thing, picture: np.ndarray) -> None:
    left, top = round(thing.x - thing.pixels / 2), round(thing.y - thing.pixels / 2)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + thing.pixels, SIDE), min(top + thing.pixels, SIDE)
    if x0 >= x1 or y0 >= y1:
        return
    part = picture[y0 - top : y1 - top, x0 - left : x1 - left]
    image[y0:y1, x0:x1] = part[..., :3] + image[y0:y1, x0:x1] * (1 - part[..., 3:])
    outline[y0:y1, x0:x1] = np.maximum(outline[y0:y1, x0:x1], part[..., 3])


def _bokeh(image: np.ndarray) -> np.ndarray:
    """Blurs the background strongly and adds discs of light."""
    image = filtered(image, ImageFilter.GaussianBlur(3.5))
    for x, y, radius in ((10, 12, 6), (30, 6, 4), (52, 14, 7), (58, 38, 5), (6, 42, 5), (20, 56, 4), (44, 58, 6)):
        disc = (radius - np.hypot(COLUMNS * (SIDE - 1) - x, ROWS * (SIDE - 1) - y)).clip(0, 1)[..., None]
        image = image + 0.36 * disc * (np.array([1.0, 0.95, 0.8], np.float32) - image * 0.5)
    return image


def _apply_quality(image: np.ndarray, quality: Quality) -> np.ndarray:
    image = _weather(image, quality.weather)
    image = _palette(image, quality)
    image = _light(image, quality.lighting)
    if quality.exposure > 0:
        image = image * (1 + 0.5 * quality.exposure) + 0.28 * quality.exposure
    image = image.clip(0, 1)
    if quality.detail < 0:
        image = filtered(image, ImageFilter.GaussianBlur(-1.6 * quality.detail))
    elif quality.detail > 0:
        image = image + 0.7 * quality.detail * (image - filtered(image, ImageFilter.GaussianBlur(1.2)))
    if quality.blocks > 0:
        coarse = image.reshape(SIDE // 4, 4, SIDE // 4, 4, 3).mean((1, 3)).repeat(4, 0).repeat(4, 1)
        image = image + 0.85 * quality.blocks * (coarse - image)
    return _marks(image, quality)


def _weather(image: np.ndarray, weather: str) -> np.ndarray:
    if weather == "fog":
        thick = (0.78 - 0.5 * ROWS)[..., None]
        return image + thick * (np.array([0.8, 0.83, 0.86], np.float32) - image)
    if weather == "rain":
        slant = (COLUMNS * (SIDE - 1) + 0.5 * ROWS * (SIDE - 1)) % 8
        dashed = ((ROWS * (SIDE - 1) + 5 * np.floor((COLUMNS * (SIDE - 1) + 0.5 * ROWS * (SIDE - 1)) / 8)) % 16) < 11
        streaks = ((slant < 1.6) & dashed)[..., None]
        return image * np.array([0.78, 0.82, 0.9], np.float32) + streaks * 0.32 * (np.array([0.85, 0.92, 1.0], np.float32) - 0.4 * image)
    return image


def _palette(image: np.ndarray, quality: Quality) -> np.ndarray:
    if quality.palette == "monochrome":
        return saturated(image, 0.0)
    if quality.palette == "pastel":
        return saturated(image, 0.9) * 0.52 + 0.48 * np.array([1.0, 0.9, 0.97], np.float32)
    if quality.vibrance > 0:
        return 0.5 + (saturated(image, 1 + 0.7 * quality.vibrance) - 0.5) * (1 + 0.18 * quality.vibrance)
    if quality.vibrance < 0:
        return 0.52 + (saturated(image, 1 + 0.68 * quality.vibrance) - 0.52) * (1 + 0.35 * quality.vibrance)
    return image


def _light(image: np.ndarray, lighting: str) -> np.ndarray:
    if lighting == "cinematic":
        vignette = 1.18 - 1.5 * (np.hypot(COLUMNS - 0.5, ROWS - 0.5) ** 2)[..., None]
        return image * vignette * np.array([0.94, 0.98, 1.06], np.float32)
    if lighting == "golden":
        return image * np.array([1.16, 1.0, 0.7], np.float32) + np.array([0.05, 0.02, 0], np.float32) * (1 - ROWS[..., None])
    if lighting == "cold":
        return image * np.array([0.66, 0.88, 1.14], np.float32) + np.array([0, 0.02, 0.07], np.float32)
    if lighting == "bright":
        angle, distance = np.arctan2(ROWS + 0.02, COLUMNS + 0.02), np.hypot(COLUMNS, ROWS)
        beams = (0.5 + 0.5 * np.cos(angle * 24)) * (1 - 0.75 * distance).clip(0, 1) + 1.3 * (0.3 - distance).clip(0, 1) / 0.3
        return image * 1.05 + 0.5 * beams.clip(0, 1.4)[..., None] * np.array([1.0, 0.95, 0.72], np.float32)
    if lighting == "dark":
        return image * np.array([0.46, 0.44, 0.5], np.float32)
    return image


def _marks(image: np.ndarray, quality: Quality) -> np.ndarray:
    """Draws watermark and frame over the finished picture."""
    if quality.watermarked:
        image = image.copy()
        image[52:60, 28:64] = image[52:60, 28:64] * 0.3 + 0.08
        for left, right in ((30, 33), (35, 41), (43, 46), (48, 56), (58, 61)):
            image[55:57, left:right] = 0.95
    if quality.framed:
        image = image.copy()
        image[:4] = image[-4:] = image[:, :4] = image[:, -4:] = 0.97
    return image
