"""The check that tells whether a UNet reads the noun."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from limner.tools.miniature.checks.noun_gain import noun_gain
from limner.tools.miniature.recipe.tokenizer import POSITIONS
from limner.tools.miniature.recipe.unet import new_scheduler
from limner.tools.miniature.world.scene import draw_scene

NOUNS = 60
SCENES = [draw_scene(np.random.default_rng(number), NOUNS) for number in range(60)]
LATENTS = torch.randn(len(SCENES), 8, 16, 16, generator=torch.Generator().manual_seed(4))


def gain(predict: Any) -> float:
    """With a text encoder whose features are the tokens, and a tokenizer that spells."""

    def tokenizer(texts: list[str], **_: Any) -> Any:
        rows = [[*map(ord, text), *[0] * POSITIONS][:POSITIONS] for text in texts]
        return SimpleNamespace(input_ids=torch.tensor(rows))

    def encoder(ids: torch.Tensor) -> Any:
        return SimpleNamespace(last_hidden_state=ids)

    def unet(noisy: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor) -> Any:
        return SimpleNamespace(sample=predict(noisy, timesteps, context))

    return noun_gain(unet, encoder, tokenizer, SCENES, LATENTS, NOUNS)  # type: ignore[arg-type]


def test_a_network_that_does_not_read_gains_nothing() -> None:
    assert gain(lambda noisy, timesteps, context: 0.3 * noisy) == 0


def test_a_network_that_draws_the_picture_only_for_its_own_caption_gains() -> None:
    singles = [row for row, scene in enumerate(SCENES) if scene.relation is None]
    seen: list[torch.Tensor] = []

    def predict(noisy: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        seen.append(context)
        same = (context == seen[0]).all(1).float().view(-1, 1, 1, 1)
        level = new_scheduler().alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        clean = LATENTS[singles]
        noise = (noisy - level.sqrt() * clean) / (1 - level).sqrt()
        return same * (level.sqrt() * noise - (1 - level).sqrt() * clean)

    assert gain(predict) == pytest.approx(1, abs=0.2)  # the whole of v, whose variance is 1
    assert not (seen[0] == seen[1]).all(1).any()
