"""Pictures ranked by the ground truth: a scene that a prompt asks for, and scenes that match it more or less well.

Fewer mistakes rank higher; with equal mistakes, quality decides. A pool of them is rendered and mostly sent through the autoencoder, as
generated pictures are, once and for all: that is the expensive part.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from limner.tools.miniature.recipe.dataset import one_change
from limner.tools.miniature.recipe.vae import reconstruct
from limner.tools.miniature.world.render import render
from limner.tools.miniature.world.scene import (
    SIDE,
    Quality,
    Scene,
    Thing,
    draw_quality,
    draw_scene,
    place_pair,
    place_several,
    place_single,
    without_colours,
)
from limner.tools.miniature.world.sprites import Glyphs
from limner.tools.miniature.world.vocabulary import LOOKS, STYLES, WORLD
from limner.tools.training import write_whole

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

CHOICES = 4  # pictures for each prompt
MARGIN = 0.5  # smallest difference in goodness that ranks a pair
LOOKED = 0.2  # share of prompts whose pictures are all drawn in one look, as a style checkpoint draws them


@dataclass(frozen=True, slots=True)
class Ranked:
    """`asked`: the scene that a prompt asks for; `answers`: scenes to choose from; `ranks` (CHOICES, 2): number of mistakes and goodness of
    each.
    """

    asked: Scene
    answers: tuple[Scene, ...]
    ranks: np.ndarray

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Pairs (i, j) where answer i ranks above j: fewer mistakes, or equally many and goodness higher by more than MARGIN."""
        ranks, places = self.ranks, range(len(self.ranks))
        return [
            (i, j)
            for i in places
            for j in places
            if ranks[i, 0] < ranks[j, 0] or (ranks[i, 0] == ranks[j, 0] and ranks[i, 1] > ranks[j, 1] + MARGIN)
        ]


def ranked(rng: np.random.Generator, nouns: int) -> Ranked:
    """Draws an entry. At least two answers show the scene that was asked for; the others have up to two mistakes."""
    asked = arranged(draw_scene(rng, nouns), Quality(), rng)
    look = str(rng.choice([*LOOKS, *(style for style in STYLES if style != "photo")])) if rng.random() < LOOKED else ""
    strength = float(rng.uniform(0.6, 1))
    answers, ranks = [], []
    for place in range(CHOICES):
        mistakes = 0 if place < 2 else int(rng.integers(0, 3))
        scene = asked
        for _ in range(mistakes):
            scene = one_change(scene, rng, nouns)
        scene = arranged(scene, draw_quality(rng), rng)
        if scene.grey and any(thing.colour for thing in scene.things):  # a picture without colours fails a prompt that names one
            mistakes, scene = mistakes + 1, without_colours(scene)
        if look and asked.style == "photo" and scene.style == "photo":
            scene = replace(scene, look=look, strength=strength)
        answers.append(replace(scene, seed=int(rng.integers(2**31))))
        ranks.append((mistakes, scene.quality.goodness))
    return Ranked(asked, tuple(answers), np.array(ranks, np.float32))


def arranged(scene: Scene, quality: Quality, rng: np.random.Generator) -> Scene:
    """Returns the scene with `quality`, its things placed again; several things are never cropped."""
    things: tuple[Thing, ...]
    if scene.relation:
        things = place_pair(scene.things[0], scene.things[1], scene.relation)
    elif scene.count > 1:
        things = place_several(scene.things[0], scene.count)
    else:
        things = (place_single(rng, scene.things[0], quality.cropped),)
    return replace(scene, things=things, quality=quality if len(things) == 1 else replace(quality, cropped=False))


class Pool:
    """Ranked pictures: `pictures` (n, CHOICES, 64, 64, 3) uint8, memory-mapped, and the ground truth of each entry."""

    def __init__(self, pictures: np.ndarray, seed: int, nouns: int) -> None:
        self.pictures, self._seed, self.nouns = pictures, seed, nouns

    def __len__(self) -> int:
        return len(self.pictures)

    def entry(self, index: int) -> Ranked:
        """Returns the scenes and ranks of entry `index`."""
        return _entry(self._seed, index, self.nouns)


@lru_cache(maxsize=16384)
def _entry(seed: int, index: int, nouns: int) -> Ranked:
    return ranked(np.random.default_rng([seed, 606, index]), nouns)


def kept_pool(vae: AutoencoderKL, count: int, nouns: int, seed: int, work: Path, glyphs: Glyphs, say: Callable[[str], None]) -> Pool:
    """Returns a pool of `count` entries, two of three sent through the autoencoder; made once and stored in `work`."""
    path, marker = work / "ranked.npy", work / "ranked.json"
    settings = {"world": WORLD, "count": count, "nouns": nouns, "seed": seed}
    if not (path.is_file() and marker.is_file() and json.loads(marker.read_text()) == settings):
        say(f"ranked: rendering {count} prompts")
        aside = path.with_suffix(".part.npy")
        pictures = np.lib.format.open_memmap(aside, mode="w+", dtype=np.uint8, shape=(count, CHOICES, SIDE, SIDE, 3))
        for index in range(count):
            pictures[index] = [render(scene, glyphs) for scene in _entry(seed, index, nouns).answers]
        for start in range(0, count, 3 * 64):
            part = pictures[start : start + 2 * 64]
            pictures[start : start + 2 * 64] = reconstruct(vae, part.reshape(-1, SIDE, SIDE, 3)).reshape(part.shape)
        pictures.flush()
        aside.replace(path)
        write_whole(marker, json.dumps(settings))
    return Pool(np.load(path, mmap_mode="r"), seed, nouns)
