"""Hard prompts are those whose pictures are farthest from what was asked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from limner.tools.diffusion.checkpoint import open_checkpoint
from limner.tools.miniature.checks.hard import chosen, write_hard
from limner.tools.miniature.recipe.prompt_sets import write_sets
from limner.tools.miniature.train import WEIGHTS


def test_those_over_the_threshold_come_hardest_first_and_lost_pictures_not_at_all() -> None:
    rows = [{"prompt": name} for name in "abcd"]
    found = chosen(rows, np.array([0.5, 0.9, np.nan, 0.7]), 0.7)
    assert [(row["prompt"], row["loss"]) for row in found] == [("b", 0.9), ("d", 0.7)]


def test_the_card_names_the_hard_prompts_with_their_threshold(tmp_path: Path) -> None:
    copy = tmp_path / "weights"
    shutil.copytree(WEIGHTS, copy)
    card = json.loads((copy / "card.json").read_text(encoding="utf-8"))
    card["prompts"] |= {name: f"prompts/{file}" for name, file in write_sets(copy / "prompts", 0, len(card["nouns"]), 2).items()}
    card["recommended"]["steps"] = 2
    (copy / "card.json").write_text(json.dumps(card), encoding="utf-8")
    said: list[str] = []
    write_hard(open_checkpoint(str(copy), "cpu"), said.append, 2)
    after = open_checkpoint(str(copy), "cpu").card
    threshold = after.document["hard"]["threshold"]
    for split in ("train", "heldout"):
        lines = after.path(after.document["prompts"][f"hard.{split}"]).read_text(encoding="utf-8").splitlines()
        losses = [json.loads(line)["loss"] for line in lines]
        assert losses == sorted(losses, reverse=True) and all(loss >= threshold - 1e-4 for loss in losses)
    assert said[0] == f"hard prompts, train: 3 of 12 have a loss of {threshold} or more"
