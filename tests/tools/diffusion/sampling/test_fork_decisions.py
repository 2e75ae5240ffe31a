"""Which row goes on with what: a fork takes along the guidance of the row that it comes from, and nothing of its neighbours'."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch

from limner.promptdb.records import Drawing
from limner.tools.diffusion.checkpoint import Checkpoint
from limner.tools.diffusion.sampling.denoising import Denoising
from limner.tools.diffusion.sampling.sampler import Sampler
from limner.tools.prompt_language.parse import read
from tests.tools.diffusion.inputs import settings_of
from tests.tools.diffusion.sampling.test_population import BATCHING, separate_pictures, shared_pictures, worst

SCALES = [2.0, 5.0, 9.0]


@pytest.mark.parametrize("rows", [[0, 1, 2], [2, 1, 0], [0, 0, 0], [2, 2, 0, 1, 1], [1]])
def test_a_forks_row_is_that_row_of_its_parent(sd1: Checkpoint, rows: list[int]) -> None:
    parent = Denoising(sd1, settings_of(sd1), [3, 4, 5], SCALES)
    fork = parent.fork(rows)
    assert fork.guidance is not None and fork.guidance.flatten().tolist() == [SCALES[row] for row in rows]
    assert torch.equal(fork.latents, parent.latents[rows])
    states = [parent.streams[row].get_state() for row in rows]
    assert all(torch.equal(stream.get_state(), state) for stream, state in zip(fork.streams, states, strict=True))


def test_a_fork_of_an_unguided_denoising_is_unguided(sd1: Checkpoint) -> None:
    assert Denoising(sd1, settings_of(sd1), [3, 4], [1.0, 1.0]).fork([1, 0]).guidance is None


def test_drawings_that_part_late_keep_their_own_guidance(sd1: Checkpoint) -> None:
    """Two rows become five, or five others where guidance differs: the second row has the first part of the fork."""
    late = [read("a cat [red:0-0.5:1]"), read("a cat [red:0-0.5:1.5]"), read("a cat")]
    drawings = [
        Drawing(item, 3, replace(settings_of(sd1), guidance_scale=scale), sd1.fingerprint)
        for scale, item in product(SCALES, late)
        if (scale, item) != (2.0, late[0])
    ]
    sampler = Sampler(sd1)
    alone = separate_pictures(sampler, drawings)
    assert worst(shared_pictures(sampler, drawings), alone) < BATCHING
    assert worst(alone[:2], alone[3:5]) > 100 * BATCHING  # so that another's guidance would show
