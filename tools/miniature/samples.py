"""Grids of samples to look at: some prompts by some seeds, labelled, magnified."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from promptdb.records import Conditioning, Drawing
from tools.diffusion.checkpoint import open_checkpoint
from tools.diffusion.sampler import Sampler

PROMPTS = (
    "a cat on a beach",
    "a red car in a city",
    "a blue bird above a yellow bus in a meadow",
    "a penguin in the snow, watercolor",
    "a rocket at night, neon",
    "a guitar to the left of a teddy bear indoors",
    "a tree at sunset, pixel art",
    "a green umbrella in a desert, comic",
)
GOOD, BAD = ", masterpiece, best quality, sharp focus, vibrant colors", "blurry, dull colors, overexposed, low quality"


def sample_grid(checkpoint: Path, path: Path, prompts: Sequence[str] = PROMPTS, seeds: Sequence[int] = (0, 1, 2, 3), zoom: int = 2) -> None:
    """One row a prompt; left half the plain prompt, right half with good tags and a negative prompt, on the same seeds."""
    sampler = Sampler(open_checkpoint(str(checkpoint)))
    asked = [(Conditioning(text), Conditioning(text + GOOD, BAD)) for text in prompts]
    drawings = [
        Drawing(conditioning, seed, sampler.default_settings, sampler.fingerprint)
        for pair in asked
        for conditioning in pair
        for seed in seeds
    ]
    images = [drawn.image for drawn in sampler.draw(drawings)]
    side, label, columns = sampler.default_settings.width * zoom, 14, 2 * len(seeds)
    sheet = Image.new("RGB", (columns * (side + 2) + 8, len(prompts) * (side + label + 2)), "white")
    pen = ImageDraw.Draw(sheet)
    for place, image in enumerate(images):
        row, column = divmod(place, columns)
        left, top = column * (side + 2) + 8 * (column >= len(seeds)), row * (side + label + 2)
        if column == 0:
            pen.text((2, top), prompts[row], fill="black")
        if image is not None:
            sheet.paste(image.resize((side, side), Image.Resampling.NEAREST), (left, top + label))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
