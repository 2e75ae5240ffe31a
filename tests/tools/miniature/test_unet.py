"""What the UNet's training looks at: high noise more than low, things more than background."""

from __future__ import annotations

import numpy as np
import pytest

from limner.tools.miniature.recipe.unet import HIGH_NOISE, HIGH_NOISE_SHARE, THING_WEIGHT, draw_timesteps, place_weights
from limner.tools.miniature.world.scene import GRID, SIDE, Quality, Scene, Thing, draw_scene, place_single


def test_timesteps_cover_all_noise_and_most_are_of_high_noise() -> None:
    timesteps = draw_timesteps(np.random.default_rng(0), 20000)
    assert (timesteps.min(), timesteps.max()) == (0, 999)
    assert (timesteps >= HIGH_NOISE).mean() == pytest.approx(HIGH_NOISE_SHARE, abs=0.02)


def test_cells_of_a_thing_weigh_more_and_the_mean_is_one() -> None:
    thing = place_single(np.random.default_rng(0), Thing(0, None, None, 0, 0, 0), cropped=False)
    (weights,) = place_weights([Scene((thing,), None, "meadow", "photo", Quality(), 0)])
    assert weights.mean() == pytest.approx(1)
    heavy = weights > weights.min()
    assert heavy.sum() == (thing.pixels // GRID) ** 2
    assert weights.max() / weights.min() == pytest.approx(THING_WEIGHT)
    rows, columns = np.nonzero(heavy)
    assert (columns.mean() + 0.5) * GRID == pytest.approx(thing.x)
    assert (rows.mean() + 0.5) * GRID == pytest.approx(thing.y)


def test_things_stand_on_the_autoencoders_grid_and_in_the_picture() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        scene = draw_scene(rng, 60)
        for thing in scene.things:
            edges = [thing.x - thing.pixels / 2, thing.y - thing.pixels / 2]
            assert [edge % GRID for edge in edges] == [0, 0]
            if not scene.quality.cropped:
                assert min(edges) >= 0
                assert max(edges) + thing.pixels <= SIDE
