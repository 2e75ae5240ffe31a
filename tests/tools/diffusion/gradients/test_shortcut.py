"""The shortcut text gradient: right to the digit, through the whole text encoder, at the cost of its graded calls alone.

Properties 1, 4 to 10 of DPO-Diff. Convention: exactly K UNet calls carry gradient; the full gradient is K = T where the sampler's last step
returns its own x_0, as DDIM does with `set_alpha_to_one`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from limner.promptdb.records import Conditioning, Drawing, SamplerSettings
from limner.tools.diffusion.checkpoint import Checkpoint, open_checkpoint
from limner.tools.diffusion.gradients.cost import gradient_cost
from limner.tools.diffusion.gradients.shortcut import Shortcut, advance, clean_latents, guided, shortcut_pictures
from limner.tools.diffusion.gradients.soft_text import Mixture, SoftText, TextContext
from limner.tools.diffusion.sampling.conditioning import TextEncoding
from limner.tools.diffusion.sampling.denoising import Denoising
from limner.tools.diffusion.sampling.sampler import Sampler
from limner.tools.solvers.dpo_diff.text_gradient import KeptLatents

STEPS, W = 4, 3.0


def settings_for(checkpoint: Checkpoint, steps: int = STEPS, guidance: float = W) -> SamplerSettings:
    return replace(checkpoint.default_settings, scheduler="DDIMScheduler", steps=steps, guidance_scale=guidance)


@pytest.fixture(scope="module", params=["sd1", "sd2"])
def precise(request: pytest.FixtureRequest, sd1_folder: Path, sd2_folder: Path) -> Checkpoint:
    """In float64, and with a sampler whose last step returns x_0."""
    checkpoint = open_checkpoint(str(sd1_folder if request.param == "sd1" else sd2_folder), device="cpu")
    checkpoint._cast(torch.float64)
    checkpoint.scheduler_config |= {"set_alpha_to_one": True}
    return checkpoint


def decode(checkpoint: Checkpoint) -> Callable[[torch.Tensor], torch.Tensor]:
    """As the checkpoint's, but not rounded to float32."""
    return lambda latents: checkpoint.vae.decode(latents / checkpoint.vae.config.scaling_factor, return_dict=False)[0] * 0.5 + 0.5


def noise(checkpoint: Checkpoint, seeds: list[int]) -> torch.Tensor:
    return Denoising(checkpoint, settings_for(checkpoint), seeds, [W] * len(seeds)).latents.double()


def contexts(checkpoint: Checkpoint) -> tuple[torch.Tensor, torch.Tensor]:
    known = TextEncoding(checkpoint).encode(["a red cat", "blurry dog"])
    return known["a red cat"][None].clone(), known["blurry dog"][None].clone()


def loss_of(pictures: torch.Tensor) -> torch.Tensor:
    """Smooth and lopsided, so that no symmetry hides a mistake."""
    weights = torch.linspace(-1, 2, pictures[0].numel(), dtype=pictures.dtype).reshape(pictures.shape[1:])
    return (pictures * weights).tanh().flatten(1).mean(dim=1)


def shortcut_loss(checkpoint: Checkpoint, positive: Any, negative: Any, shortcut: Shortcut, latents: torch.Tensor) -> torch.Tensor:
    pictures = shortcut_pictures(
        checkpoint,
        settings_for(checkpoint),
        list(range(len(latents))),
        TextContext(positive),
        TextContext(negative),
        shortcut,
        latents,
        decode(checkpoint),
    )
    return loss_of(pictures).mean()


@pytest.mark.parametrize("text", ["a red cat on the dog", "red", "a photo of a cat, sharp, détaillé!"])
def test_with_all_weight_on_one_word_a_soft_prompt_is_the_hard_one(sd1: Checkpoint, sd2: Checkpoint, text: str) -> None:
    for checkpoint in (sd1, sd2):
        soft = SoftText(TextEncoding(checkpoint))
        before, _, after = text.partition("red")
        words = ("red", "blue", "bright unheardof")
        for chosen, word in enumerate(words):
            weights = torch.nn.functional.one_hot(torch.tensor(chosen), 3).float()
            pieces = [(before, None), (word, Mixture(words, chosen, weights)), (after, None)]
            assert torch.allclose(soft.soft(pieces).hidden, soft.hard([before + word + after]).hidden, atol=1e-6)


def test_a_soft_prompt_over_the_limit_keeps_its_end_mark_as_the_tokenizer_does(sd1: Checkpoint) -> None:
    soft, words = SoftText(TextEncoding(sd1, truncate=True)), ("cat", "dog")
    text = "a red cat " * 40
    pieces = [(text, None), ("cat", Mixture(words, 0, torch.tensor([1.0, 0.0])))]
    assert torch.allclose(soft.soft(pieces).hidden, soft.hard([text + "cat"]).hidden, atol=1e-6)


def test_moving_weight_moves_only_what_comes_after_it_in_reading_order(sd1: Checkpoint) -> None:
    """The encoder is causal, and its positions are there: with bare embeddings no other row would move."""
    soft, words = SoftText(TextEncoding(sd1)), ("red", "blue")
    found = [
        soft.soft([("a ", None), ("red", Mixture(words, 0, torch.tensor(weights))), (" cat", None)]).hidden[0]
        for weights in ([1.0, 0.0], [0.5, 0.5])
    ]
    moved = (found[0] - found[1]).abs().amax(dim=1) > 1e-7
    assert not moved[:2].any() and moved[2:5].all()


@pytest.mark.parametrize("shortcut", [Shortcut(1, 1), Shortcut(1, 2), Shortcut(0, STEPS)], ids=str)
@pytest.mark.parametrize("side", ["positive", "negative"])
def test_the_gradient_is_that_of_finite_differences(precise: Checkpoint, shortcut: Shortcut, side: str) -> None:
    """x_t before the graded calls is frozen, as the shortcut has it."""
    positive, negative = contexts(precise)
    searched = positive if side == "positive" else negative
    latents = noise(precise, [0, 1])

    def loss(context: torch.Tensor) -> torch.Tensor:
        pair = (context, negative) if side == "positive" else (positive, context)
        return shortcut_loss(precise, *pair, shortcut, latents)

    leaf = searched.clone().requires_grad_()
    loss(leaf).backward()
    assert leaf.grad is not None
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        direction = torch.randn(searched.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            difference = (loss(searched + 1e-5 * direction) - loss(searched - 1e-5 * direction)) / 2e-5
        assert float((leaf.grad * direction).sum()) == pytest.approx(float(difference), rel=1e-4, abs=1e-12)


def test_all_calls_graded_is_the_full_gradient_of_the_ordinary_picture(precise: Checkpoint) -> None:
    positive, negative = contexts(precise)
    latents = noise(precise, [0])
    found, expected = (tensor.clone().requires_grad_() for tensor in (positive, positive))
    loss = shortcut_loss(precise, found, negative, Shortcut(0, STEPS), latents)
    loss.backward()
    scheduler, x = precise.scheduler("DDIMScheduler", STEPS), latents
    for timestep in scheduler.timesteps:
        both = precise.unet(torch.cat([x, x]), timestep, encoder_hidden_states=torch.cat([negative, expected]))[0]
        e_neg, e_pos = both.chunk(2)
        x = scheduler.step(e_neg + W * (e_pos - e_neg), timestep, x, eta=0.0, return_dict=False)[0]
    ordinary = loss_of(decode(precise)(x)).mean()
    ordinary.backward()
    assert float(loss.detach()) == pytest.approx(float(ordinary.detach()), rel=1e-6)
    assert torch.allclose(found.grad, expected.grad, rtol=1e-5, atol=1e-8)  # the schedule itself is float32


def test_one_graded_call_is_reward_feedback_learning(precise: Checkpoint) -> None:
    """The gradient of loss(decode(x_0(stopped x_t, context))) and nothing else (Xu et al. 2023)."""
    positive, negative = contexts(precise)
    latents = noise(precise, [3])
    found, expected = (tensor.clone().requires_grad_() for tensor in (negative, negative))
    shortcut_loss(precise, positive, found, Shortcut(2), latents).backward()
    denoising = Denoising(precise, settings_for(precise), [3], [W])
    denoising.latents = latents
    timestep = denoising.timesteps[2]
    e_neg = precise.unet(latents, timestep, encoder_hidden_states=expected)[0]
    e_pos = precise.unet(latents, timestep, encoder_hidden_states=positive)[0].detach()
    loss_of(decode(precise)(clean_latents(denoising, 2, e_neg + W * (e_pos - e_neg)))).mean().backward()
    assert torch.allclose(found.grad, expected.grad, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("shortcut", [Shortcut(3, 1), Shortcut(2, 2)], ids=str)
def test_exactly_k_calls_of_the_unet_carry_gradient(sd1: Checkpoint, shortcut: Shortcut) -> None:
    positive, negative = (TextContext(tensor) for tensor in contexts(sd1))
    graded: list[bool] = []
    handle = sd1.unet.register_forward_hook(lambda module, given, output: graded.append(output[0].requires_grad))
    try:
        negative.hidden.requires_grad_()
        shortcut_pictures(sd1, settings_for(sd1, 6), [0, 1], positive, negative, shortcut)
    finally:
        handle.remove()
    # The fixed branch joins the gradient only where x_t itself depends on the searched text.
    assert graded[: shortcut.done] == [False] * shortcut.done
    assert graded[shortcut.done :] == [True, False] + [True, True] * (shortcut.graded - 1)


def test_memory_does_not_grow_with_the_number_of_steps_and_does_with_graded_calls(sd1: Checkpoint) -> None:
    positive, negative = (TextContext(tensor) for tensor in contexts(sd1))
    negative.hidden.requires_grad_()

    def held(steps: int, shortcut: Shortcut) -> int:
        seen: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            pictures = shortcut_pictures(sd1, settings_for(sd1, steps), [0], positive, negative, shortcut)
        assert pictures.requires_grad
        return sum(seen.values())

    short, long = held(10, Shortcut(3)), held(50, Shortcut(30))
    assert abs(long / short - 1) < 0.05
    assert held(10, Shortcut(3, 3)) > 1.5 * short


def test_x_t_of_the_prefix_is_the_samplers_to_the_bit(sd1: Checkpoint, sd2: Checkpoint) -> None:
    for checkpoint in (sd1, sd2):
        settings = settings_for(checkpoint)
        kept = KeptLatents([2])
        drawings = [Drawing(Conditioning("a red cat", "blurry"), seed, settings, checkpoint.fingerprint) for seed in (5, 6)]
        from limner.tools.diffusion.base import Hooks

        sampler = Sampler(checkpoint)
        sampler.draw(drawings, hooks=Hooks(on_step=kept.on_step, on_batch=kept.on_batch))
        soft = SoftText(sampler.texts)
        denoising = Denoising(checkpoint, settings, [5, 6], [W, W])
        advance(denoising, soft.hard(["a red cat"]).expand(2), soft.hard(["blurry"]).expand(2), 2)
        for drawing, row in zip(drawings, denoising.latents, strict=True):
            found = kept(drawing, 2)
            assert found is not None and torch.equal(found, row)
            assert not found.is_inference()


@pytest.mark.parametrize("scheduler", ["DDIMScheduler", "PNDMScheduler", "EulerDiscreteScheduler"])
def test_known_latents_give_the_same_pictures_as_the_prefix(sd1: Checkpoint, scheduler: str) -> None:
    settings = replace(settings_for(sd1), scheduler=scheduler)
    positive, negative = (TextContext(tensor) for tensor in contexts(sd1))
    denoising = Denoising(sd1, settings, [0], [W])
    advance(denoising, positive, negative, 2)
    with torch.no_grad():
        ours = shortcut_pictures(sd1, settings, [0], positive, negative, Shortcut(2), denoising.latents)
        live = shortcut_pictures(sd1, settings, [0], positive, negative, Shortcut(2))
    assert torch.allclose(ours, live, atol=1e-5)


def test_guidance_has_the_derivatives_of_its_formula_and_the_fixed_branch_needs_no_gradient(precise: Checkpoint) -> None:
    positive, negative = contexts(precise)
    denoising = Denoising(precise, settings_for(precise), [0], [W])
    denoising.latents = denoising.latents.double()

    def gradients(scale: float, searched: int, graded: tuple[bool, bool]) -> torch.Tensor:
        denoising.guidance = torch.full((1, 1, 1, 1), scale, dtype=torch.float64)
        pair = [TextContext(tensor.clone().requires_grad_(wanted)) for tensor, wanted in zip((positive, negative), graded, strict=True)]
        guided(denoising, 1, pair[0], pair[1]).square().sum().backward()
        grad = pair[searched].hidden.grad
        assert grad is not None
        return grad

    assert gradients(1.0, 1, (False, True)).abs().max() == 0
    assert gradients(0.0, 0, (True, False)).abs().max() == 0
    for searched in (0, 1):
        alone = gradients(W, searched, (searched == 0, searched == 1))
        assert torch.equal(alone, gradients(W, searched, (True, True))) and alone.abs().max() > 0
    # Linear in the prediction: d e / d e_pos = w and d e / d e_neg = 1 - w.
    denoising.guidance = torch.full((1, 1, 1, 1), W, dtype=torch.float64)
    leaf = TextContext(negative.clone().requires_grad_())
    guided(denoising, 1, TextContext(positive), leaf).sum().backward()
    expected = negative.clone().requires_grad_()
    precise.unet(denoising.latents, denoising.timesteps[1], encoder_hidden_states=expected)[0].sum().backward()
    assert leaf.hidden.grad is not None
    assert torch.allclose(leaf.hidden.grad, (1 - W) * expected.grad, rtol=1e-9, atol=1e-15)


def test_with_the_true_noise_the_clean_latents_come_back_and_ddpms_mean_has_both_forms(precise: Checkpoint) -> None:
    denoising = Denoising(precise, settings_for(precise), [0], [W])
    generator = torch.Generator().manual_seed(0)
    x0, e = (torch.randn(denoising.latents.shape, generator=generator, dtype=torch.float64) for _ in range(2))
    schedule = denoising.scheduler.alphas_cumprod.double()
    for step, timestep in enumerate(denoising.timesteps.tolist()):
        kept, before = schedule[timestep], schedule[timestep - 1]
        denoising.latents = kept.sqrt() * x0 + (1 - kept).sqrt() * e
        prediction = e if precise.prediction_type == "epsilon" else kept.sqrt() * e - (1 - kept).sqrt() * x0
        found = clean_latents(denoising, step, prediction)
        assert torch.allclose(found, x0, rtol=1e-5, atol=1e-5)
        alpha, beta = kept / before, 1 - kept / before
        mean = (before.sqrt() * beta * found + alpha.sqrt() * (1 - before) * denoising.latents) / (1 - kept)
        assert torch.allclose(mean, (denoising.latents - beta / (1 - kept).sqrt() * e) / alpha.sqrt(), rtol=1e-5, atol=1e-5)


def test_the_cost_counts_the_graded_calls_and_the_prefix_only_where_it_is_made(sd1: Checkpoint) -> None:
    cost = gradient_cost(sd1, settings_for(sd1), loss_of)
    assert 1.5 < cost.call < 3.5  # forward, and back without weights
    assert cost.gradient(Shortcut(8)) - cost.gradient(Shortcut(3)) == pytest.approx(10)
    assert cost.gradient(Shortcut(8), reused=True) == pytest.approx(cost.gradient(Shortcut(0)))
    assert cost.gradient(Shortcut(0, 3)) - cost.gradient(Shortcut(0, 1)) == pytest.approx(2 * (cost.call + 1))
    assert cost == gradient_cost(sd1, settings_for(sd1), loss_of)


def test_what_a_sampler_cannot_do_is_refused(sd1: Checkpoint) -> None:
    positive, negative = (TextContext(tensor) for tensor in contexts(sd1))
    with pytest.raises(ValueError, match="model calls"):
        shortcut_pictures(sd1, settings_for(sd1), [0], positive, negative, Shortcut(STEPS))
    with pytest.raises(ValueError, match="history"):
        settings = replace(settings_for(sd1), scheduler="PNDMScheduler")
        shortcut_pictures(sd1, settings, [0], positive, negative, Shortcut(1, 2), torch.zeros(1, 4, 8, 8))
    assert Shortcut(9, 2).within(4) == Shortcut(2, 2)
