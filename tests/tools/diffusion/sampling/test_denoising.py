"""Hooks: how a method looks into, and takes part in, a drawing in progress."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from limner.promptdb.records import Conditioning, Drawing
from limner.tools.diffusion.checkpoint import Checkpoint
from limner.tools.diffusion.sampling.denoising import Denoising, Hooks
from limner.tools.diffusion.sampling.sampler import Sampler
from limner.tools.diffusion.sampling.script import step_embeddings
from tests.tools.diffusion.inputs import PROMPTS, SEEDS, drawings_of, settings_of


def test_x_t_can_be_kept_and_drawing_goes_on_from_it_to_the_same_picture(sd1: Checkpoint) -> None:
    sampler, drawings = Sampler(sd1), drawings_of(sd1)
    kept: dict[int, torch.Tensor] = {}

    def keep(step: int, timestep: torch.Tensor, latents: torch.Tensor) -> None:
        if step == 2:
            kept[int(timestep)] = latents.clone()

    expected = sampler.render(drawings, 4, Hooks(on_step=keep))
    rest = Denoising(sd1, drawings[0].settings, SEEDS, [7.5] * 4)
    [latents] = kept.values()
    rest.latents = latents
    sides = step_embeddings(sampler.scripts, PROMPTS, sampler.timing(drawings[0].settings), guided=True)
    embeddings = torch.cat([torch.stack([row.at(0) for row in rows]) for rows in reversed(sides)])
    with torch.no_grad():
        for step in (2, 3):
            rest.advance(step, rest.predict(step, embeddings))
        assert torch.equal(sd1.decode(rest.latents), expected)


def test_each_batch_is_announced_and_every_call_is_seen_without_padding(sd1: Checkpoint) -> None:
    batches: list[list[Drawing]] = []
    seen: list[tuple[int, int, int]] = []
    hooks = Hooks(
        on_batch=lambda drawings: batches.append(list(drawings)),
        on_step=lambda step, timestep, latents: seen.append((step, int(timestep), latents.shape[0])),
    )
    drawings = drawings_of(sd1, count=9, scheduler="HeunDiscreteScheduler", steps=2)
    Sampler(sd1, max_bucket=8).draw(drawings[:7], hooks=hooks)
    assert batches == [drawings[:7]]
    assert [(step, rows) for step, _, rows in seen] == [(0, 7), (1, 7), (2, 7)]
    assert [timestep for _, timestep, _ in seen] == sorted((timestep for _, timestep, _ in seen), reverse=True)


def test_embeddings_can_be_replaced_step_by_step(sd1: Checkpoint) -> None:
    sampler = Sampler(sd1)
    cats = [Drawing(Conditioning("a cat"), seed, settings_of(sd1), sd1.fingerprint) for seed in range(7)]
    dogs = [replace(drawing, conditioning=Conditioning("a dog")) for drawing in cats]
    dog = sampler.texts.encode(["a dog"])["a dog"]

    def say_dog(step: int, embeddings: torch.Tensor) -> torch.Tensor:
        assert tuple(embeddings.shape) == (14, 77, 32)
        return torch.cat([embeddings[:7], dog.expand(7, -1, -1)])

    assert torch.equal(sampler.render(cats, 8, Hooks(embeddings=say_dog)), sampler.render(dogs, 8))
    late = sampler.render(cats, 8, Hooks(embeddings=lambda step, rows: say_dog(step, rows) if step >= 2 else rows))
    assert not torch.allclose(late, sampler.render(dogs, 8), atol=1e-3)
    assert not torch.allclose(late, sampler.render(cats, 8), atol=1e-3)


def test_embeddings_of_another_shape_are_refused(sd1: Checkpoint) -> None:
    with pytest.raises(ValueError, match=r"must return shape \(8, 77, 32\), not \(4, 77, 32\)"):
        Sampler(sd1).render(drawings_of(sd1), 4, Hooks(embeddings=lambda step, rows: rows[:4]))
