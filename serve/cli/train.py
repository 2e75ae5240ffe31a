"""The `train` commands: training recipes, resumable, with progress and a seed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Training recipes: resumable, with progress and a seed.", rich_markup_mode=None)


@app.command("miniature")
def train_miniature(
    preset: Annotated[str, typer.Option("--preset", help="cpu or gpu")] = "cpu",
    out: Annotated[Path | None, typer.Option("--out", help="folder of the checkpoint; by default the embedded one")] = None,
    work: Annotated[Path, typer.Option("--work", help="folder for what training keeps between starts")] = Path("runs/miniature"),
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda")] = "cpu",
    stages: Annotated[list[str] | None, typer.Option("--stage", help="only this stage and what it needs; repeatable")] = None,
    keep: Annotated[list[str] | None, typer.Option("--keep", help="take this stage from the checkpoint in --out; repeatable")] = None,
    resume: Annotated[bool, typer.Option("--resume/--restart", help="go on where an earlier start was ended")] = True,
) -> None:
    """Train the embedded checkpoint with its scorers and judge."""
    from limner.tools.miniature.train import STAGES, train

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    train(preset, out, work, seed, resume, stages=stages or STAGES, keep=keep or (), device=device, say=say)
