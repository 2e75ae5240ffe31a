"""Scene -> picture. Backgrounds, sprites, style, then quality, each a small function on a float image.

Deterministic: equal scenes give equal pixels. No pixel noise anywhere, since it cannot be compressed by a small autoencoder.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from tools.miniature.scene import SIDE, Quality, Scene, Thing
from tools.miniature.sprites import sprite

LUMA = np.array([0.3, 0.59, 0.11], np.float32)
ROWS, COLUMNS = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / (SIDE - 1)


def render(scene: Scene) -> np.ndarray:
    """(64, 64, 3) uint8, RGB."""
    rng = np.random.default_rng(scene.seed)
    image = _BACKGROUNDS[scene.background](rng)
    outline = np.zeros((SIDE, SIDE), np.float32)
    for thing in scene.things:
        _paste(image, outline, thing)
    image = _STYLES[scene.style](image, outline)
    image = _apply_quality(image, scene.quality)
    return (image.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _paste(image: np.ndarray, outline: np.ndarray, thing: Thing) -> None:
    picture = sprite(thing.noun, thing.colour, thing.pixels)
    left, top = round(thing.x - thing.pixels / 2), round(thing.y - thing.pixels / 2)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + thing.pixels, SIDE), min(top + thing.pixels, SIDE)
    if x0 >= x1 or y0 >= y1:
        return
    part = picture[y0 - top : y1 - top, x0 - left : x1 - left]
    image[y0:y1, x0:x1] = part[..., :3] + image[y0:y1, x0:x1] * (1 - part[..., 3:])
    outline[y0:y1, x0:x1] = np.maximum(outline[y0:y1, x0:x1], part[..., 3])


def _colour(rng: np.random.Generator, *rgb: int) -> np.ndarray:
    return (np.array(rgb, np.float32) + rng.uniform(-12, 12) + rng.uniform(-6, 6, 3)).astype(np.float32).clip(0, 255) / 255


def _gradient(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return top + (bottom - top) * ROWS[..., None]


def _ground(image: np.ndarray, line: np.ndarray | float, near: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Paint everything below `line` (a fraction of the height, per column) from `far` to `near`."""
    depth = ((ROWS - line) / np.maximum(1 - np.asarray(line), 1e-3)).clip(0, 1)[..., None]
    inside = ((ROWS - line) * SIDE).clip(0, 1)[..., None]
    return image * (1 - inside) + (far + (near - far) * depth) * inside


def _meadow(rng: np.random.Generator) -> np.ndarray:
    sky = _gradient(_colour(rng, 110, 182, 240), _colour(rng, 200, 230, 250))
    hills = 0.52 + 0.04 * np.sin(COLUMNS * 6 + rng.uniform(0, 6))
    return _ground(sky, hills, _colour(rng, 66, 150, 50), _colour(rng, 136, 200, 92))


def _beach(rng: np.random.Generator) -> np.ndarray:
    sky = _gradient(_colour(rng, 130, 205, 245), _colour(rng, 215, 240, 250))
    sea = _ground(sky, 0.36 + rng.uniform(-0.02, 0.02), _colour(rng, 60, 180, 196), _colour(rng, 20, 104, 170))
    shore = 0.6 + 0.025 * np.sin(COLUMNS * 9 + rng.uniform(0, 6))
    return _ground(sea, shore, _colour(rng, 236, 206, 146), _colour(rng, 246, 228, 180))


def _desert(rng: np.random.Generator) -> np.ndarray:
    sky = _gradient(_colour(rng, 246, 196, 120), _colour(rng, 252, 228, 172))
    far = _ground(sky, 0.46 + 0.06 * np.sin(COLUMNS * 5 + rng.uniform(0, 6)), _colour(rng, 214, 140, 70), _colour(rng, 226, 160, 86))
    return _ground(far, 0.66 + 0.06 * np.sin(COLUMNS * 4 + rng.uniform(0, 6)), _colour(rng, 176, 98, 46), _colour(rng, 202, 126, 62))


def _snow(rng: np.random.Generator) -> np.ndarray:
    sky = _gradient(_colour(rng, 150, 168, 190), _colour(rng, 196, 208, 220))
    hills = 0.5 + 0.05 * np.sin(COLUMNS * 5 + rng.uniform(0, 6))
    return _ground(sky, hills, _colour(rng, 246, 250, 252), _colour(rng, 222, 234, 246))


def _night(rng: np.random.Generator) -> np.ndarray:
    image = _gradient(_colour(rng, 12, 14, 44), _colour(rng, 36, 42, 92))
    for _ in range(9):
        y, x = int(rng.integers(2, 30)), int(rng.integers(1, SIDE - 2))
        image[y : y + 2, x : x + 2] = 0.85
    distance = np.hypot(COLUMNS - rng.choice([0.14, 0.86]), ROWS - 0.14)
    moon = ((0.09 - distance) * SIDE).clip(0, 1)[..., None]
    image = image * (1 - moon) + np.array([0.97, 0.95, 0.82], np.float32) * moon
    return _ground(image, 0.84, _colour(rng, 10, 18, 26), _colour(rng, 18, 30, 40))


def _city(rng: np.random.Generator) -> np.ndarray:
    image = _gradient(_colour(rng, 168, 180, 204), _colour(rng, 214, 214, 222))
    edges = np.sort(rng.choice(np.arange(4, SIDE - 4, 4), 6, replace=False))
    for x0, x1 in zip([0, *edges], [*edges, SIDE], strict=True):
        top = int(rng.integers(6, 30))
        image[top:44, x0:x1] = _colour(rng, *[(96, 92, 108), (128, 110, 104), (82, 96, 116)][int(rng.integers(3))])
        image[top + 3 : 42 : 6, x0 + 1 : x1 - 1] = _colour(rng, 226, 210, 150)
    return _ground(image, 0.68, _colour(rng, 66, 66, 72), _colour(rng, 100, 100, 106))


def _room(rng: np.random.Generator) -> np.ndarray:
    wall = _gradient(_colour(rng, 216, 196, 168), _colour(rng, 234, 216, 190))
    wall[6:26, 5:23] = _colour(rng, 150, 206, 236)
    wall[6:26, 13:15] = wall[15:17, 5:23] = 0.95
    return _ground(wall, 0.72, _colour(rng, 116, 70, 42), _colour(rng, 146, 94, 58))


def _sunset(rng: np.random.Generator) -> np.ndarray:
    image = _gradient(_colour(rng, 96, 48, 120), _colour(rng, 255, 150, 60))
    distance = np.hypot(COLUMNS - rng.uniform(0.2, 0.8), ROWS - 0.62)
    sun = ((0.15 - distance) * SIDE).clip(0, 1)[..., None]
    image = image * (1 - sun) + np.array([1.0, 0.9, 0.5], np.float32) * sun
    return _ground(image, 0.72, _colour(rng, 40, 22, 40), _colour(rng, 84, 40, 54))


_BACKGROUNDS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "meadow": _meadow, "beach": _beach, "desert": _desert, "snow": _snow, "night": _night, "city": _city, "room": _room, "sunset": _sunset,
}  # fmt: skip


def _filtered(image: np.ndarray, kernel: ImageFilter.Filter) -> np.ndarray:
    picture = Image.fromarray((image.clip(0, 1) * 255 + 0.5).astype(np.uint8)).filter(kernel)
    return np.asarray(picture, np.float32) / 255


def _edges(image: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Edge strength in [0, 1] of the picture and, stronger, of the things in it, (64, 64)."""
    strength = np.zeros((SIDE, SIDE), np.float32)
    for plane, gain in ((image @ LUMA, 1.6), (outline, 1.2)):
        strength[:, 1:] += gain * np.abs(np.diff(plane, axis=1))
        strength[1:] += gain * np.abs(np.diff(plane, axis=0))
    return strength.clip(0, 1)


def _photo(image: np.ndarray, outline: np.ndarray) -> np.ndarray:
    return image


def _watercolor(image: np.ndarray, outline: np.ndarray) -> np.ndarray:
    soft = _filtered(image, ImageFilter.MedianFilter(3))
    rim = np.abs(_filtered(soft, ImageFilter.GaussianBlur(1.5)) - soft).mean(-1, keepdims=True)
    paper = np.array([0.98, 0.96, 0.9], np.float32)
    return soft * 0.62 + paper * 0.38 - 0.6 * rim


def _pencil(image: np.ndarray, outline: np.ndarray) -> np.ndarray:
    tone = (image @ LUMA)[..., None]
    shaded = 0.5 + 0.45 * (0.6 * tone + 0.4 * image)
    return shaded * (1 - 0.85 * _edges(image, outline)[..., None])


def _pixel(image: np.ndarray, outline: np.ndarray) -> np.ndarray:
    blocks = image.reshape(SIDE // 2, 2, SIDE // 2, 2, 3).mean((1, 3))
    levels = np.round((_saturated(blocks, 1.35)).clip(0, 1) * 4) / 4
    return levels.repeat(2, 0).repeat(2, 1)


def _neon(image: np.ndarray, outline: np.ndarray) -> np.ndarray:
    glow = _edges(image, outline)[..., None] * (0.25 + _saturated(image, 2.2).clip(0, 1))
    return _saturated(image, 1.3) * 0.32 + 0.8 * glow + 0.7 * _filtered(glow, ImageFilter.GaussianBlur(2))


def _comic(image: np.ndarray, outline: np.ndarray) -> np.ndarray:
    flat = np.round(_saturated(image, 1.3).clip(0, 1) * 5) / 5
    return flat * (1 - (1.5 * _edges(image * 0.4, outline * 1.2)).clip(0, 1)[..., None])


_STYLES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "photo": _photo, "watercolor": _watercolor, "pencil": _pencil, "pixel": _pixel, "neon": _neon, "comic": _comic,
}  # fmt: skip


def _saturated(image: np.ndarray, gain: float) -> np.ndarray:
    grey = (image @ LUMA)[..., None]
    return grey + (image - grey) * gain


def _apply_quality(image: np.ndarray, quality: Quality) -> np.ndarray:
    if quality.vibrance > 0:
        image = 0.5 + (_saturated(image, 1 + 0.7 * quality.vibrance) - 0.5) * (1 + 0.18 * quality.vibrance)
    elif quality.vibrance < 0:
        image = 0.52 + (_saturated(image, 1 + 0.78 * quality.vibrance) - 0.52) * (1 + 0.35 * quality.vibrance)
    if quality.lighting == "cinematic":
        vignette = 1.18 - 1.5 * (np.hypot(COLUMNS - 0.5, ROWS - 0.5) ** 2)[..., None]
        image = image * vignette * np.array([0.94, 0.98, 1.06], np.float32)
    elif quality.lighting == "golden":
        image = image * np.array([1.16, 1.0, 0.7], np.float32) + np.array([0.05, 0.02, 0], np.float32) * (1 - ROWS[..., None])
    if quality.exposure > 0:
        image = image * (1 + 0.55 * quality.exposure) + 0.3 * quality.exposure
    image = image.clip(0, 1)
    if quality.detail < 0:
        image = _filtered(image, ImageFilter.GaussianBlur(-1.6 * quality.detail))
    elif quality.detail > 0:
        image = image + 0.7 * quality.detail * (image - _filtered(image, ImageFilter.GaussianBlur(1.2)))
    if quality.blocks > 0:
        coarse = image.reshape(SIDE // 4, 4, SIDE // 4, 4, 3).mean((1, 3)).repeat(4, 0).repeat(4, 1)
        image = image + 0.85 * quality.blocks * (coarse - image)
    return image
