"""Scenes of the miniature's world, drawn at random: the truth behind every training picture.

A scene says what is where, before which background, in which style, of which quality. Rendering and captions are elsewhere; both
read a `Scene` and add nothing to it. Things stand where the words put them, on a coarse grid, and always look the same way: every
pose that a model has to tell apart costs it training that a small one does not have.
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
    """How a picture is made. `detail` and `vibrance` run from -1 (blurry, dull) over 0 to 1 (sharp, vivid); `exposure` and
    `blocks` from 0 (none) to 1 (ruined); `lighting`, `palette` and `weather` are words of those lists, or ''."""

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
        """The truth's own ranking of pictures of one scene: good lighting, detail, colour and a quiet background count for it, defects
        against it; weather, palette, frame and the other lightings are a matter of taste."""
        good = self.detail + self.vibrance + 0.4 * (self.lighting in ("cinematic", "golden")) + 0.4 * self.bokeh
        return good - 1.5 * self.exposure - 1.5 * self.blocks - 1.5 * self.cropped - 1.2 * self.watermarked


@dataclass(frozen=True, slots=True)
class Scene:
    """One thing, two or three of a kind, or two of different kinds (`relation` is of the first to the second); a background, a style, a
    quality; `seed` moves the small print. `look`: what a style checkpoint draws everything in, '' for none; `strength` of it."""

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
        """How many there are of the first thing's kind."""
        return 1 if self.relation else len(self.things)

    @property
    def grey(self) -> bool:
        """Whether no thing's colour can be told."""
        return self.style in GREY_STYLES or self.look in GREY_STYLES or self.quality.palette == "monochrome"


def draw_scene(
    rng: np.random.Generator, nouns: int, pair_share: float = 0.38, photo_share: float = 0.6, several_share: float = 0.24
) -> Scene:
    """A random scene over the first `nouns` nouns. `several_share` of those with one kind of thing have two or three of it."""
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
    """Where a colour cannot be seen, none is there to be named."""
    return replace(scene, things=tuple(replace(thing, colour=None) for thing in scene.things))


def draw_quality(rng: np.random.Generator) -> Quality:
    """Quality as it comes when nobody asks for any: some defect in about two pictures of three."""
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
    return quality if len(quality.defects) <= 2 and special <= 2 else draw_quality(rng)  # more leave nothing to be recognised


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


def place_several(thing: Thing, count: int) -> tuple[Thing, ...]:
    """Two side by side, or three, one above two."""
    pixels = {"small": 20, "large": 32}.get(thing.size or "", 28) if count == 2 else {"small": 20, "large": 28}.get(thing.size or "", 24)
    low = SIDE / 2 + (4 if count == 2 else 15)
    places = [(17.0, low), (47.0, low)] if count == 2 else [(SIDE / 2, SIDE / 2 - 12), (17.0, low), (47.0, low)]
    return tuple(_put(thing, x, y, pixels) for x, y in places)


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


def _axis(rng: np.random.Generator, low: float, high: float) -> float:
    """Clearly low, clearly high, or neither, by their shares."""
    draw = rng.random()
    if draw < low:
        return float(rng.uniform(-1, -0.6))
    if draw < low + high:
        return float(rng.uniform(0.6, 1))
    return float(rng.uniform(-0.2, 0.2))


def _sometimes(rng: np.random.Generator, share: float, words: tuple[str, ...]) -> str:
    return str(rng.choice(list(words))) if rng.random() < share else ""
