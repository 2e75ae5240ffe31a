"""The checkpoint's prompt sets, each with one difficulty, in a train and a held-out split by fixed seeds; they ship with the weights.

naive       plain descriptions, as people type them
binding     two things, each with its own colour (the colour-binding part of T2I-CompBench, Huang et al. 2023)
relation    two things and their spatial relation
counting    two or three of a kind
rare        things by their rarer names
crowded     a subject among eight or more tags that compete with it
professional  a subject with tags as practitioners write them, and a negative prompt
coco        full sentences in the manner of COCO's captions

No prompt is in both splits of its set.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from limner.tools.miniature.recipe.dataset import place
from limner.tools.miniature.world.captions import CONTENT, FULL, caption
from limner.tools.miniature.world.nouns import NOUNS, plural
from limner.tools.miniature.world.professional import professional_form
from limner.tools.miniature.world.scene import Quality, Scene, Thing, draw_scene
from limner.tools.miniature.world.vocabulary import (
    BACKGROUNDS,
    COLOURS,
    COUNT_WORDS,
    GOOD,
    MODIFIERS,
    NEUTRAL,
    PLACEBO,
    RELATIONS,
    SIZE_WORDS,
)

COUNT = 200
SPLITS = ("train", "heldout")
SETS = ("naive", "binding", "relation", "counting", "rare", "crowded", "professional", "coco")

Row = dict[str, str]


def prompt_set(name: str, split: str, seed: int, nouns: int, count: int = COUNT) -> list[Row]:
    """Returns `count` distinct prompts of a set: {prompt, kind, split}, and for professional ones {negative, subject}."""
    known = {row["prompt"] for other in SPLITS[: SPLITS.index(split)] for row in prompt_set(name, other, seed, nouns, count)}
    rng = np.random.default_rng([seed, SETS.index(name), SPLITS.index(split), 1800])
    rows: dict[str, Row] = {}
    for _ in range(200 * count):
        row = _MAKERS[name](rng, nouns)
        if row["prompt"] not in known:
            rows.setdefault(row["prompt"], {**row, "kind": name, "split": split})
        if len(rows) == count:
            break
    return list(rows.values())


def write_sets(folder: Path, seed: int, nouns: int, count: int = COUNT) -> dict[str, str]:
    """Writes one JSONL file for each set and split into `folder`; returns {"set.split": file name} for the card."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name in SETS:
        for split in SPLITS:
            files[f"{name}.{split}"] = f"{name}.{split}.jsonl"
            rows = prompt_set(name, split, seed, nouns, count)
            (folder / files[f"{name}.{split}"]).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return files


def _scenes(rng: np.random.Generator, nouns: int, fits: Callable[[Scene], bool]) -> Iterator[Scene]:
    while True:
        scene = replace(draw_scene(rng, nouns, photo_share=1.0), quality=Quality())
        if fits(scene):
            yield scene


def _naive(rng: np.random.Generator, nouns: int) -> Row:
    return {"prompt": caption(replace(draw_scene(rng, nouns, photo_share=0.75), quality=Quality()), rng, CONTENT)}


def _binding(rng: np.random.Generator, nouns: int) -> Row:
    scene = next(_scenes(rng, nouns, lambda scene: scene.relation is not None))
    colours = rng.choice(list(COLOURS), 2, replace=False)
    things = tuple(replace(thing, colour=str(colour)) for thing, colour in zip(scene.things, colours, strict=True))
    return {"prompt": caption(replace(scene, things=things), rng, FULL)}


def _relation(rng: np.random.Generator, nouns: int) -> Row:
    scene = next(_scenes(rng, nouns, lambda scene: scene.relation is not None))
    things = tuple(replace(thing, colour=None, size=None) for thing in scene.things)
    return {"prompt": caption(replace(scene, things=things), rng, FULL)}


def _counting(rng: np.random.Generator, nouns: int) -> Row:
    scene = next(_scenes(rng, nouns, lambda scene: scene.relation is None and NOUNS[scene.things[0].noun].countable))
    things = place(scene.things[0], int(rng.integers(2, 4)), rng)
    return {"prompt": caption(replace(scene, things=things), rng, CONTENT)}


def _rare(rng: np.random.Generator, nouns: int) -> Row:
    """Writes a plain caption in which every thing has a rarer name."""
    named = [index for index in range(nouns) if NOUNS[index].rare]
    first, second = (int(index) for index in rng.choice(named, 2, replace=False))
    scene = next(_scenes(rng, nouns, lambda scene: scene.count == 1))
    words = []
    for index, thing in zip((first, second), scene.things, strict=False):
        phrase = f"{thing.colour or ''} {rng.choice(NOUNS[index].rare)}".strip()
        words.append(f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}")
    text = f" {rng.choice(RELATIONS[scene.relation])} ".join(words) if scene.relation else words[0]
    return {"prompt": f"{text} {rng.choice(BACKGROUNDS[scene.background])}"}


def _crowded(rng: np.random.Generator, nouns: int) -> Row:
    """Writes a subject followed by good, neutral and placebo tags in random order, at most one of each group."""
    subject = caption(next(_scenes(rng, nouns, lambda scene: True)), rng, CONTENT)
    tags = [str(rng.choice(MODIFIERS[name])) for name in rng.permutation(GOOD)[: int(rng.integers(3, 6))]]
    tags += [str(rng.choice(MODIFIERS[name])) for name in rng.permutation(NEUTRAL)[: int(rng.integers(1, 3))]]
    tags += [str(word) for word in rng.permutation(PLACEBO)[: int(rng.integers(4, 6))]]
    return {"prompt": ", ".join([subject, *(str(tag) for tag in rng.permutation(tags))])}


def _professional(rng: np.random.Generator, nouns: int) -> Row:
    row = professional_form(_naive(rng, nouns)["prompt"], rng)
    return {"prompt": row["text"], "subject": row["subject"], "negative": row["negative"]}


def _coco(rng: np.random.Generator, nouns: int) -> Row:
    scene = next(_scenes(rng, nouns, lambda scene: scene.background not in ("night", "sunset", "underwater")))
    where = str(rng.choice(BACKGROUNDS[scene.background]))
    first = _coco_thing(scene.things[0], scene.count, rng)
    if not scene.relation:
        forms = [f"{first} standing {where}.", f"a photo of {first} {where}.", f"there is {first} {where}.", f"{first} seen {where}."]
        if scene.count > 1:
            forms = [f"{first} standing {where}.", f"a photo of {first} {where}."]
        return {"prompt": str(rng.choice(forms)).capitalize()}
    relation, second = str(rng.choice(RELATIONS[scene.relation])), _coco_thing(scene.things[1], 1, rng)
    forms = [
        f"{first} standing {relation} {second} {where}.",
        f"there is {first} {relation} {second} {where}.",
        f"a photo of {first} placed {relation} {second}.",
        f"{first} and {second} {where}.",
    ]
    return {"prompt": str(rng.choice(forms)).capitalize()}


def _coco_thing(thing: Thing, count: int, rng: np.random.Generator) -> str:
    size = str(rng.choice(SIZE_WORDS[thing.size])) if thing.size else ""
    name = NOUNS[thing.noun].name
    phrase = " ".join(part for part in (size, thing.colour or "", plural(name) if count > 1 else name) if part)
    if count > 1:
        return f"{rng.choice(COUNT_WORDS[count])} {phrase}"
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


_MAKERS: dict[str, Callable[[np.random.Generator, int], Row]] = {
    "naive": _naive, "binding": _binding, "relation": _relation, "counting": _counting, "rare": _rare, "crowded": _crowded,
    "professional": _professional, "coco": _coco,
}  # fmt: skip
