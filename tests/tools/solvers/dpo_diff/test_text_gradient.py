"""Gradients of a search on real (tiny, random) checkpoints: of mixtures and of swaps, their price, their memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from limner.promptdb.records import Conditioning
from limner.tools.budget import Budget, BudgetSpent
from limner.tools.diffusion.checkpoint import Checkpoint
from limner.tools.diffusion.gradients.shortcut import Shortcut, shortcut_pictures
from limner.tools.diffusion.gradients.soft_text import SoftText
from limner.tools.diffusion.sampling.sampler import Sampler
from limner.tools.evaluator import Evaluator
from limner.tools.scoring.clip import ClipEncoder, SphericalClipScorer
from limner.tools.scoring.differentiable import differentiable
from limner.tools.solvers.dpo_diff.relaxed import Relaxed
from limner.tools.solvers.dpo_diff.solver import sampler_of, watched
from limner.tools.solvers.dpo_diff.space import Slot, Space, Words
from limner.tools.solvers.dpo_diff.text_gradient import KeptLatents, SearchGradient
from tests.doubles import open_store

PROMPT, STEPS, SEEDS = "a red cat, on the dog", 4, (0, 1)


def space(sides: Sequence[str] = ("positive", "negative"), negative: str = "") -> Space:
    words = Words.split(PROMPT)
    slots = [
        Slot("positive", ("red", "blue", "unheard word"), 1, 2),
        Slot("positive", ("dog", "cat on"), 5, 6),
        Slot("negative", ("", "blurry", "photo of dog")),
        Slot("negative", ("", "sharp", "detailed", "blue")),
    ]
    return Space(Conditioning(PROMPT, negative), words, tuple(slot for slot in slots if slot.side in sides))


def evaluator_of(folder: Path, checkpoint: Checkpoint, encoder: ClipEncoder, rows: float | None = None) -> Evaluator:
    db, images = open_store(folder)
    settings = replace(checkpoint.default_settings, scheduler="DDIMScheduler", steps=STEPS, guidance_scale=3.0)
    return Evaluator(Sampler(checkpoint), [SphericalClipScorer(encoder)], db, images, Budget(unet_rows=rows), settings)


def gradient_of(evaluator: Evaluator, space: Space, latents: KeptLatents | None = None) -> SearchGradient:
    sampler = sampler_of(evaluator)
    assert sampler is not None
    loss = differentiable(evaluator.objective, PROMPT)
    assert loss is not None
    return SearchGradient(space, evaluator, sampler, loss, SEEDS, latents or (lambda drawing, step: None))


@pytest.mark.parametrize("name", ["sd1", "sd2"])
@pytest.mark.parametrize("choice", [(0, 0, 0, 0), (1, 1, 1, 2), (2, 0, 0, 3), (0, 1, 2, 0)])
@pytest.mark.parametrize("negative", ["", "photo"])
def test_a_certain_choice_is_its_text_to_the_encoder(
    models: dict[str, Checkpoint], name: str, choice: tuple[int, ...], negative: str
) -> None:
    """Positions, padding, separators, end mark, empties and candidates of several tokens included."""
    made, soft = space(negative=negative), SoftText(Sampler(models[name]).texts)
    weights = [torch.nn.functional.one_hot(torch.tensor(place), size).float() for place, size in zip(choice, made.sizes, strict=True)]
    contexts, rendered = Relaxed(made, soft).contexts(weights), made.render(choice)
    for side, text in (("positive", rendered.text), ("negative", rendered.negative)):
        assert torch.allclose(contexts[side].hidden, soft.hard([text]).hidden, atol=1e-6)  # type: ignore[index]


@pytest.fixture(params=["sd1", "sd2"])
def precise(request: pytest.FixtureRequest, models: dict[str, Checkpoint]) -> Iterator[Checkpoint]:
    """One of the checkpoints, in float64 meanwhile."""
    checkpoint = models[request.param]
    checkpoint._cast(torch.float64)
    yield checkpoint
    checkpoint._cast(torch.float32)


def precise_gradient(evaluator: Evaluator, made: Space, checkpoint: Checkpoint) -> SearchGradient:
    """Of a smooth loss, decoded without rounding."""
    gradient = gradient_of(evaluator, made)
    gradient.loss = lambda pictures: pictures.tanh().flatten(1).mean(dim=1)
    gradient.decode = lambda latents: checkpoint.vae.decode(latents / checkpoint.vae.config.scaling_factor, return_dict=False)[0]
    gradient.name = "smooth"
    return gradient


def test_the_gradient_by_weights_is_that_of_finite_differences(precise: Checkpoint, encoder: ClipEncoder, tmp_path: Path) -> None:
    """Through the mixture and the whole text encoder; t = 0, so that nothing before it needs to be frozen."""
    evaluator = evaluator_of(tmp_path, precise, encoder)
    gradient = precise_gradient(evaluator, space(), precise)
    generator = torch.Generator().manual_seed(0)
    weights = [torch.softmax(torch.randn(size, generator=generator, dtype=torch.float64), 0) for size in space().sizes]
    _, found = gradient.of_weights(weights, Shortcut(0))
    directions = [np.linspace(-1, 1, size) for size in space().sizes]
    moved = []
    for sign in (1, -1):
        shifted = [weight + sign * 1e-6 * torch.from_numpy(row) for weight, row in zip(weights, directions, strict=True)]
        moved.append(gradient.of_weights(shifted, Shortcut(0))[0])
    slope = sum(float(row @ direction) for row, direction in zip(found, directions, strict=True))
    assert slope == pytest.approx((moved[0] - moved[1]) / 2e-6, rel=1e-4)
    assert all(np.abs(row).max() > 0 for row in found)


def test_the_estimate_of_a_swap_is_the_slope_towards_its_own_encoding(precise: Checkpoint, encoder: ClipEncoder, tmp_path: Path) -> None:
    evaluator = evaluator_of(tmp_path, precise, encoder)
    gradient = precise_gradient(evaluator, space(("negative",)), precise)
    gains = gradient.of_swaps((1, 0), Shortcut(0), SEEDS)
    assert [len(row) for row in gains] == [3, 4] and gains[0][1] == gains[1][0] == 0
    soft = SoftText(gradient.texts)
    prompt, here, there = (soft.hard([text]) for text in (PROMPT, "blurry", "blurry, detailed"))
    values = []
    for step in (1e-6, -1e-6):
        mixed = replace(here, hidden=here.hidden + step * (there.hidden - here.hidden))
        with torch.no_grad():
            pictures = shortcut_pictures(precise, evaluator.settings, SEEDS, prompt, mixed, Shortcut(0), None, gradient.decode)
            values.append(float(gradient.loss(pictures).mean()))
    assert gains[1][2] == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-3)


def test_x_t_of_a_candidates_own_drawing_is_used_and_then_the_prefix_is_free(
    models: dict[str, Checkpoint], encoder: ClipEncoder, tmp_path: Path
) -> None:
    results, spent = [], []
    for folder, keep in (("kept", True), ("live", False)):
        latents = KeptLatents([2])
        evaluator = watched(evaluator_of(tmp_path / folder, models["sd1"], encoder), latents)
        made = space(("negative",))
        evaluator.evaluate([made.render((1, 2))], PROMPT, SEEDS)
        before = evaluator.budget.spent["unet_rows"]
        gradient = gradient_of(evaluator, made, latents if keep else KeptLatents([]))
        results.append(np.concatenate(gradient.of_swaps((1, 2), Shortcut(2), SEEDS)))
        spent.append(evaluator.budget.spent["unet_rows"] - before)
    assert np.allclose(results[0], results[1], atol=1e-5)
    assert spent[1] - spent[0] == pytest.approx(len(SEEDS) * 2 * 2)


def test_no_gradient_is_paid_for_twice_nor_begun_without_the_means(
    models: dict[str, Checkpoint], encoder: ClipEncoder, tmp_path: Path
) -> None:
    evaluator = evaluator_of(tmp_path, models["sd1"], encoder)
    first = gradient_of(evaluator, space()).of_swaps((0, 0, 0, 0), Shortcut(1), SEEDS)
    paid = evaluator.budget.spent["unet_rows"]
    again = gradient_of(evaluator, space()).of_swaps((0, 0, 0, 0), Shortcut(1), SEEDS)
    assert all(np.array_equal(left, right) for left, right in zip(first, again, strict=True))
    assert evaluator.budget.spent["unet_rows"] == paid
    poor = evaluator_of(tmp_path, models["sd1"], encoder, rows=paid / 2)
    with pytest.raises(BudgetSpent):
        gradient_of(poor, space()).of_swaps((1, 0, 0, 0), Shortcut(1), SEEDS)
    assert poor.budget.spent["unet_rows"] == 0


def test_a_gradient_that_is_not_finite_is_counted_and_not_kept(models: dict[str, Checkpoint], encoder: ClipEncoder, tmp_path: Path) -> None:
    evaluator = evaluator_of(tmp_path, models["sd1"], encoder)
    gradient = gradient_of(evaluator, space(("negative",)))
    gradient.loss = lambda pictures: pictures.flatten(1).mean(dim=1) * float("nan")
    assert not np.isfinite(np.concatenate(gradient.of_swaps((0, 0), Shortcut(1), SEEDS))).any()
    assert gradient.skipped == 1
    sound = gradient_of(evaluator, space(("negative",)))
    assert np.isfinite(np.concatenate(sound.of_swaps((0, 0), Shortcut(1), SEEDS))).all()


def test_the_same_candidate_costs_the_same_alone_and_in_any_batch(
    models: dict[str, Checkpoint], encoder: ClipEncoder, tmp_path: Path
) -> None:
    made = space()
    together = evaluator_of(tmp_path / "all", models["sd1"], encoder).evaluate(
        [made.render(choice) for choice in ((0, 0, 0, 0), (1, 0, 2, 0), (0, 1, 0, 3))], PROMPT, SEEDS
    )
    alone = evaluator_of(tmp_path / "one", models["sd1"], encoder).evaluate([made.render((1, 0, 2, 0))], PROMPT, SEEDS[:1])
    assert float(together.values["spherical_clip"][1, 0]) == pytest.approx(float(alone.values["spherical_clip"][0, 0]), abs=1e-3)


def test_without_guidance_a_negative_prompt_has_no_gradient_and_nothing_fails(
    models: dict[str, Checkpoint], encoder: ClipEncoder, tmp_path: Path
) -> None:
    evaluator = evaluator_of(tmp_path, models["sd1"], encoder)
    evaluator.settings = replace(evaluator.settings, guidance_scale=0.0)
    made = space(("negative",))
    gradient = gradient_of(evaluator, made)
    loss, found = gradient.of_weights([torch.full((size,), 1 / size) for size in made.sizes], Shortcut(1))
    assert math.isfinite(loss) and all(not row.any() for row in found)
    assert all(not row.any() for row in gradient.of_swaps((0, 0), Shortcut(1), SEEDS))
