"""Previews of swaps: what they are worth is what a picture guessed after one call with the word in place is worth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from limner.tools.budget import BudgetSpent
from limner.tools.diffusion.checkpoint import Checkpoint
from limner.tools.diffusion.gradients.shortcut import Shortcut, advance, clean_latents, guided
from limner.tools.diffusion.gradients.soft_text import SoftText
from limner.tools.diffusion.sampling.denoising import Denoising
from limner.tools.scoring.clip import ClipEncoder
from limner.tools.solvers.dpo_diff.preview import SwapPreview
from limner.tools.solvers.dpo_diff.solver import watched
from limner.tools.solvers.dpo_diff.text_gradient import KeptLatents
from tests.tools.solvers.dpo_diff.test_text_gradient import PROMPT, SEEDS, evaluator_of, gradient_of, space


@pytest.mark.parametrize("name", ["sd1", "sd2"])
@pytest.mark.parametrize("sides", [("negative",), ("positive", "negative")])
def test_a_preview_is_the_picture_guessed_after_one_call_with_the_word_in_place(
    models: dict[str, Checkpoint], encoder: ClipEncoder, tmp_path: Path, name: str, sides: tuple[str, ...]
) -> None:
    evaluator = evaluator_of(tmp_path, models[name], encoder)
    made = space(sides)  # type: ignore[arg-type]
    gradient = gradient_of(evaluator, made)
    choice = made.identity
    gains = SwapPreview(gradient).of_swaps(choice, Shortcut(2), SEEDS)
    soft = SoftText(gradient.texts)

    def loss(swap: tuple[int, ...]) -> torch.Tensor:
        settings, rows = evaluator.settings, len(SEEDS)
        denoising = Denoising(models[name], settings, SEEDS, [settings.guidance_scale] * rows)
        plain, said = made.render(choice), made.render(swap)
        before = [soft.hard([text]).expand(rows) for text in (plain.text, plain.negative)]
        after = [soft.hard([text]).expand(rows) for text in (said.text, said.negative)]
        with torch.no_grad():
            advance(denoising, *before, 2)
            return gradient.loss(models[name].decode(clean_latents(denoising, 2, guided(denoising, 2, *after))))

    base = loss(choice)
    assert [len(row) for row in gains] == list(made.sizes)
    for slot, row in enumerate(gains):
        assert row[0] == 0
        for candidate in range(1, len(row)):
            swap = tuple(candidate if place == slot else gene for place, gene in enumerate(choice))
            assert row[candidate] == pytest.approx(float((loss(swap) - base).mean()), abs=1e-5)
    assert max(float(np.abs(row).max()) for row in gains) > 0


def test_known_x_t_is_used_and_previews_are_paid_for_once(models: dict[str, Checkpoint], encoder: ClipEncoder, tmp_path: Path) -> None:
    results, spent = [], []
    for folder, keep in (("kept", True), ("live", False)):
        latents = KeptLatents([2])
        evaluator = watched(evaluator_of(tmp_path / folder, models["sd1"], encoder), latents)
        made = space(("negative",))
        evaluator.evaluate([made.render((1, 2))], PROMPT, SEEDS)
        before = evaluator.budget.spent["unet_rows"]
        for _ in range(2):
            gradient = gradient_of(evaluator, made, latents if keep else KeptLatents([]))
            results.append(np.concatenate(SwapPreview(gradient).of_swaps((1, 2), Shortcut(2), SEEDS)))
            spent.append(evaluator.budget.spent["unet_rows"] - before)
            assert gradient.charged == pytest.approx(spent[-1])
    assert all(np.allclose(results[0], other, atol=1e-5) for other in results)
    assert spent[0] == pytest.approx(spent[1]) and spent[2] == pytest.approx(spent[3])
    assert spent[2] - spent[0] == pytest.approx(len(SEEDS) * 2 * 2)


def test_previews_without_the_means_are_not_begun(models: dict[str, Checkpoint], encoder: ClipEncoder, tmp_path: Path) -> None:
    poor = evaluator_of(tmp_path, models["sd1"], encoder, rows=3)
    with pytest.raises(BudgetSpent):
        SwapPreview(gradient_of(poor, space())).of_swaps((0, 0, 0, 0), Shortcut(1), SEEDS)
    assert poor.budget.spent["unet_rows"] == 0
