"""Which noise belongs to a seed: each that a run may have has its own, so that no held-out picture is a search picture again."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from limner.graph.settings import HELDOUT_FROM, MOST_SEEDS, Settings
from limner.promptdb.errors import BadInput
from limner.tools.diffusion.sampling.noise import initial_noise, noise_streams

SEEDS = (0, 1, 5, 2**31 - 1, 2**31, 2**31 + 1, 2**31 + 5, 2**32 - 2, 2**32 - 1)


def noise(seed: int) -> torch.Tensor:
    return initial_noise(noise_streams([seed]), (4, 8, 8))


@pytest.mark.parametrize(("left", "right"), list(combinations(SEEDS, 2)))
def test_two_seeds_never_share_their_noise(left: int, right: int) -> None:
    assert not torch.equal(noise(left), noise(right))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_noise_of_a_seed_is_torchs_own(seed: int) -> None:
    assert torch.equal(noise(seed)[0], torch.randn((4, 8, 8), generator=torch.Generator().manual_seed(seed)))


def test_no_seed_that_a_run_may_have_leads_back_to_the_noise_of_another() -> None:
    """torch reads 32 bits of a seed: the last held-out seed of all must be below that."""
    last = Settings(seed=HELDOUT_FROM - MOST_SEEDS, heldout_seeds=MOST_SEEDS)
    assert max(last.heldout) == 2**32 - 1 and max(last.search) < HELDOUT_FROM
    for refused in ({"seed": HELDOUT_FROM - MOST_SEEDS + 1, "heldout_seeds": MOST_SEEDS}, {"seed": HELDOUT_FROM}):
        with pytest.raises(BadInput, match="--seed must be at most"):
            Settings(**refused)
