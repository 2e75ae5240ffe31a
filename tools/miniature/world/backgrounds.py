"""The backgrounds of the world. Each is a function that paints 64x64 pixels; a random generator varies the details."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from limner.tools.miniature.world.scene import SIDE

ROWS, COLUMNS = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / (SIDE - 1)


def paint(background: str, rng: np.random.Generator) -> np.ndarray:
    """Returns the background called `background` as (64, 64, 3) float32 in [0, 1]; `rng` varies its details."""
    return _BACKGROUNDS[background](rng)


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


def _forest(rng: np.random.Generator) -> np.ndarray:
    image = _gradient(_colour(rng, 30, 74, 52), _colour(rng, 78, 128, 76))
    for left in rng.choice(np.arange(0, SIDE, 4), 6, replace=False):
        width = int(rng.integers(3, 6))
        image[:48, left : left + width] = _colour(rng, 70, 52, 38)
    image[:12] = image[:12] * 0.4 + _colour(rng, 24, 84, 40) * 0.6
    return _ground(image, 0.72, _colour(rng, 58, 52, 28), _colour(rng, 70, 84, 40))


def _underwater(rng: np.random.Generator) -> np.ndarray:
    image = _gradient(_colour(rng, 120, 220, 204), _colour(rng, 14, 84, 104))
    for _ in range(8):
        y, x, radius = rng.uniform(0.05, 0.7), rng.uniform(0, 1), rng.uniform(0.025, 0.05)
        bubble = ((radius - np.abs(np.hypot(COLUMNS - x, ROWS - y) - radius)) * SIDE).clip(0, 1)[..., None]
        image = image + 0.3 * bubble
    return _ground(image, 0.88 + 0.03 * np.sin(COLUMNS * 7 + rng.uniform(0, 6)), _colour(rng, 110, 128, 116), _colour(rng, 70, 100, 110))


_BACKGROUNDS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "meadow": _meadow, "beach": _beach, "desert": _desert, "snow": _snow, "night": _night, "city": _city, "room": _room, "sunset": _sunset,
    "forest": _forest, "underwater": _underwater,
}  # fmt: skip
