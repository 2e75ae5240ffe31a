from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.tools.diffusion.sampling.noise import MAX_SEED, initial_noise, noise_streams

SHAPE = (4, 8, 8)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, MAX_SEED), others=st.lists(st.integers(0, MAX_SEED), max_size=3))
def test_the_noise_of_a_seed_does_not_depend_on_its_place_or_its_neighbours(seed: int, others: list[int]) -> None:
    alone = initial_noise(noise_streams([seed]), SHAPE)
    together = initial_noise(noise_streams([*others, seed]), SHAPE)
    assert torch.equal(together[-1], alone[0])


def test_noise_is_what_a_stock_pipeline_draws_from_a_generator_of_that_seed() -> None:
    from diffusers.utils.torch_utils import randn_tensor

    expected = randn_tensor((2, *SHAPE), generator=[torch.Generator().manual_seed(seed) for seed in (3, 4)])
    assert torch.equal(initial_noise(noise_streams([3, 4]), SHAPE), expected)


def test_a_stream_goes_on_where_the_initial_noise_ended() -> None:
    stream = noise_streams([5])
    first, second = initial_noise(stream, SHAPE), initial_noise(stream, SHAPE)
    generator = torch.Generator().manual_seed(5)
    assert torch.equal(first, torch.randn((1, *SHAPE), generator=generator))
    assert torch.equal(second, torch.randn((1, *SHAPE), generator=generator))


def test_noise_is_standard_normal_fp32_on_the_cpu() -> None:
    noise = initial_noise(noise_streams(range(64)), SHAPE)
    assert (noise.dtype, noise.device.type, tuple(noise.shape)) == (torch.float32, "cpu", (64, *SHAPE))
    assert abs(float(noise.mean())) < 0.05
    assert abs(float(noise.std()) - 1) < 0.05


def test_global_randomness_is_neither_read_nor_moved() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = initial_noise(noise_streams([7]), SHAPE)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(initial_noise(noise_streams([7]), SHAPE), first)
