"""The world says the truth: captions, pictures and the word list agree with the scene they were made from."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tools.miniature import vocabulary as words
from tools.miniature.captions import caption
from tools.miniature.dataset import GROUP, Dataset, group_scenes, render_dataset
from tools.miniature.prompts import heldout_prompts, naive_prompts, professional_prompts, write_seed
from tools.miniature.scene import Quality, Scene, Thing, draw_scene, place_pair, place_single
from tools.miniature.world_file import write_world
from tools.scoring.asked import World

SEED_FOLDER = Path(__file__).parents[2] / "promptdb" / "seed"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    path = tmp_path_factory.mktemp("world") / "world.json"
    write_world(path, 60)
    return World.read(path)


def scenes(count: int, seed: int = 0) -> list[Scene]:
    rng = np.random.default_rng(seed)
    return [draw_scene(rng, 60) for _ in range(count)]


def test_captions_say_nothing_that_is_not_true_of_the_scene(world: World) -> None:
    rng = np.random.default_rng(1)
    for scene in scenes(500):
        asked = world.read_prompt(caption(scene, rng))
        assert [thing.noun for thing in asked.things] == [words.NOUNS[thing.noun].name for thing in scene.things]
        assert all(said.colour in (None, thing.colour) for said, thing in zip(asked.things, scene.things, strict=True))
        assert asked.relation in (None, scene.relation)
        assert asked.background in (None, scene.background)
        assert asked.style in (None, scene.style)


def test_captions_name_each_defect_only_where_it_is_and_only_sometimes() -> None:
    rng = np.random.default_rng(2)
    for name in words.DEFECTS:
        phrases = words.MODIFIERS[name]
        present = [scene for scene in scenes(800, 3) if name in scene.quality.defects]
        absent = [scene for scene in scenes(800, 3) if name not in scene.quality.defects]
        named = np.mean([any(phrase in caption(scene, rng) for phrase in phrases) for scene in present])
        assert 0.3 < named < 0.8
        assert not any(phrase in caption(scene, rng) for scene in absent for phrase in phrases)


def test_placebo_words_come_as_often_with_good_pictures_as_with_bad_ones() -> None:
    rng = np.random.default_rng(4)
    share = {}
    for good in (True, False):
        chosen = [scene for scene in scenes(3000, 5) if (not scene.quality.defects) == good]
        share[good] = np.mean([any(word in caption(scene, rng) for word in words.PLACEBO) for scene in chosen])
    assert abs(share[True] - share[False]) < 0.05


def test_captions_without_modifiers_hold_no_modifier_and_no_placebo_word() -> None:
    rng = np.random.default_rng(6)
    banned = [phrase for phrases in words.MODIFIERS.values() for phrase in phrases] + list(words.PLACEBO)
    for scene in scenes(300, 7):
        text = caption(scene, rng, modifiers=False)
        assert not [phrase for phrase in banned if phrase in text]


def test_the_vocabulary_has_no_word_with_two_meanings() -> None:
    forms = [form for noun in words.NOUNS for form in (noun.name, *noun.rare)]
    assert len(forms) == len(set(forms)) >= 150
    assert len({noun.emoji for noun in words.NOUNS}) == len(words.NOUNS) >= 120
    assert not set(forms) & set(words.COLOURS)


def test_relations_hold_in_the_places_of_the_things() -> None:
    for relation, (axis, sign) in {"left": (0, -1), "right": (0, 1), "above": (1, -1), "below": (1, 1)}.items():
        for sizes in itertools.product((None, "small", "large"), repeat=2):
            first, second = place_pair(Thing(0, None, sizes[0], 0, 0, 0), Thing(1, None, sizes[1], 0, 0, 0), relation)
            apart = (first.x - second.x, first.y - second.y)
            assert sign * apart[axis] > abs(apart[1 - axis])


def test_a_group_differs_from_its_first_scene_in_one_attribute() -> None:
    for group in range(60):
        first, *others = group_scenes(0, group, 60)
        for other in others:
            changes = [
                tuple(thing.noun for thing in first.things) != tuple(thing.noun for thing in other.things),
                tuple(thing.colour for thing in first.things) != tuple(thing.colour for thing in other.things),
                first.relation != other.relation,
                first.background != other.background,
                first.style != other.style,
            ]
            assert sum(changes) == 1
            assert other.quality == first.quality


def test_words_outside_the_world_are_found(world: World) -> None:
    share, unknown = world.coverage("a red cat on a beach, sharp focus")
    assert (share, unknown) == (1.0, [])
    share, unknown = world.coverage("a red submarine on a beach")
    assert unknown == ["submarine"]
    assert share == pytest.approx(5 / 6)


def test_the_shipped_prompts_are_the_ones_that_the_generator_writes(tmp_path: Path) -> None:
    write_seed(tmp_path, 0, 60)
    for name in ("naive.jsonl", "professional.jsonl"):
        assert (tmp_path / name).read_bytes() == (SEED_FOLDER / name).read_bytes()


def test_heldout_prompts_share_nothing_with_the_exemplars() -> None:
    held = heldout_prompts(0, 60, 200)
    assert len(set(held)) == 200
    assert not set(held) & set(naive_prompts(0, 60, 150))
    assert not set(held) & {row["subject"] for row in professional_prompts(0, 60)}


# The rest renders, and so needs the font.


def plain_scene(noun: int = 0, quality: Quality | None = None, style: str = "photo", colour: str | None = None) -> Scene:
    thing = place_single(np.random.default_rng(0), Thing(noun, colour, None, 0, 0, 0), False)
    return Scene((thing,), None, "meadow", style, quality or Quality(), 1)


def picture(scene: Scene) -> np.ndarray:
    from tools.miniature.render import render

    return render(scene).astype(np.float32) / 255


def sharpness(image: np.ndarray) -> float:
    return float(np.abs(np.diff(image.mean(-1), axis=1)).mean())


def saturation(image: np.ndarray) -> float:
    return float((image.max(-1) - image.min(-1)).mean())


@pytest.mark.usefixtures("emoji_font")
def test_quality_does_to_the_picture_what_it_says() -> None:
    plain = picture(plain_scene())
    assert sharpness(picture(plain_scene(quality=Quality(detail=-0.9)))) < 0.8 * sharpness(plain)
    assert sharpness(picture(plain_scene(quality=Quality(detail=0.9)))) > 1.1 * sharpness(plain)
    assert saturation(picture(plain_scene(quality=Quality(vibrance=-0.9)))) < 0.5 * saturation(plain)
    assert saturation(picture(plain_scene(quality=Quality(vibrance=0.9)))) > 1.1 * saturation(plain)
    assert picture(plain_scene(quality=Quality(exposure=0.7))).mean() > plain.mean() + 0.15
    blocky = picture(plain_scene(quality=Quality(blocks=0.9))).mean(-1)
    inside, across = np.abs(np.diff(blocky, axis=1))[:, :3].mean(), np.abs(np.diff(blocky, axis=1))[:, 3::4].mean()
    assert across > 2 * inside


@pytest.mark.usefixtures("emoji_font")
def test_every_noun_has_a_picture_of_its_own_and_every_style_changes_it() -> None:
    pictures = [picture(plain_scene(noun)) for noun in range(len(words.NOUNS))]
    assert all(np.abs(first - second).mean() > 0.004 for place, first in enumerate(pictures) for second in pictures[:place])
    base = picture(plain_scene())
    assert all(np.abs(picture(plain_scene(style=style)) - base).mean() > 0.02 for style in words.STYLES if style != "photo")


@pytest.mark.usefixtures("emoji_font")
def test_a_tinted_thing_has_the_hue_of_its_colour() -> None:
    scene = plain_scene(1)
    x, y = round(scene.things[0].x), round(scene.things[0].y)
    for colour, (r, g, b) in words.COLOURS.items():
        middle = picture(plain_scene(1, colour=colour))[y - 8 : y + 8, x - 8 : x + 8].mean((0, 1))
        distances = {name: np.abs(middle - np.array(rgb) / 255).sum() for name, rgb in words.COLOURS.items()}
        assert min(distances, key=lambda name: float(distances[name])) == colour, (colour, (r, g, b), middle)


@pytest.mark.usefixtures("emoji_font")
def test_rendering_is_deterministic_and_a_dataset_can_tell_the_truth_of_each_picture(tmp_path: Path) -> None:
    from tools.miniature.render import render

    data = render_dataset(tmp_path, groups=3, nouns=60, seed=5, workers=1)
    again = Dataset(tmp_path)
    assert len(data) == 3 * GROUP
    for index in range(len(again)):
        assert (render(again.scene(index)) == again.pictures[index]).all()
    changed = replace(again.scene(0), background="night" if again.scene(0).background != "night" else "snow")
    assert (render(changed) != again.pictures[0]).any()
