"""Stages: the preference scorer and the aesthetic head, both from pictures that the world's truth has ranked.

Preference is HPS-like: the alignment CLIP, fine-tuned so that of two pictures for one prompt the truth's better one scores
higher (Wu et al. 2023, "Human Preference Score v2", sec. 4: cross-entropy over image pairs). Faithfulness decides; among equally
faithful pictures, quality does. Prompts speak of content alone: no modifier word is ever seen, so none can gain by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tools.miniature.captions import CONTENT, caption
from tools.miniature.clip import image_features, normalised, plain_attention, text_features
from tools.miniature.dataset import one_change
from tools.miniature.loop import Schedule, device_of, mixed_precision, train
from tools.miniature.render import render
from tools.miniature.scene import Scene, draw_quality, draw_scene, place_pair, place_single
from tools.miniature.tokenizer import tokens
from tools.miniature.vae import reconstruct

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL
    from transformers import CLIPModel, CLIPTokenizer

CHOICES = 4  # pictures for each prompt
MARGIN = 0.35  # least difference in goodness that counts as one


def ranked_scenes(rng: np.random.Generator, nouns: int) -> tuple[Scene, list[Scene], np.ndarray]:
    """A scene to be asked for, `CHOICES` scenes that answer it more or less well, and their (mistakes, goodness)."""
    asked = draw_scene(rng, nouns)
    if asked.things[0].pixels and asked.relation is None:
        asked = replace(asked, things=(place_single(rng, asked.things[0], False),))
    answers, ranks = [], []
    for place in range(CHOICES):
        mistakes = 0 if place < 2 else int(rng.integers(0, 3))
        scene = asked
        for _ in range(mistakes):
            scene = one_change(scene, rng, nouns)
        quality = draw_quality(rng)
        if scene.relation is None:
            scene = replace(scene, things=(place_single(rng, scene.things[0], quality.cropped),))
        else:
            quality = replace(quality, cropped=False)
            scene = replace(scene, things=place_pair(scene.things[0], scene.things[1], str(scene.relation)))
        answers.append(replace(scene, quality=quality, seed=int(rng.integers(2**31))))
        ranks.append((mistakes, quality.goodness))
    return asked, answers, np.array(ranks, np.float32)


def better(ranks: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (i, j) where the truth prefers i: fewer mistakes, or as many and clearly better made."""
    pairs = []
    for i in range(len(ranks)):
        for j in range(len(ranks)):
            fewer = ranks[i, 0] < ranks[j, 0]
            if fewer or (ranks[i, 0] == ranks[j, 0] and ranks[i, 1] > ranks[j, 1] + MARGIN):
                pairs.append((i, j))
    return pairs


def ranked_batch(
    rng: np.random.Generator, nouns: int, prompts: int, vae: AutoencoderKL
) -> tuple[list[str], np.ndarray, list[list[tuple[int, int]]]]:
    """Texts, pictures (prompts * CHOICES, 64, 64, 3), and for each prompt the pairs that the truth has ranked."""
    texts, pictures, pairs = [], [], []
    for _ in range(prompts):
        asked, answers, ranks = ranked_scenes(rng, nouns)
        texts.append(caption(asked, rng, CONTENT))
        pictures += [render(scene) for scene in answers]
        pairs.append(better(ranks))
    stacked = np.stack(pictures)
    return texts, reconstruct(vae, stacked) if rng.random() < 0.7 else stacked, pairs


def train_preference(
    model: CLIPModel, tokenizer: CLIPTokenizer, vae: AutoencoderKL, nouns: int, schedule: Schedule, prompts: int, work: Path, seed: int,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    """Logistic loss on ranked pairs at CLIP's own temperature."""
    import torch
    from torch.nn import functional as F

    def loss(rng: np.random.Generator) -> torch.Tensor:
        texts, pictures, pairs = ranked_batch(rng, nouns, prompts, vae)
        with mixed_precision(device_of(model)):
            image = image_features(model, normalised(pictures))
            text = text_features(model, tokens(tokenizer, texts))
        scale = model.logit_scale.exp().clamp(max=100)
        scores = scale * torch.einsum("pcd,pd->pc", image.view(prompts, CHOICES, -1), text)
        losses = [F.softplus(scores[row, j] - scores[row, i]) for row, ranked in enumerate(pairs) for i, j in ranked]
        return torch.stack(losses).mean()

    with plain_attention(model):
        train("preference", model, loss, schedule, work, seed, say)
    model.eval()


def preference_accuracy(
    model: CLIPModel, tokenizer: CLIPTokenizer, vae: AutoencoderKL, nouns: int, seed: int, prompts: int = 200
) -> dict[str, float]:
    """Share of truth-ranked pairs that the scorer ranks alike, over fresh scenes: all, and those that differ in quality alone."""
    import torch

    rng = np.random.default_rng([seed, 909])
    right: list[bool] = []
    quality: list[bool] = []
    for _ in range(prompts):
        asked, answers, ranks = ranked_scenes(rng, nouns)
        pictures = reconstruct(vae, np.stack([render(scene) for scene in answers]))
        with torch.inference_mode():
            scores = (
                image_features(model, normalised(pictures)) @ text_features(model, tokens(tokenizer, [caption(asked, rng, CONTENT)]))[0]
            )
        for i, j in better(ranks):
            right.append(bool(scores[i] > scores[j]))
            if ranks[i, 0] == ranks[j, 0]:
                quality.append(right[-1])
    return {"pairs": float(np.mean(right)), "quality_pairs": float(np.mean(quality))}


def fit_aesthetic(
    model: CLIPModel, vae: AutoencoderKL, nouns: int, seed: int, pictures: int = 3000, ridge: float = 1.0
) -> tuple[np.ndarray, float, float]:
    """Linear head on the alignment CLIP's unit image features, by ridge regression on the truth's goodness.

    Returns weight (width,), bias, and the correlation with goodness on fresh scenes.
    """
    import torch

    rng = np.random.default_rng([seed, 404])
    scenes = [draw_scene(rng, nouns) for _ in range(pictures)]
    parts = []
    for start in range(0, pictures, 256):
        images = reconstruct(vae, np.stack([render(scene) for scene in scenes[start : start + 256]]))
        with torch.inference_mode():
            parts.append(image_features(model, normalised(images)).cpu().numpy())
    x, y = np.concatenate(parts), np.array([scene.quality.goodness for scene in scenes], np.float32)
    held = pictures // 6
    design = np.concatenate([x[held:], np.ones((pictures - held, 1), np.float32)], 1)
    penalty = ridge * np.eye(design.shape[1], dtype=np.float32)
    penalty[-1, -1] = 0
    solution = np.linalg.solve(design.T @ design + penalty, design.T @ y[held:])
    correlation = float(np.corrcoef(x[:held] @ solution[:-1] + solution[-1], y[:held])[0, 1])
    return solution[:-1].astype(np.float32), float(solution[-1]), correlation
