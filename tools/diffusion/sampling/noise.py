"""The noise of a drawing: one stream for each row, made from its seed alone.

A stream is a CPU generator in fp32, so that a seed gives equal noise on every device, in every dtype and at every place of a batch. A row's
stream first gives the initial latents, then the noise of an ancestral sampler step by step, in the order in which a stock
pipeline with `generator=[...]` uses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MAX_SEED = 2**63 - 1


def noise_streams(seeds: Sequence[int]) -> list[torch.Generator]:
    """Returns a new stream for every seed, from 0 to MAX_SEED. torch reads the lowest 32 bits: seeds that differ by 2**32 share noise."""
    import torch

    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


def copies(streams: Sequence[torch.Generator]) -> list[torch.Generator]:
    """Returns streams that will give the same numbers as these; the originals do not advance."""
    import torch

    made = [torch.Generator("cpu") for _ in streams]
    return [copy.set_state(stream.get_state()) for copy, stream in zip(made, streams, strict=True)]


def initial_noise(streams: Sequence[torch.Generator], shape: tuple[int, int, int]) -> torch.Tensor:
    """Returns standard normal x_T, one row per stream: (rows, channels, height, width), fp32, CPU.

    Takes the first numbers of each stream.
    """
    import torch

    return torch.cat([torch.randn((1, *shape), generator=stream, dtype=torch.float32) for stream in streams])
