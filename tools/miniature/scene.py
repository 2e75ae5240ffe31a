"""Scenes of the miniature's world, drawn at random: the truth behind every training picture.

A scene says what is where, before which background, in which style, of which quality. Rendering and captions are elsewhere; both
read a `Scene` and add nothing to it. Things stand where the words put them, on a coarse grid, and always look the same way: every
pose that a model has to tell apart costs it training that a small one does not have.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tools.miniature.vocabulary import BACKGROUNDS, COLOURS, RELATIONS, STYLES

SIDE = 64  # pixels
GRID = 4  # pixels; sprites stand on the autoencoder's own grid, since a shift within one of its cells is a new thing to a small model


@dataclass(frozen=True, slots=True)
class Thing:
    """One sprite: noun by index into NOUNS, `colour` None for its natural one, centre and size in pixels."""

    noun: int
    colour: str | None
    size: str | None
    x: float
    y: float
    pixels: int


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a picture is made. `detail` and `vibrance` run from -1 (blurry, dull) over 0 to 1 (sharp, vivid); `exposure` and
    `blocks` from 0 (none) to 1 (ruined); `lighting` is '', 'cinematic' or 'golden'."""

    detail: float = 0.0
    vibrance: float = 0.0
    exposure: float = 0.0
    blocks: float = 0.0
    cropped: bool = False
    lighting: str = ""

    @property
    def defects(self) -> tuple[str, ...]:
        present = {
            "blurry": self.detail < -0.4,
            "dull": self.vibrance < -0.4,
            "overexposed": self.exposure > 0.3,
            "blocky": self.blocks > 0.3,
            "cropped": self.cropped,
        }
        return tuple(name for name, there in present.items() if there)

    @property
    def goodness(self) -> float:
        """The truth's own ranking of pictures of one scene: good lighting, detail and colour count for it, defects against it."""
        return self.detail + self.vibrance + 0.4 * bool(self.lighting) - 1.5 * self.exposure - 1.5 * self.blocks - 1.5 * self.cropped


@dataclass(frozen=True, slots=True)
class Scene:
    """One or two things (`relation` is of the first to the second), a background, a style, a quality; `seed` moves the small print."""

    things: tuple[Thing, ...]
    relation: str | None
    background: str
    style: str
    quality: Quality
    seed: int


def draw_scene(rng: np.random.Generator, nouns: int, pair_share: float = 0.4, photo_share: float = 0.6) -> Scene:
    """A random scene over the first `nouns` nouns."""
    quality = draw_quality(rng)
    background = str(rng.choice(list(BACKGROUNDS)))
    style = "photo" if rng.random() < photo_share else str(rng.choice(list(STYLES)))
    seed = int(rng.integers(2**31))
    if rng.random() < pair_share:
        relation = str(rng.choice(list(RELATIONS)))
        quality = replace(quality, cropped=False)
        return Scene(_pair(rng, nouns, relation), relation, background, style, quality, seed)
    return Scene((_single(rng, nouns, quality.cropped),), None, background, style, quality, seed)


def draw_quality(rng: np.random.Generator) -> Quality:
    """Quality as it comes when nobody asks for any: some defect in about two pictures of three."""
    quality = Quality(
        detail=_axis(rng),
        vibrance=_axis(rng),
        exposure=float(rng.uniform(0.45, 0.75)) if rng.random() < 0.14 else 0.0,
        blocks=float(rng.uniform(0.55, 0.9)) if rng.random() < 0.14 else 0.0,
        cropped=bool(rng.random() < 0.16),
        lighting=str(rng.choice(["cinematic", "golden"])) if rng.random() < 0.3 else "",
    )
    return quality if len(quality.defects) <= 2 else draw_quality(rng)  # three at once leave nothing to be recognised


def place_single(rng: np.random.Generator, thing: Thing, cropped: bool) -> Thing:
    """Put one thing about the middle, or, where `cropped`, so that an edge cuts off a good part of it."""
    pixels = {"small": 24, "large": 56}.get(thing.size or "", 40)
    x, y = SIDE / 2, SIDE / 2 + 4
    if cropped:
        pixels = max(pixels, 36)
        reach = SIDE / 2 - 2 + 0.04 * pixels
        side = int(rng.integers(3))
        x, y = [(SIDE / 2 - reach, y), (SIDE / 2 + reach, y), (x, SIDE / 2 + reach)][side]
    return _put(thing, x, y, pixels)


def place_pair(first: Thing, second: Thing, relation: str) -> tuple[Thing, Thing]:
    """Put two things so that `relation` holds of the first to the second, apart enough to tell."""
    apart, middle = 15.5, SIDE / 2
    dx, dy = {"left": (-apart, 0), "right": (apart, 0), "above": (0, -apart), "below": (0, apart)}[relation]
    sizes = [{"small": 24, "large": 32}.get(thing.size or "", 28) for thing in (first, second)]
    return _put(first, middle + dx, middle + dy, sizes[0]), _put(second, middle - dx, middle - dy, sizes[1])


def _put(thing: Thing, x: float, y: float, pixels: int) -> Thing:
    """Centred as near to (x, y) as the grid allows."""
    left, top = (round((centre - pixels / 2) / GRID) * GRID for centre in (x, y))
    return replace(thing, x=left + pixels / 2, y=top + pixels / 2, pixels=pixels)


def _thing(rng: np.random.Generator, noun: int) -> Thing:
    colour = str(rng.choice(list(COLOURS))) if rng.random() < 0.4 else None
    size = str(rng.choice(["small", "large"])) if rng.random() < 0.25 else None
    return Thing(noun, colour, size, 0, 0, 0)


def _single(rng: np.random.Generator, nouns: int, cropped: bool) -> Thing:
    return place_single(rng, _thing(rng, int(rng.integers(nouns))), cropped)


def _pair(rng: np.random.Generator, nouns: int, relation: str) -> tuple[Thing, Thing]:
    first, second = rng.choice(nouns, 2, replace=False)
    return place_pair(_thing(rng, int(first)), _thing(rng, int(second)), relation)


def _axis(rng: np.random.Generator) -> float:
    draw = rng.random()
    if draw < 0.3:
        return float(rng.uniform(-1, -0.6))
    if draw < 0.58:
        return float(rng.uniform(0.6, 1))
    return float(rng.uniform(-0.2, 0.2))
