"""Draws random scenes of the miniature's world: the ground truth of every training picture.

A scene says which things are where, before which background, in which style and quality. `render` and `captions` read a `Scene` and add
no content. Things stand on a coarse grid where their relation puts them, and never turn: each further pose would cost a small model
training.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from limner.tools.miniature.world.vocabulary import (
    BACKGROUNDS,
    COLOURS,
    DEFECTS,
    GREY_STYLES,
    LIGHTINGS,
    NOUNS,
    PALETTES,
    RELATIONS,
    STYLES,
    WEATHERS,
)  # fmt: skip

SIDE = 64  # pixels
GRID = 4  # pixels; sprites stand on the autoencoder's grid: a small model would have to learn every shift within a latent cell separately


@dataclass(frozen=True, slots=True)
class Thing:
    """One sprite: `noun` is its index in NOUNS, `colour` None for the natural one, `x`, `y` its centre and `pixels` its side in pixels."""

    noun: int
    colour: str | None
    size: str | None
    x: float
    y: float
    pixels: int


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a picture is made.

    `detail` and `vibrance` run from -1 (blurry, dull) over 0 to 1 (sharp, vivid); `exposure` and `blocks` from 0 (none) to 1 (ruined);
    `lighting`, `palette` and `weather` are members of LIGHTINGS, PALETTES and WEATHERS, or ''.
    """

    detail: float = 0.0
    vibrance: float = 0.0
    exposure: float = 0.0
    blocks: float = 0.0
    cropped: bool = False
    lighting: str = ""
    watermarked: bool = False
    palette: str = ""
    weather: str = ""
    bokeh: bool = False
    framed: bool = False

    @property
    def defects(self) -> tuple[str, ...]:
        """The defects of the picture, in the order of DEFECTS."""
        present = {
            "blurry": self.detail < -0.4,
            "dull": self.vibrance < -0.4,
            "overexposed": self.exposure > 0.3,
            "blocky": self.blocks > 0.3,
            "cropped": self.cropped,
            "watermarked": self.watermarked,
        }
        return tuple(name for name in DEFECTS if present[name])

    @property
    def goodness(self) -> float:
        """The ground truth's quality score: detail, colour, good lighting and bokeh add to it, defects subtract.

        Weather, palette, frame and the other lightings are a matter of taste and do not count.
        """
        good = self.detail + self.vibrance + 0.4 * (self.lighting in ("cinematic", "golden")) + 0.4 * self.bokeh
        return good - 1.5 * self.exposure - 1.5 * self.blocks - 1.5 * self.cropped - 1.2 * self.watermarked


@dataclass(frozen=True, slots=True)
class Scene:
    """One thing, two or three of a kind, or two different things, with background, style and quality.

    `relation` is that of the first thing to the second, None without a second kind. `seed` varies the details of the background. `look`:
    the look of a style checkpoint, '' for none, applied with `strength` in [0, 1].
    """

    things: tuple[Thing, ...]
    relation: str | None
    background: str
    style: str
    quality: Quality
    seed: int
    look: str = ""
    strength: float = 1.0

    @property
    def count(self) -> int:
        """The number of things of the first thing's kind."""
        return 1 if self.relation else len(self.things)

    @property
    def grey(self) -> bool:
        """Whether the picture is without colours, so that no thing's colour can be recognised."""
        return self.style in GREY_STYLES or self.look in GREY_STYLES or self.quality.palette == "monochrome"


def draw_scene(
    rng: np.random.Generator, nouns: int, pair_share: float = 0.38, photo_share: float = 0.6, several_share: float = 0.24
) -> Scene:
    """Draws a random scene over the first `nouns` nouns.

    `pair_share`: share of scenes with two different things. `several_share`: share of the others that have two or three of one kind.
    `photo_share`: share in the style "photo" before the other styles are drawn with equal shares.
    """
    quality = draw_quality(rng)
    background = str(rng.choice(list(BACKGROUNDS)))
    style = "photo" if rng.random() < photo_share else str(rng.choice(list(STYLES)))
    seed = int(rng.integers(2**31))
    if rng.random() < pair_share:
        relation = str(rng.choice(list(RELATIONS)))
        scene = Scene(_pair(rng, nouns, relation), relation, background, style, replace(quality, cropped=False), seed)
    elif rng.random() < several_share and NOUNS[noun := int(rng.integers(nouns))].countable:
        things = place_several(_thing(rng, noun), int(rng.integers(2, 4)))
        scene = Scene(things, None, background, style, replace(quality, cropped=False), seed)
    else:
        scene = Scene((_single(rng, nouns, quality.cropped),), None, background, style, quality, seed)
    return without_colours(scene) if scene.grey else scene


def without_colours(scene: Scene) -> Scene:
    """Returns the scene with every thing's colour None, for pictures in which colours cannot be seen."""
    return replace(scene, things=tuple(replace(thing, colour=None) for thing in scene.things))


def draw_quality(rng: np.random.Generator) -> Quality:
    """Draws a random quality; about two of three have some defect."""
    palette = _sometimes(rng, 0.11, PALETTES)
    quality = Quality(
        detail=_axis(rng, 0.26, 0.28),
        vibrance=0.0 if palette else _axis(rng, 0.25, 0.3),
        exposure=float(rng.uniform(0.45, 0.75)) if rng.random() < 0.11 else 0.0,
        blocks=float(rng.uniform(0.55, 0.9)) if rng.random() < 0.12 else 0.0,
        cropped=bool(rng.random() < 0.16),
        lighting=_sometimes(rng, 0.36, LIGHTINGS),
        watermarked=bool(rng.random() < 0.13),
        palette=palette,
        weather=_sometimes(rng, 0.12, WEATHERS),
        bokeh=bool(rng.random() < 0.1),
        framed=bool(rng.random() < 0.07),
    )
    special = bool(quality.lighting) + bool(palette) + bool(quality.weather) + quality.bokeh + quality.framed
    return quality if len(quality.defects) <= 2 and special <= 2 else draw_quality(rng)  # with more effects nothing could be recognised


def place_single(rng: np.random.Generator, thing: Thing, cropped: bool) -> Thing:
    """Returns `thing` placed near the middle, or, where `cropped`, so that an edge of the picture cuts off a good part of it."""
    pixels = {"small": 24, "large": 56}.get(thing.size or "", 40)
    x, y = SIDE / 2, SIDE / 2 + 4
    if cropped:
        pixels = max(pixels, 36)
        reach = SIDE / 2 - 2 + 0.04 * pixels
        side = int(rng.integers(3))
        x, y = [(SIDE / 2 - reach, y), (SIDE / 2 + reach, y), (x, SIDE / 2 + reach)][side]
    return _put(thing, x, y, pixels)


def place_pair(first: Thing, second: Thing, relation: str) -> tuple[Thing, Thing]:
    """Returns both things, placed so that `relation` holds of the first to the second, without overlap."""
    apart, middle = 15.5, SIDE / 2
    dx, dy = {"left": (-apart, 0), "right": (apart, 0), "above": (0, -apart), "below": (0, apart)}[relation]
    sizes = [{"small": 24, "large": 32}.get(thing.size or "", 28) for thing in (first, second)]
    return _put(first, middle + dx, middle + dy, sizes[0]), _put(second, middle - dx, middle - dy, sizes[1])


def place_several(thing: Thing, count: int) -> tuple[Thing, ...]:
    """Returns `count` copies of `thing`: two side by side, or three, one above two."""
    pixels = {"small": 20, "large": 32}.get(thing.size or "", 28) if count == 2 else {"small": 20, "large": 28}.get(thing.size or "", 24)
    low = SIDE / 2 + (4 if count == 2 else 15)
    places = [(17.0, low), (47.0, low)] if count == 2 else [(SIDE / 2, SIDE / 2 - 12), (17.0, low), (47.0, low)]
    return tuple(_put(thing, x, y, pixels) for x, y in places)


def _put(thing: Thing, x: float, y: float, pixels: int) -> Thing:
    """Returns `thing` with its centre as near to (x, y) as the grid allows."""
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


def _axis(rng: np.random.Generator, low: float, high: float) -> float:
    """Draws a value that is clearly low with probability `low`, clearly high with probability `high`, else 0."""
    draw = rng.random()
    if draw < low:
        return float(rng.uniform(-1, -0.6))
    if draw < low + high:
        return float(rng.uniform(0.6, 1))
    return float(rng.uniform(-0.2, 0.2))


def _sometimes(rng: np.random.Generator, share: float, words: tuple[str, ...]) -> str:
    return str(rng.choice(list(words))) if rng.random() < share else ""
