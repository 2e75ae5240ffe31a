"""The hard prompts of a checkpoint's prompt sets: those whose pictures are far from the prompt.

DPO-Diff chooses its prompts this way (Wang et al. 2024, sec. 6.1): by the spherical CLIP loss of the base model's pictures, above a
threshold. Here the threshold is a quantile of the losses, since their scale depends on the CLIP.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from limner.promptdb.records import Conditioning, Drawing
from limner.tools.diffusion.checkpoint import Checkpoint
from limner.tools.diffusion.sampling.sampler import Sampler
from limner.tools.miniature.recipe.prompt_sets import SPLITS
from limner.tools.scoring.base import Scorer
from limner.tools.scoring.clip import SphericalClipScorer
from limner.tools.scoring.registry import open_scorer
from limner.tools.training import write_whole

KINDS = ("naive", "binding", "relation", "counting", "rare", "coco")  # not professional and crowded: their tags are not content
SEED = 7
QUANTILE = 0.75

Row = dict[str, Any]


def write_hard(checkpoint: Checkpoint, say: Callable[[str], None], count: int = 200) -> None:
    """Draws the first `count` prompts of each of `KINDS` and writes the hard ones to prompts/hard.SPLIT.jsonl in the checkpoint's folder.

    Rows are {prompt, kind, split, loss}, the hardest first. The card lists the files and the threshold, which is that of the training split
    for both splits.
    """
    sampler, scorer = Sampler(checkpoint), _loss(checkpoint)
    document, threshold = dict(checkpoint.card.document), float("nan")
    for split in SPLITS:
        rows = [row for kind in KINDS for row in _rows(checkpoint, f"{kind}.{split}", count)]
        losses = _losses(sampler, scorer, [row["prompt"] for row in rows])
        if split == SPLITS[0]:
            threshold = round(float(np.nanquantile(losses, QUANTILE)), 4)
        hard = chosen(rows, losses, threshold)
        name = f"prompts/hard.{split}.jsonl"
        write_whole(checkpoint.folder / name, "".join(json.dumps(row) + "\n" for row in hard))
        document["prompts"] = {**document["prompts"], f"hard.{split}": name}
        say(f"hard prompts, {split}: {len(hard)} of {len(rows)} have a loss of {threshold} or more")
    document["hard"] = {"loss": "spherical_clip", "threshold": threshold, "seed": SEED}
    write_whole(checkpoint.folder / "card.json", json.dumps(document, indent=1) + "\n")


def chosen(rows: Sequence[Row], losses: np.ndarray, threshold: float) -> list[Row]:
    """Returns the rows whose loss is at least `threshold`, the hardest first, with their loss.

    Rows with a NaN loss (no picture) are left out.
    """
    order = [place for place in np.argsort(-losses, kind="stable") if losses[place] >= threshold]
    return [{**rows[place], "loss": round(float(losses[place]), 4)} for place in order]


def _rows(checkpoint: Checkpoint, key: str, count: int) -> list[Row]:
    lines = checkpoint.card.path(checkpoint.card.document["prompts"][key]).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines[:count]]


def _losses(sampler: Sampler, scorer: Scorer, prompts: Sequence[str]) -> np.ndarray:
    settings, fingerprint = sampler.default_settings, sampler.fingerprint
    drawn = sampler.draw([Drawing(Conditioning(prompt), SEED, settings, fingerprint) for prompt in prompts])
    there = [(item.image, prompt, place) for place, (item, prompt) in enumerate(zip(drawn, prompts, strict=True)) if item.image is not None]
    losses = np.full(len(prompts), np.nan)
    losses[[place for _, _, place in there]] = scorer.score([image for image, _, _ in there], [prompt for _, prompt, _ in there])
    return losses


def _loss(checkpoint: Checkpoint) -> Scorer:
    """Returns the spherical CLIP loss with the card's own CLIP."""
    clip: Any = open_scorer(checkpoint.card.intent or checkpoint.card.objective, checkpoint)
    return SphericalClipScorer(clip.encoder)
