"""Prompts in the miniature's world, by fixed seeds: naive ones, professional ones built from them, and held-out ones.

Professional prompts are what practitioners write: the subject, then tags (most useful, some placebo, a few harmful), and a negative
prompt. Held-out prompts share no text with the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from limner.tools.miniature.world.captions import CONTENT, caption
from limner.tools.miniature.world.professional import professional_form
from limner.tools.miniature.world.scene import Quality, Scene, draw_scene

NAIVE, PER_NAIVE = 150, 8


def naive_prompts(seed: int, nouns: int, count: int) -> list[str]:
    """Returns at most `count` distinct plain descriptions without modifiers. Sets made with different seeds may overlap."""
    return list(dict.fromkeys(_contents(seed, nouns)))[:count]


def _contents(seed: int, nouns: int, tries: int = 4000) -> Iterator[str]:
    rng = np.random.default_rng([seed, 1701])
    for _ in range(tries):
        yield caption(_plain(draw_scene(rng, nouns, photo_share=0.75)), rng, CONTENT)


def _plain(scene: Scene) -> Scene:
    return Scene(scene.things, scene.relation, scene.background, scene.style, Quality(), scene.seed)


def professional_prompts(seed: int, nouns: int) -> list[dict[str, str]]:
    """Returns `PER_NAIVE` professional forms of each of `NAIVE` naive prompts: {text, subject, negative, source}."""
    rng = np.random.default_rng([seed, 1702])
    return [professional_form(subject, rng) for subject in naive_prompts(seed, nouns, NAIVE) for _ in range(PER_NAIVE)]


def heldout_prompts(seed: int, nouns: int, count: int) -> list[str]:
    """Returns at most `count` plain prompts that are neither naive prompts nor subjects of professional ones."""
    known = set(naive_prompts(seed, nouns, NAIVE))
    return [text for text in naive_prompts(seed + 1, nouns, 2 * count + NAIVE) if text not in known][:count]


def write_seed(folder: Path, seed: int, nouns: int) -> None:
    """Writes the seed files of the prompt database into `folder`: naive.jsonl and professional.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    naive = [{"text": text, "subject": text, "negative": "", "source": "naive"} for text in naive_prompts(seed, nouns, NAIVE)]
    for name, rows in (("naive", naive), ("professional", professional_prompts(seed, nouns))):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_heldout(path: Path, seed: int, nouns: int, count: int = 200) -> None:
    """Writes the checkpoint's evaluation prompts to `path`, one JSON object {prompt} a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in heldout_prompts(seed, nouns, count)), encoding="utf-8")
