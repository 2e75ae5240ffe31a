"""Noise that belongs to a drawing: one stream per row, made from its seed alone.

The stream is a CPU generator in fp32, so that a seed means the same noise on every device, in every dtype and at every place
of a batch. A row's stream gives first the initial latents, then what an ancestral sampler adds step by step; a stock
pipeline that is handed `generator=[...]` consumes its generators in the same order. Knows nothing of schedulers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MAX_SEED = 2**63 - 1


def noise_streams(seeds: Sequence[int]) -> list[torch.Generator]:
    """A fresh stream for every seed, 0 to MAX_SEED. torch reads the lowest 32 bits: seeds that differ by 2**32 share their noise."""
    import torch

    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


def copies(streams: Sequence[torch.Generator]) -> list[torch.Generator]:
    """Streams that will give the same numbers as these, and leave them where they are."""
    import torch

    made = [torch.Generator("cpu") for _ in streams]
    return [copy.set_state(stream.get_state()) for copy, stream in zip(made, streams, strict=True)]


def initial_noise(streams: Sequence[torch.Generator], shape: tuple[int, int, int]) -> torch.Tensor:
    """Standard normal x_T, one row a stream: (rows, channels, height, width), fp32, CPU. Takes the first numbers of each stream."""
    import torch

    return torch.cat([torch.randn((1, *shape), generator=stream, dtype=torch.float32) for stream in streams])
