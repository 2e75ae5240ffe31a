"""The commands of the embedded checkpoint's world: sheets of pictures to look at, and professional prompts by the ten thousand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The embedded checkpoint's world: sheets to look at, prompts to learn from.", rich_markup_mode=None)


@app.command("grids")
def grids(
    out: Annotated[Path, typer.Option("--out", help="folder for the PNG files")] = Path("runs/grids"),
    checkpoint: Annotated[str, typer.Option("--checkpoint", help="miniature, or a folder with a card like its own")] = "miniature",
) -> None:
    """Draw sheets: prompts by seeds with good tags on and off, every style by some prompts, and (with the emoji font) every effect."""
    from limner.tools.diffusion.card import Card, styles_of
    from limner.tools.diffusion.hub import find_folder
    from limner.tools.miniature.checks.samples import effect_sheet, sample_grid, style_grid
    from limner.tools.miniature.world.sprites import EMOJI_FONT

    sample_grid(checkpoint, out / "samples.png")
    styles = {name: entry.get("triggers", ()) for name, entry in styles_of(Card.read(find_folder(checkpoint))).items()}
    if styles:
        style_grid(checkpoint, styles, out / "styles.png")
    if EMOJI_FONT.file.is_file():
        effect_sheet(out / "effects.png", EMOJI_FONT)
    print(f"look at {', '.join(sorted(str(path) for path in out.glob('*.png')))}", file=sys.stderr)


@app.command("blind")
def blind(
    out: Annotated[Path, typer.Option("--out", help="folder for the sheets and the list of what was drawn")] = Path("runs/blind"),
    checkpoint: Annotated[str, typer.Option("--checkpoint", help="miniature, or a folder with a card like its own")] = "miniature",
    count: Annotated[int, typer.Option("--count", min=1)] = 200,
) -> None:
    """Draw pictures of held-out prompts as numbered sheets without a word, to be labelled by eye."""
    from limner.tools.miniature.checks.samples import blind_sheets

    drawn = blind_sheets(checkpoint, out, count)
    print(f"{drawn} pictures on {', '.join(sorted(str(path) for path in out.glob('*.png')))}", file=sys.stderr)


@app.command("prompts")
def prompts(
    file: Annotated[Path, typer.Option("--file", help="where to write them, one JSON object a line")],
    count: Annotated[int, typer.Option("--count", min=1)] = 50_000,
    nouns: Annotated[int, typer.Option("--nouns", min=2, max=178, help="how many of the world's things they speak of")] = 60,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
) -> None:
    """Write distinct professional prompts: {text, subject, negative, source, split}, no subject in two splits."""
    from limner.tools.miniature.world.professional import professional_corpus

    file.parent.mkdir(parents=True, exist_ok=True)
    splits: dict[str, int] = {}
    with file.open("w", encoding="utf-8") as lines:
        for row in professional_corpus(seed, nouns, count):
            splits[row["split"]] = splits.get(row["split"], 0) + 1
            lines.write(json.dumps(row) + "\n")
    print(f"{file}: " + ", ".join(f"{number} {split}" for split, number in splits.items()), file=sys.stderr)
