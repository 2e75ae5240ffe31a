"""Stages: the preference scorer and the aesthetic head, trained on pictures that the ground truth has ranked.

The preference scorer is built as HPS: the alignment CLIP, fine-tuned so that of two pictures for one prompt the better one scores
higher (Wu et al. 2023, "Human Preference Score v2", sec. 4: cross-entropy over image pairs). Its prompts name content alone: no modifier
word occurs in them, so none can raise the score by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from limner.tools.miniature.recipe.clip import image_features, normalised, plain_attention, text_features
from limner.tools.miniature.recipe.ranked import CHOICES, Pool, ranked
from limner.tools.miniature.recipe.tokenizer import tokens
from limner.tools.miniature.recipe.vae import reconstruct
from limner.tools.miniature.world.captions import CONTENT, FULL, caption
from limner.tools.miniature.world.render import render
from limner.tools.miniature.world.scene import SIDE, draw_scene
from limner.tools.miniature.world.sprites import Glyphs
from limner.tools.training import Schedule, device_of, mixed_precision, muon, train

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL
    from transformers import CLIPModel, CLIPTokenizer

AESTHETIC = 3000  # pictures for the aesthetic head; a sixth of them are held out to measure it
APART = ("token_embedding", "position_embedding", "class_embedding", "projection")  # for AdamW, not Muon


def train_preference(
    model: CLIPModel, tokenizer: CLIPTokenizer, pool: Callable[[], Pool], schedule: Schedule, prompts: int, work: Path, seed: int,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    """Trains `model` with the logistic loss on ranked pairs at CLIP's own temperature.

    `pool`: returns the ranked pictures; called only if training needs them. `prompts`: entries of the pool in a step; their captions are
    written anew each time.
    """
    import torch
    from torch.nn import functional as F

    pooled = cache(pool)  # on first use: a finished stage needs none

    def loss(rng: np.random.Generator) -> torch.Tensor:
        rows = np.sort(rng.choice(len(pooled()), prompts, replace=False))
        entries = [pooled().entry(int(row)) for row in rows]
        texts = [caption(entry.asked, rng, FULL if rng.random() < 0.5 else CONTENT) for entry in entries]
        with mixed_precision(device_of(model)):
            image = image_features(model, normalised(pooled().pictures[rows].reshape(-1, SIDE, SIDE, 3)))
            text = text_features(model, tokens(tokenizer, texts))
        scale = model.logit_scale.exp().clamp(max=100)
        scores = scale * torch.einsum("pcd,pd->pc", image.view(prompts, CHOICES, -1), text)
        losses = [F.softplus(scores[row, j] - scores[row, i]) for row, entry in enumerate(entries) for i, j in entry.pairs]
        return torch.stack(losses).mean()

    with plain_attention(model):
        train("preference", model, loss, schedule, work, seed, say, lambda module, decay: muon(module, decay, APART))
    model.eval()


def preference_accuracy(
    model: CLIPModel, tokenizer: CLIPTokenizer, vae: AutoencoderKL, nouns: int, seed: int, glyphs: Glyphs, prompts: int = 400
) -> dict[str, float]:
    """Returns the share of ranked pairs that the scorer ranks as the ground truth does, on new scenes.

    `pairs`: of all pairs; `quality_pairs`: of those that differ in quality alone.
    """
    import torch

    rng = np.random.default_rng([seed, 909])
    right: list[bool] = []
    quality: list[bool] = []
    for _ in range(prompts):
        entry = ranked(rng, nouns)
        pictures = reconstruct(vae, np.stack([render(scene, glyphs) for scene in entry.answers]))
        with torch.inference_mode():
            text = text_features(model, tokens(tokenizer, [caption(entry.asked, rng, CONTENT)]))[0]
            scores = image_features(model, normalised(pictures)) @ text
        for i, j in entry.pairs:
            right.append(bool(scores[i] > scores[j]))
            if entry.ranks[i, 0] == entry.ranks[j, 0]:
                quality.append(right[-1])
    return {"pairs": float(np.mean(right)), "quality_pairs": float(np.mean(quality))}


def fit_aesthetic(
    model: CLIPModel, vae: AutoencoderKL, nouns: int, seed: int, glyphs: Glyphs, pictures: int = AESTHETIC, ridge: float = 1.0
) -> tuple[np.ndarray, float, float]:
    """Fits a linear head on the alignment CLIP's unit image features to the ground truth's goodness, by ridge regression.

    Returns weight (width,), bias, and the correlation with goodness on the held-out sixth of the pictures.
    """
    import torch

    rng = np.random.default_rng([seed, 404])
    scenes = [draw_scene(rng, nouns) for _ in range(pictures)]
    parts = []
    for start in range(0, pictures, 256):
        images = reconstruct(vae, np.stack([render(scene, glyphs) for scene in scenes[start : start + 256]]))
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
