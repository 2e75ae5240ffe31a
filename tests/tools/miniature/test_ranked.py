"""Pictures are ranked by the truth: faithfulness first, then quality; and what heads are taught is what stands in the picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from limner.tools.miniature.recipe.clip import cell_truth
from limner.tools.miniature.recipe.judge import PAINTED, judge_loss, new_judge
from limner.tools.miniature.recipe.ranked import CHOICES, LOOKED, MARGIN, Pool, arranged, kept_pool, ranked
from limner.tools.miniature.recipe.reading import IGNORED
from limner.tools.miniature.recipe.vae import new_vae
from limner.tools.miniature.world.scene import Quality, Scene, Thing, draw_scene, place_pair, place_several, place_single
from limner.tools.miniature.world.vocabulary import COLOURS
from limner.tools.scoring.judge_network import Seen
from tests.tools.miniature.glyph_sheet import GLYPHS


def single(colour: str | None = "red", palette: str = "") -> Scene:
    thing = place_single(np.random.default_rng(0), Thing(3, colour, None, 0, 0, 0), False)
    return Scene((thing,), None, "meadow", "photo", Quality(palette=palette), 1)


def test_fewer_mistakes_come_first_and_then_clearly_better_quality() -> None:
    rng, looked = np.random.default_rng(0), 0
    for _ in range(150):
        entry = ranked(rng, 60)
        assert len(entry.answers) == CHOICES
        for i, j in entry.pairs:
            (first, good), (second, worse) = entry.ranks[i], entry.ranks[j]
            assert first < second or (first == second and good > worse + MARGIN)
        for scene, (mistakes, goodness) in zip(entry.answers, entry.ranks, strict=True):
            assert goodness == pytest.approx(scene.quality.goodness, abs=1e-6)
            if mistakes == 0:
                assert [thing.noun for thing in scene.things] == [thing.noun for thing in entry.asked.things]
                assert [thing.colour for thing in scene.things] == [thing.colour for thing in entry.asked.things]
        looked += any(scene.look for scene in entry.answers)
    assert 0.3 * LOOKED < looked / 150 < 1.5 * LOOKED


def test_a_palette_without_colours_fails_a_prompt_that_names_one() -> None:
    rng, found = np.random.default_rng(1), 0
    for _ in range(400):
        entry = ranked(rng, 60)
        for scene, (mistakes, _) in zip(entry.answers, entry.ranks, strict=True):
            if scene.quality.palette == "monochrome" and any(thing.colour for thing in entry.asked.things):
                assert mistakes >= 1
                found += 1
    assert found > 3


def test_only_a_single_thing_is_cropped() -> None:
    rng = np.random.default_rng(2)
    cropped = Quality(cropped=True)
    assert arranged(single(), cropped, rng).quality.cropped
    pair = replace(single(), relation="left", things=place_pair(Thing(0, None, None, 0, 0, 0), Thing(1, None, None, 0, 0, 0), "left"))
    three = replace(single(), things=place_several(Thing(0, None, None, 0, 0, 0), 3))
    assert not arranged(pair, cropped, rng).quality.cropped
    assert not arranged(three, cropped, rng).quality.cropped
    assert arranged(three, cropped, rng).count == 3


def test_a_pool_is_rendered_once_and_knows_the_truth_of_each(tmp_path: Path) -> None:
    said: list[str] = []
    torch.manual_seed(0)
    vae = new_vae()
    pool = kept_pool(vae, 3, 60, 4, tmp_path, GLYPHS, said.append)
    again = kept_pool(vae, 3, 60, 4, tmp_path, GLYPHS, said.append)
    assert isinstance(again, Pool) and len(again) == 3
    assert said == ["ranked: rendering 3 prompts"]
    assert (np.asarray(pool.pictures) == np.asarray(again.pictures)).all()
    assert again.entry(1).asked == ranked(np.random.default_rng([4, 606, 1]), 60).asked
    kept_pool(vae, 3, 60, 5, tmp_path, GLYPHS, said.append)
    assert len(said) == 2


def test_a_cell_is_taught_the_thing_in_its_middle() -> None:
    cells = cell_truth(single()).reshape(8, 8, 2)
    assert tuple(cells[4, 4]) == (3, list(COLOURS).index("red"))
    assert tuple(cells[0, 0]) == (-1, -1)
    assert tuple(cell_truth(single(None)).reshape(8, 8, 2)[4, 4]) == (3, len(COLOURS))
    assert tuple(cell_truth(single(None, "monochrome")).reshape(8, 8, 2)[4, 4]) == (3, IGNORED)


def test_the_judges_loss_is_least_for_the_truth_and_asks_no_colour_of_a_grey_picture() -> None:
    torch.manual_seed(0)
    network = new_judge(60)
    scenes = [draw_scene(np.random.default_rng(seed), 60) for seed in range(6)]
    seen = network(torch.rand(6, 3, 64, 64))
    shift = np.zeros((6, 2))
    loss = judge_loss(seen, scenes, shift)
    style = torch.full_like(seen.style, -9.0)
    style[range(6), [PAINTED.index(scene.style) for scene in scenes]] = 9.0
    count = torch.full_like(seen.background[:, :3], -9.0)
    count[range(6), [scene.count - 1 for scene in scenes]] = 9.0
    better = Seen(seen.presence, seen.colour, seen.centre, seen.background, style, seen.defects, count)
    assert judge_loss(better, scenes, shift) < loss - 1
    grey = [single(None, "monochrome")]
    one = network(torch.rand(1, 3, 64, 64))
    first = judge_loss(one, grey, shift[:1])
    other = one.colour + 9 * torch.rand_like(one.colour)
    changed = Seen(one.presence, other, one.centre, one.background, one.style, one.defects, one.count)
    assert float(judge_loss(changed, grey, shift[:1])) == pytest.approx(float(first), abs=1e-5)
