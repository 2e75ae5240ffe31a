"""Makes README's before/after picture: refines some prompts with the command line and puts the held-out pictures side by side.

    python docs/make_figures.py

Upper row of each pair: the prompt as typed. Lower row: as refined, on the same seeds, none of which any search has seen.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from PIL import Image, ImageDraw

ROOT = Path(__file__).parents[1]
PROMPTS = ("a red car on a beach", "a penguin in the snow", "a blue bird to the left of a tree", "a castle at sunset, watercolor")
SHOWN, ZOOM, GAP = 4, 2, 4


def refined(prompt: str) -> dict:
    """The document of `refine --json`."""
    options = ["--method", "rewrite", "--out", str(ROOT / "runs" / "figures"), "--json"]
    command = [sys.executable, str(ROOT / "main.py"), "refine", prompt, *options]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def figure(documents: list[dict]) -> Image.Image:
    side, label = 64 * ZOOM, 16
    width, height = SHOWN * (side + GAP), 2 * (side + GAP) + label
    sheet = Image.new("RGB", (2 * width + 12, (len(documents) + 1) // 2 * (height + 12)), "white")
    pen = ImageDraw.Draw(sheet)
    for place, document in enumerate(documents):
        left, top = place % 2 * (width + 12), place // 2 * (height + 12)
        pen.text((left, top), document["prompt"], fill="black")
        for row, name in enumerate(("before", "after")):
            for column, path in enumerate(document["images"][name][:SHOWN]):
                picture = Image.open(path).convert("RGB").resize((side, side), Image.Resampling.NEAREST)
                sheet.paste(picture, (left + column * (side + GAP), top + label + row * (side + GAP)))
    return sheet


if __name__ == "__main__":
    made = figure([refined(prompt) for prompt in PROMPTS])
    made.save(ROOT / "docs" / "images" / "before_after.png", optimize=True)
