"""Training pictures, rendered in advance into a memory-mapped file, and the ground truth of each.

Scenes come in groups of four that differ in one attribute: background or style alone does not distinguish the pictures of a
contrastive batch made of whole groups, so the nouns have to be learned.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from limner.tools.miniature.world.render import render
from limner.tools.miniature.world.scene import SIDE, Scene, Thing, draw_scene, place_pair, place_several, place_single
from limner.tools.miniature.world.sprites import Glyphs
from limner.tools.miniature.world.vocabulary import BACKGROUNDS, COLOURS, GREY_STYLES, LOOKS, NOUNS, RELATIONS, STYLES, WORLD
from limner.tools.training import write_whole

GROUP = 4


@lru_cache(maxsize=256)
def group_scenes(seed: int, group: int, nouns: int, looks: bool = False) -> tuple[Scene, ...]:
    """Returns the four scenes of a group: a random one, and three that differ from it in one attribute each.

    With `looks` they are photos in the look of a style checkpoint, one for the group, each at its own strength in [0.6, 1).
    """
    rng = np.random.default_rng([seed, group])
    first = draw_scene(rng, nouns, photo_share=1.0 if looks else 0.6)
    scenes = [first, *(one_change(first, rng, nouns) for _ in range(GROUP - 1))]
    if looks:
        chosen = str(rng.choice([*LOOKS, *(style for style in STYLES if style != "photo")]))
        scenes = [replace(scene, style="photo", look=chosen, strength=float(rng.uniform(0.6, 1))) for scene in scenes]
    return tuple(scenes)


def one_change(scene: Scene, rng: np.random.Generator, nouns: int) -> Scene:
    """Returns the scene with one change: another noun (nearly half the cases), colour, number, background or style, or another relation.

    A colour changes only where it is visible, a number only where there is one kind of thing and no edge crops it.
    """
    kind = str(rng.choice(["noun", "noun", "noun", "colour", "background", "style", "relation", "count"]))
    first = scene.things[0]
    if (
        (kind == "relation" and scene.relation is None)
        or (kind == "colour" and scene.grey)
        or (kind == "count" and (scene.relation or scene.quality.cropped or not NOUNS[first.noun].countable))
    ):
        kind = "noun"
    changed = replace(scene, seed=int(rng.integers(2**31)))
    which = int(rng.integers(2)) if scene.relation else None
    if kind == "noun":
        taken = {thing.noun for thing in scene.things}
        other = int(rng.choice([noun for noun in range(nouns) if noun not in taken]))
        return replace(changed, things=_each(scene, which, noun=other))
    if kind == "colour":
        now = scene.things[which or 0].colour
        return replace(changed, things=_each(scene, which, colour=str(rng.choice([colour for colour in COLOURS if colour != now]))))
    if kind == "relation":
        relation = str(rng.choice([name for name in RELATIONS if name != scene.relation]))
        return replace(changed, relation=relation, things=place_pair(scene.things[0], scene.things[1], relation))
    if kind == "count":
        return replace(changed, things=place(first, int(rng.choice([count for count in (1, 2, 3) if count != scene.count])), rng))
    if kind == "background":
        return replace(scene, background=str(rng.choice([name for name in BACKGROUNDS if name != scene.background])))
    coloured = any(thing.colour for thing in scene.things)
    return replace(
        scene, style=str(rng.choice([name for name in STYLES if name != scene.style and not (coloured and name in GREY_STYLES)]))
    )


def place(thing: Thing, count: int, rng: np.random.Generator) -> tuple[Thing, ...]:
    """Returns `count` copies of `thing`, placed and uncropped."""
    return (place_single(rng, thing, False),) if count == 1 else place_several(thing, count)


def _each(scene: Scene, which: int | None, **changes: int | str) -> tuple[Thing, ...]:
    """Returns the scene's things with `changes` applied to the one at index `which`, or to all for None."""
    return tuple(replace(thing, **changes) if which in (None, place) else thing for place, thing in enumerate(scene.things))  # type: ignore[arg-type]


class Dataset:
    """Rendered scenes: `pictures` (n, 64, 64, 3) uint8, memory-mapped, and the ground truth of each."""

    def __init__(self, folder: Path) -> None:
        self.settings = json.loads((folder / "dataset.json").read_text())
        self.pictures = np.lib.format.open_memmap(folder / "pictures.npy", mode="r")
        self.nouns: int = self.settings["nouns"]
        self.looks: bool = self.settings["looks"]

    def __len__(self) -> int:
        return len(self.pictures)

    def scene(self, index: int) -> Scene:
        """Returns the scene that picture `index` shows."""
        return group_scenes(self.settings["seed"], index // GROUP, self.nouns, self.looks)[index % GROUP]


def render_dataset(folder: Path, groups: int, nouns: int, seed: int, glyphs: Glyphs, workers: int = 2, looks: bool = False) -> Dataset:
    """Returns the dataset of `groups` groups in `folder`.

    Renders it in `workers` processes unless the folder already holds an equal one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"world": WORLD, "groups": groups, "nouns": nouns, "seed": seed, "side": SIDE, "looks": looks}
    marker = folder / "dataset.json"
    if not (marker.is_file() and json.loads(marker.read_text()) == settings):
        marker.unlink(missing_ok=True)
        part = folder / "pictures.part.npy"
        pictures = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=(groups * GROUP, SIDE, SIDE, 3))
        chunk = 250
        jobs = [(seed, start, min(start + chunk, groups), nouns, glyphs, looks) for start in range(0, groups, chunk)]
        with ProcessPoolExecutor(workers) as pool:
            for (_, start, stop, *_), rendered in zip(jobs, pool.map(_render_chunk, jobs), strict=True):
                pictures[start * GROUP : stop * GROUP] = rendered
        pictures.flush()
        os.replace(part, folder / "pictures.npy")
        write_whole(marker, json.dumps(settings))
    return Dataset(folder)


def _render_chunk(job: tuple[int, int, int, int, Glyphs, bool]) -> np.ndarray:
    seed, start, stop, nouns, glyphs, looks = job
    return np.stack([render(scene, glyphs) for group in range(start, stop) for scene in group_scenes(seed, group, nouns, looks)])
