"""Sheets of labelled, magnified pictures: samples of a checkpoint, and one rendered picture for each effect of the world."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from limner.promptdb.records import Conditioning, Drawing
from limner.tools.diffusion.checkpoint import open_checkpoint
from limner.tools.diffusion.sampling.sampler import Sampler
from limner.tools.miniature.world.sprites import Glyphs

PROMPTS = (
    "a cat on a beach",
    "a red car in a city",
    "a blue bird above a yellow bus in a meadow",
    "two penguins in the snow, watercolor",
    "a rocket at night, neon",
    "a guitar to the left of a teddy bear indoors",
    "a tree at sunset, pixel art",
    "a green umbrella in a desert, comic",
)
STYLE_PROMPTS = (*PROMPTS[:3], "three apples in a forest", "a house at sunset", "a brown dog underwater")
GOOD, BAD = ", masterpiece, best quality, sharp focus, vibrant colors", "blurry, dull colors, overexposed, low quality"
SEEDS = (0, 1, 2, 3)
BLIND_SEED, BLIND_KINDS = 77, ("naive", "binding", "relation", "counting", "coco")
LABEL, GAP = 14, 2  # pixels

Cell = tuple[str, Image.Image | None]


def sheet(rows: Sequence[Sequence[Cell]], zoom: int = 2) -> Image.Image:
    """Returns a sheet of rows of (label, picture), each label above its picture; a missing picture stays white."""
    side = zoom * max((image.width for row in rows for _, image in row if image), default=64)
    page = Image.new("RGB", (max(map(len, rows)) * (side + GAP), len(rows) * (side + LABEL + GAP)), "white")
    pen = ImageDraw.Draw(page)
    for y, row in enumerate(rows):
        for x, (label, image) in enumerate(row):
            left, top = x * (side + GAP), y * (side + LABEL + GAP)
            pen.text((left + 2, top), label, fill="black")
            if image is not None:
                page.paste(image.resize((side, side), Image.Resampling.NEAREST), (left, top + LABEL))
    return page


def sample_grid(checkpoint: Path | str, path: Path, prompts: Sequence[str] = PROMPTS, seeds: Sequence[int] = SEEDS, zoom: int = 2) -> None:
    """Draws one row a prompt and saves the sheet to `path`: left the plain prompt, right with good tags and a negative prompt, on equal
    seeds.
    """
    asked = [(Conditioning(text), Conditioning(text + GOOD, BAD)) for text in prompts]
    images = iter(_drawn(str(checkpoint), [part for pair in asked for part in pair], seeds))
    rows = []
    for text in prompts:
        labels = [text, *[""] * (len(seeds) - 1), "the same with good tags", *[""] * (len(seeds) - 1)]
        rows.append([(label, next(images)) for label in labels])
    _save(sheet(rows, zoom), path)


def style_grid(
    checkpoint: str, styles: Mapping[str, Sequence[str]], path: Path, prompts: Sequence[str] = STYLE_PROMPTS, zoom: int = 2
) -> None:
    """Draws one row a checkpoint, the base first, and saves the sheet to `path`: left plain prompts, right with a trigger word.

    `styles`: {name of the style checkpoint: its trigger words}.
    """
    rows = []
    for name, triggers in [("", ()), *styles.items()]:
        texts = [*prompts, *(", ".join([text, *triggers[:1]]) for text in prompts)]
        pictures = _drawn(f"{checkpoint}:{name}" if name else checkpoint, [Conditioning(text) for text in texts], SEEDS[:1])
        labels = [name or "base", *[""] * (len(prompts) - 1), f"with {triggers[0]!r}" if triggers else "", *[""] * (len(prompts) - 1)]
        rows.append(list(zip(labels, pictures, strict=True)))
    _save(sheet(rows, zoom), path)


def blind_sheets(checkpoint: str, out: Path, count: int, columns: int = 10, rows: int = 4, zoom: int = 2) -> int:
    """Draws `count` held-out prompts of several sets in turn and saves numbered sheets without the prompts; returns the number of pictures.

    A sheet has `columns` x `rows` pictures. The prompts and the seed are written to drawn.jsonl in the folder `out`.
    """
    opened = open_checkpoint(checkpoint)
    named = opened.card.document["prompts"]
    kinds = [f"{kind}.heldout" for kind in BLIND_KINDS if f"{kind}.heldout" in named] or ["heldout"]
    sets = [opened.card.path(named[kind]).read_text(encoding="utf-8").splitlines() for kind in kinds]
    asked = [json.loads(lines[place // len(sets)])["prompt"] for place, lines in zip(range(count), cycle(sets), strict=False)]
    pictures = _drawn(checkpoint, [Conditioning(text) for text in asked], (BLIND_SEED,))
    page = columns * rows
    for start in range(0, count, page):
        cells = [(str(start + place + 1), image) for place, image in enumerate(pictures[start : start + page])]
        table = [cells[place : place + columns] for place in range(0, len(cells), columns)]
        _save(sheet(table, zoom), out / f"blind_{start // page + 1:02d}.png")
    lines = [json.dumps({"prompt": text, "seed": BLIND_SEED}) + "\n" for text in asked]
    (out / "drawn.jsonl").write_text("".join(lines), encoding="utf-8")
    return len(asked)


def effect_sheet(path: Path, glyphs: Glyphs, zoom: int = 2) -> None:
    """Renders one picture for each background, colour, style, look, number and effect and saves the sheet to `path`."""
    from limner.tools.miniature.world import vocabulary as words
    from limner.tools.miniature.world.render import render
    from limner.tools.miniature.world.scene import Quality, Scene, Thing, place_pair, place_several, place_single

    nouns = {noun.name: index for index, noun in enumerate(words.NOUNS)}

    def single(noun: str, quality: Quality = Quality(), colour: str | None = None, size: str | None = None) -> Scene:  # noqa: B008
        thing = place_single(np.random.default_rng(0), Thing(nouns[noun], colour, size, 0, 0, 0), quality.cropped)
        return Scene((thing,), None, "meadow", "photo", quality, 1)

    effects = {
        "plain": Quality(), "sharp": Quality(detail=0.9), "blurry": Quality(detail=-0.8), "vibrant": Quality(vibrance=0.9),
        "dull": Quality(vibrance=-0.8), "overexposed": Quality(exposure=0.6), "blocky": Quality(blocks=0.7),
        "cropped": Quality(cropped=True), "watermarked": Quality(watermarked=True), "bokeh": Quality(bokeh=True),
        "framed": Quality(framed=True), **{name: Quality(lighting=name) for name in words.LIGHTINGS},
        **{name: Quality(palette=name) for name in words.PALETTES}, **{name: Quality(weather=name) for name in words.WEATHERS},
    }  # fmt: skip
    cat, bus = (Thing(nouns[name], None, None, 0, 0, 0) for name in ("cat", "bus"))
    pairs = {name: replace(single("cat"), things=place_pair(cat, bus, name), relation=name) for name in words.RELATIONS}
    several = {f"{count} cats": replace(single("cat"), things=place_several(cat, count)) for count in (2, 3)}
    scenes = [
        {name: single(noun, quality) for name, quality in effects.items()}
        for noun in ("cat", "car")
    ] + [
        {name: replace(single("dog"), background=name) for name in words.BACKGROUNDS},
        {name: single("car", colour=name) for name in words.COLOURS},
        {name: replace(single("house"), background="beach", style=name) for name in words.STYLES}
        | {name: replace(single("house"), background="beach", look=name) for name in words.LOOKS},
        {size: single("apple", size=size) for size in words.SIZES} | several | pairs,
    ]  # fmt: skip
    _save(sheet([[(label, Image.fromarray(render(scene, glyphs))) for label, scene in row.items()] for row in scenes], zoom), path)


def _drawn(checkpoint: str, asked: Sequence[Conditioning], seeds: Sequence[int]) -> list[Image.Image | None]:
    sampler = Sampler(open_checkpoint(checkpoint))
    settings, fingerprint = sampler.default_settings, sampler.fingerprint
    drawings = [Drawing(conditioning, seed, settings, fingerprint) for conditioning in asked for seed in seeds]
    return [drawn.image for drawn in sampler.draw(drawings)]


def _save(page: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path)
