"""A tiny random checkpoint with scorers and a judge on its card: the smallest thing that `refine` runs on as a person would run it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.tiny_checkpoints import tiny_sd1
from tests.tools.scoring.tiny_clips import save_tiny_clip

STEPS = 2


def tiny_with_card(folder: Path) -> Path:
    """Built once per folder; returns it. Its objective is `liking`, beside it stand `likeness` and the judge `truth`."""
    tiny_sd1(folder)
    if not (folder / "card.json").exists():
        for seed, name in enumerate(("liking", "likeness", "truth")):
            save_tiny_clip(folder / "scorers" / name, seed)
        card = {
            "name": "tiny",
            "recommended": {"steps": STEPS, "guidance_scale": 4.0, "scheduler": "DDIMScheduler"},
            "scorers": {name: {"kind": "clip", "path": f"scorers/{name}"} for name in ("truth", "likeness", "liking")},
            "objective": "liking",
            "judge": "truth",
        }
        (folder / "card.json").write_text(json.dumps(card))
    return folder
