"""DF-Prompts on the trained miniature: exact where they say nothing new, and heard where they do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from limner.promptdb.records import Conditioning, Drawing
from limner.tools.diffusion.checkpoint import Checkpoint, open_checkpoint
from limner.tools.diffusion.sampling.population import Population, Sizes
from limner.tools.diffusion.sampling.sampler import Sampler
from limner.tools.prompt_language.parse import read

STEPS = 8


@pytest.fixture(scope="module")
def miniature() -> Checkpoint:
    return open_checkpoint("miniature", "cpu")


def drawings(miniature: Checkpoint, *asked: Conditioning) -> list[Drawing]:
    settings = replace(miniature.default_settings, steps=STEPS)
    return [Drawing(item, 5, settings, miniature.fingerprint) for item in asked]


def test_full_range_at_weight_one_is_the_plain_picture_to_the_bit(miniature: Checkpoint) -> None:
    sampler = Sampler(miniature)
    [plain] = sampler.render(drawings(miniature, Conditioning("a red car on a beach, sharp focus")), 1)
    [told] = sampler.render(drawings(miniature, read("a [red:0-1:1] car on a beach, [sharp focus:1->0:1.0]")), 1)
    assert torch.equal(plain, told)


def test_a_population_s_pictures_are_those_of_separate_runs(miniature: Checkpoint) -> None:
    sampler = Sampler(miniature)
    asked = drawings(miniature, *(read(f"a red car, [watercolor:0-{part}:{weight}]") for part in (0.5, 0.25) for weight in (0.5, 1, 1.5)))
    alone = torch.cat([sampler.render([drawing], 1) for drawing in asked])
    population = Population(miniature, sampler.scripts, sampler.timing(asked[0].settings), asked)
    found = {}
    for batch in population.batches(Sizes(lambda count: count, lambda size: False), lambda latents, count: miniature.decode(latents)):
        found.update({group[0].id: picture for group, picture in zip(batch.drawings, batch.pictures, strict=True)})
    assert float((torch.stack([found[drawing.id] for drawing in asked]).clamp(0, 1) - alone.clamp(0, 1)).abs().max()) < 1e-5
    assert population.rows == sampler.unet_rows(asked) < len(asked) * 2 * STEPS * 0.8
    assert float((alone[0] - alone[2]).abs().max()) > 0.01  # a weight is heard
