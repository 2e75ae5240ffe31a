"""Training pictures, rendered ahead into a memory-mapped file, and the truth about each.

Scenes come in groups of four that agree in all but one attribute: a contrastive batch made of whole groups cannot be told apart
by background or style alone, so the nouns have to be learned.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from tools.miniature.render import render
from tools.miniature.scene import SIDE, Scene, draw_scene, place_pair
from tools.miniature.vocabulary import BACKGROUNDS, COLOURS, RELATIONS, STYLES

GROUP = 4


@lru_cache(maxsize=256)
def group_scenes(seed: int, group: int, nouns: int) -> tuple[Scene, ...]:
    """The four scenes of a group: one at random, then three that differ from it in one attribute each."""
    rng = np.random.default_rng([seed, group])
    first = draw_scene(rng, nouns)
    return (first, *(one_change(first, rng, nouns) for _ in range(GROUP - 1)))


def one_change(scene: Scene, rng: np.random.Generator, nouns: int) -> Scene:
    """The scene with another noun (half the time), colour, background, style, or the two things in each other's place."""
    kind = rng.choice(["noun", "noun", "noun", "colour", "background", "style", "relation"])
    if (kind == "relation" and scene.relation is None) or (kind == "colour" and scene.style == "pencil"):
        kind = "noun"
    which = int(rng.integers(len(scene.things)))
    things = list(scene.things)
    thing = things[which]
    if kind == "noun":
        taken = {other.noun for other in things}
        things[which] = replace(thing, noun=int(rng.choice([noun for noun in range(nouns) if noun not in taken])))
    elif kind == "colour":
        things[which] = replace(thing, colour=str(rng.choice([colour for colour in COLOURS if colour != thing.colour])))
    elif kind == "relation":
        relation = str(rng.choice([name for name in RELATIONS if name != scene.relation]))
        things = list(place_pair(scene.things[0], scene.things[1], relation))
        return replace(scene, relation=relation, things=tuple(things), seed=int(rng.integers(2**31)))
    elif kind == "background":
        return replace(scene, background=str(rng.choice([name for name in BACKGROUNDS if name != scene.background])))
    else:
        return replace(scene, style=str(rng.choice([name for name in STYLES if name != scene.style])))
    return replace(scene, things=tuple(things), seed=int(rng.integers(2**31)))


class Dataset:
    """Rendered scenes: `pictures` (n, 64, 64, 3) uint8, memory-mapped; `scene(i)` the truth of each."""

    def __init__(self, folder: Path) -> None:
        self.settings = json.loads((folder / "dataset.json").read_text())
        self.pictures = np.lib.format.open_memmap(folder / "pictures.npy", mode="r")
        self.nouns: int = self.settings["nouns"]

    def __len__(self) -> int:
        return len(self.pictures)

    def scene(self, index: int) -> Scene:
        return group_scenes(self.settings["seed"], index // GROUP, self.nouns)[index % GROUP]


def render_dataset(folder: Path, groups: int, nouns: int, seed: int, workers: int = 2) -> Dataset:
    """Render `groups` groups unless the folder already holds just these."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"groups": groups, "nouns": nouns, "seed": seed, "side": SIDE}
    marker = folder / "dataset.json"
    if not (marker.is_file() and json.loads(marker.read_text()) == settings):
        marker.unlink(missing_ok=True)
        part = folder / "pictures.part.npy"
        pictures = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=(groups * GROUP, SIDE, SIDE, 3))
        chunk = 250
        jobs = [(seed, start, min(start + chunk, groups), nouns) for start in range(0, groups, chunk)]
        with ProcessPoolExecutor(workers) as pool:
            for (_, start, stop, _), rendered in zip(jobs, pool.map(_render_chunk, jobs), strict=True):
                pictures[start * GROUP : stop * GROUP] = rendered
        pictures.flush()
        os.replace(part, folder / "pictures.npy")
        marker.write_text(json.dumps(settings))
    return Dataset(folder)


def _render_chunk(job: tuple[int, int, int, int]) -> np.ndarray:
    seed, start, stop, nouns = job
    return np.stack([render(scene) for group in range(start, stop) for scene in group_scenes(seed, group, nouns)])
