"""The world says the truth: captions, pictures and the word list agree with the scene they were made from."""

from __future__ import annotations

import colorsys
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from limner.tools.miniature.recipe.dataset import GROUP, Dataset, group_scenes, render_dataset
from limner.tools.miniature.train import PRESETS, WEIGHTS
from limner.tools.miniature.world import vocabulary as words
from limner.tools.miniature.world.captions import CONTENT, CROWDED_TAGS, FULL, RARE_SHARE, Manner, caption
from limner.tools.miniature.world.nouns import groups, plural
from limner.tools.miniature.world.prompts import heldout_prompts, naive_prompts, professional_prompts, write_seed
from limner.tools.miniature.world.scene import Quality, Scene, Thing, draw_scene, place_pair, place_several, place_single
from limner.tools.miniature.world.world_file import write_world
from limner.tools.scoring.asked import World
from tests.tools.miniature.glyph_sheet import GLYPHS

SEED_FOLDER = Path(__file__).parents[3] / "promptdb" / "seed"


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
        kinds = scene.things if scene.relation else scene.things[:1]
        assert [thing.noun for thing in asked.things] == [words.NOUNS[thing.noun].name for thing in kinds]
        assert all(said.colour in (None, thing.colour) for said, thing in zip(asked.things, kinds, strict=True))
        assert asked.things[0].count == (None if scene.count == 1 else scene.count)
        assert asked.relation in (None, scene.relation)
        assert asked.background in (None, scene.background)
        assert asked.style in (None, scene.style)


def test_captions_name_each_defect_only_where_it_is_and_only_sometimes() -> None:
    rng = np.random.default_rng(2)
    for name in words.DEFECTS:
        phrases = words.MODIFIERS[name]
        present = [scene for scene in scenes(800, 3) if name in scene.quality.defects]
        absent = [scene for scene in scenes(800, 3) if name not in scene.quality.defects]
        named = np.mean([bool({*caption(scene, rng).split(", ")} & {*phrases}) for scene in present])
        assert 0.3 < named < 0.8
        assert not any({*caption(scene, rng).split(", ")} & {*phrases} for scene in absent)


def test_placebo_words_come_as_often_with_good_pictures_as_with_bad_ones() -> None:
    rng = np.random.default_rng(4)
    share = {}
    for good in (True, False):
        chosen = [scene for scene in scenes(3000, 5) if (not scene.quality.defects) == good]
        share[good] = np.mean([any(word in caption(scene, rng) for word in words.PLACEBO) for scene in chosen])
    assert abs(share[True] - share[False]) < 0.05


def test_a_crowded_caption_has_many_tags_and_a_careless_one_now_and_then_names_another_thing(world: World) -> None:
    rng, mistaken = np.random.default_rng(8), 0
    for scene in scenes(400, 9):
        text = caption(scene, rng, Manner(crowded=True))
        assert len(text.split(", ")) > CROWDED_TAGS
        assert world.read_prompt(text).things[0].noun == words.NOUNS[scene.things[0].noun].name
        asked = world.read_prompt(caption(scene, rng, Manner(crowded=True, careless=60)))
        mistaken += [thing.noun for thing in asked.things] != [words.NOUNS[thing.noun].name for thing in scene.things][: len(asked.things)]
        plain = world.read_prompt(caption(scene, rng, Manner(crowded=False, careless=60)))
        assert plain.things[0].noun == words.NOUNS[scene.things[0].noun].name
    assert 0.25 < mistaken / 400 < 0.45


def test_a_full_caption_leaves_out_no_content(world: World) -> None:
    rng = np.random.default_rng(10)
    for scene in scenes(300, 11):
        asked = world.read_prompt(caption(scene, rng, FULL))
        assert (asked.relation, asked.background, asked.style) == (scene.relation, scene.background, scene.style)
        assert [thing.colour for thing in asked.things] == [thing.colour for thing in scene.things[: 2 if scene.relation else 1]]


def test_every_rare_name_occurs_in_training_at_least_twenty_times() -> None:
    """Of the captions that the smallest recipe draws: 48 a step, of which the things of one kind get their share."""
    for preset in PRESETS.values():
        drawn = preset.unet.steps * preset.unet_batch
        most = max(len(noun.rare) for noun in words.NOUNS[: preset.nouns])
        assert drawn * 1.3 / preset.nouns * RARE_SHARE / most > 20


def test_captions_without_modifiers_hold_no_modifier_and_no_placebo_word() -> None:
    rng = np.random.default_rng(6)
    banned = {phrase for phrases in words.MODIFIERS.values() for phrase in phrases} | {*words.PLACEBO}
    for scene in scenes(300, 7):
        assert not banned & {*caption(scene, rng, CONTENT).split(", ")}


def test_the_vocabulary_has_no_word_with_two_meanings() -> None:
    forms = [form for noun in words.NOUNS for form in (noun.name, *noun.rare)]
    assert len(forms) == len(set(forms)) >= 250
    assert len({noun.emoji for noun in words.NOUNS}) == len(words.NOUNS) >= 160
    assert sum(bool(noun.rare) for noun in words.NOUNS) >= 60
    assert not set(forms) & set(words.COLOURS)


def test_the_world_has_the_parts_that_its_description_promises() -> None:
    assert (len(words.COLOURS), len(words.RELATIONS), len(words.BACKGROUNDS), sorted(words.COUNT_WORDS)) == (10, 4, 10, [2, 3])
    assert len(words.STYLES) >= 6
    assert len(words.MODIFIERS) - len(("best", "poor")) >= 12
    assert {*words.GOOD, *words.HARMFUL, *words.NEUTRAL, "monochrome", "closeup", "distant", "day"} == {*words.MODIFIERS}
    assert all(len(names) >= 3 for names in groups().values())


def test_no_modifier_or_placebo_names_a_thing_a_place_or_a_style(world: World) -> None:
    for phrase in [phrase for phrases in words.MODIFIERS.values() for phrase in phrases] + list(words.PLACEBO):
        asked = world.read_prompt(f"a robot, {phrase}")
        assert [thing.noun for thing in asked.things] == ["robot"]
        assert (asked.things[0].colour, asked.background, asked.style) == (None, None, None), phrase


def test_both_words_of_an_opposition_occur_in_captions() -> None:
    rng = np.random.default_rng(12)
    said = set(" ".join(caption(scene, rng) for scene in scenes(4000, 13)).replace(",", "").split())
    assert not {word for pair in words.OPPOSITES for phrase in pair for word in phrase.split()} - said


@pytest.mark.parametrize(("one", "several"), [("cat", "cats"), ("bus", "buses"), ("butterfly", "butterflies"), ("knife", "knives")])
def test_plurals(one: str, several: str) -> None:
    assert plural(one) == several


def test_every_plural_is_read_as_its_noun(world: World) -> None:
    for noun in words.NOUNS[:60]:
        for form in (noun.name, *noun.rare):
            assert world.read_prompt(f"three small red {plural(form)}").things[0].noun == noun.name
            assert world.coverage(f"three small red {plural(form)}") == (1.0, [])


def test_relations_hold_in_the_places_of_the_things() -> None:
    for relation, (axis, sign) in {"left": (0, -1), "right": (0, 1), "above": (1, -1), "below": (1, 1)}.items():
        for sizes in itertools.product((None, "small", "large"), repeat=2):
            first, second = place_pair(Thing(0, None, sizes[0], 0, 0, 0), Thing(1, None, sizes[1], 0, 0, 0), relation)
            apart = (first.x - second.x, first.y - second.y)
            assert sign * apart[axis] > abs(apart[1 - axis])


def test_things_of_a_kind_stand_apart_and_inside_the_picture() -> None:
    for count in (2, 3):
        for size in (None, "small", "large"):
            things = place_several(Thing(0, None, size, 0, 0, 0), count)
            assert len(things) == count
            assert all(thing.pixels / 2 <= min(thing.x, thing.y, 64 - thing.x, 64 - thing.y) for thing in things)
            for one, other in itertools.combinations(things, 2):
                assert max(abs(one.x - other.x), abs(one.y - other.y)) >= one.pixels - 4


def test_a_group_differs_from_its_first_scene_in_one_attribute() -> None:
    for group in range(60):
        first, *others = group_scenes(0, group, 60)
        for other in others:
            changes = [
                {thing.noun for thing in first.things} != {thing.noun for thing in other.things},
                [thing.colour for thing in first.things][: 2 if first.relation else 1]
                != [thing.colour for thing in other.things][: 2 if first.relation else 1],
                first.count != other.count,
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
    card = json.loads((WEIGHTS / "card.json").read_text(encoding="utf-8"))
    if card.get("world") != words.WORLD:
        pytest.skip(f"the embedded checkpoint is of world {card.get('world', '1')}, and so are the shipped prompts")
    write_seed(tmp_path, 0, len(card["nouns"]))
    for name in ("naive.jsonl", "professional.jsonl"):
        assert (tmp_path / name).read_bytes() == (SEED_FOLDER / name).read_bytes()


def test_heldout_prompts_share_nothing_with_the_exemplars() -> None:
    held = heldout_prompts(0, 60, 200)
    assert len(set(held)) == 200
    assert not set(held) & set(naive_prompts(0, 60, 150))
    assert not set(held) & {row["subject"] for row in professional_prompts(0, 60)}


# The rest renders.


def plain_scene(noun: int = 0, quality: Quality | None = None, style: str = "photo", colour: str | None = None) -> Scene:
    thing = place_single(np.random.default_rng(0), Thing(noun, colour, None, 0, 0, 0), False)
    return Scene((thing,), None, "meadow", style, quality or Quality(), 1)


def picture(scene: Scene) -> np.ndarray:
    from limner.tools.miniature.world.render import render

    return render(scene, GLYPHS).astype(np.float32) / 255


def sharpness(image: np.ndarray) -> float:
    return float(np.abs(np.diff(image.mean(-1), axis=1)).mean())


def saturation(image: np.ndarray) -> float:
    return float((image.max(-1) - image.min(-1)).mean())


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


@pytest.mark.parametrize(
    "effect",
    [
        *(Quality(lighting=name) for name in words.LIGHTINGS), *(Quality(palette=name) for name in words.PALETTES),
        *(Quality(weather=name) for name in words.WEATHERS), Quality(bokeh=True), Quality(framed=True), Quality(watermarked=True),
    ],
)  # fmt: skip
def test_every_effect_is_to_be_seen_and_unlike_the_others(effect: Quality) -> None:
    changed = picture(plain_scene(quality=effect))
    assert np.abs(changed - picture(plain_scene())).mean() > 0.015
    others = [
        Quality(lighting="cinematic"),
        Quality(lighting="golden"),
        Quality(exposure=0.6),
        Quality(vibrance=-0.8),
        Quality(detail=-0.8),
    ]
    assert all(np.abs(changed - picture(plain_scene(quality=other))).mean() > 0.02 for other in others if other != effect)


def test_every_noun_has_a_picture_of_its_own_and_every_style_changes_it() -> None:
    pictures = [picture(plain_scene(noun)) for noun in range(len(words.NOUNS))]
    assert all(np.abs(first - second).mean() > 0.004 for place, first in enumerate(pictures) for second in pictures[:place])
    base = picture(plain_scene())
    assert all(
        np.abs(picture(plain_scene(style=style)) - base).mean() > 0.02 for style in (*words.STYLES, *words.LOOKS) if style != "photo"
    )


def test_a_tinted_thing_has_the_hue_of_its_colour() -> None:
    scene = plain_scene(1)
    x, y = round(scene.things[0].x), round(scene.things[0].y)
    middle = {name: picture(plain_scene(1, colour=name))[y - 8 : y + 8, x - 8 : x + 8].mean((0, 1)) for name in words.COLOURS}
    hue = {name: colorsys.rgb_to_hsv(*(value / 255 for value in rgb))[0] for name, rgb in words.COLOURS.items()}
    bright = [name for name in words.COLOURS if name not in ("brown", "white", "black")]
    for name in bright:
        seen = colorsys.rgb_to_hsv(*middle[name].tolist())[0]
        assert min(bright, key=lambda other: abs((seen - hue[other] + 0.5) % 1 - 0.5)) == name
    assert all(colorsys.rgb_to_hsv(*middle[name].tolist())[1] < 0.1 for name in ("white", "black"))
    assert middle["black"].mean() < 0.4 < 0.7 < middle["white"].mean()
    assert middle["brown"].mean() < 0.8 * middle["orange"].mean()
    assert all(np.abs(middle[one] - middle[other]).sum() > 0.2 for one, other in itertools.combinations(words.COLOURS, 2))


def test_rendering_is_deterministic_and_a_dataset_can_tell_the_truth_of_each_picture(tmp_path: Path) -> None:
    from limner.tools.miniature.world.render import render

    data = render_dataset(tmp_path, groups=3, nouns=60, seed=5, glyphs=GLYPHS, workers=1)
    again = Dataset(tmp_path)
    assert len(data) == 3 * GROUP
    for index in range(len(again)):
        assert (render(again.scene(index), GLYPHS) == again.pictures[index]).all()
    changed = replace(again.scene(0), background="night" if again.scene(0).background != "night" else "snow")
    assert (render(changed, GLYPHS) != again.pictures[0]).any()
