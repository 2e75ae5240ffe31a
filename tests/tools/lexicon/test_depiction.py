"""What a prompt is about, and whether a checkpoint can draw it: on words of a small world, and on prompts that others wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.tools.lexicon.depiction import Depiction, depiction
from limner.tools.scoring.asked import World

ROOT = Path(__file__).parents[3]
DATA = ROOT / "tests" / "data"

WORLD = World(
    nouns={"cat": "cat", "mice": "mouse", "mouse": "mouse", "teddy bear": "teddy bear"},
    colours={"red": "red"},
    relations={"left of": "left"},
    backgrounds={"on a beach": "beach", "beach": "beach"},
    styles={"woodcut": "woodcut"},
    modifiers={"sharp focus": "sharp", "masterpiece": "placebo", "small": "small"},
    fillers=("a", "an", "the", "of", "in", "on"),
    defects=("blurry",),
    counts={"two": 2},
)


@pytest.mark.parametrize(
    ("text", "drawable", "things", "places", "unknown"),
    [
        ("two small red cats left of a mouse on a beach, woodcut", True, ["cats", "mouse"], ["on a beach"], []),
        ("a cat and a cello", True, ["cat"], [], ["cello"]),  # half of it
        ("a cat, a cello and a waiter", True, ["cat"], [], []),  # what comes after the subject does not count
        ("a cat with a cello and a waiter", False, ["cat"], [], ["cello", "waiter"]),
        ("a cello", False, [], [], ["cello"]),
        ("a cello on a beach", False, [], ["on a beach"], ["cello"]),  # the place alone would be drawn
        ("a quiet beach", True, [], ["beach"], []),
        ("a drowsy, shaggy cat", True, ["cat"], [], []),  # what it knows of it is the cat
        ("a drowsy shaggy cat", True, ["cat"], [], []),
        ("masterpiece, sharp focus, a cello", False, [], [], ["cello"]),  # praise is no subject
        ("woodcut of a cello, masterpiece", False, [], [], ["cello"]),
        ("score_9, (teddy bear:1.2), solo", True, ["teddy bear"], [], []),
        ("portrait of a cat in the style of a famous waiter", True, ["cat"], [], []),
        ("xqzzt", False, [], [], ["xqzzt"]),
        ("eine Geige", False, [], [], ["eine", "geige"]),
        ("masterpiece", True, [], [], []),
        ("red", True, [], [], []),
        ("", True, [], [], []),
        ("a cat x", True, ["cat"], [], []),  # a letter is no thing
        ("an ox", False, [], [], ["ox"]),
        ("3 cats", True, ["cats"], [], []),
    ],
)
def test_what_a_prompt_is_about(text: str, drawable: bool, things: list[str], places: list[str], unknown: list[str]) -> None:
    found = depiction(WORLD, text)
    assert found == Depiction(tuple(things), tuple(places), tuple(unknown))
    assert found.drawable is drawable


@pytest.mark.parametrize(
    ("found", "share"),
    [
        (Depiction(), 1.0),
        (Depiction(("a",), (), ("b",)), 0.5),
        (Depiction(("a",), ("b",), ("c",)), 2 / 3),
        (Depiction((), (), ("a",)), 0.0),
    ],
)
def test_the_known_share_is_of_things_and_places(found: Depiction, share: float) -> None:
    assert found.share == pytest.approx(share)


@given(st.text(max_size=100))
def test_any_text_is_about_something_or_nothing(text: str) -> None:
    found = depiction(WORLD, text, part=lambda word: "n" if len(word) % 2 else "")
    assert 0 <= found.share <= 1 and (found.drawable or found.unknown)


@pytest.fixture(scope="module")
def embedded() -> World:
    return World.read(ROOT / "tools" / "miniature" / "weights" / "judge" / "world.json")


@pytest.mark.parametrize(
    ("text", "drawable"),
    [
        ("A red tractor stands beside a wooden barn in the rain.", False),
        ("portrait of an old sailor, weathered face, rim light, 85mm lens, shallow depth of field", False),
        ("a glass greenhouse on the moon, [soft] earthlight, lush ferns", False),
        ("A castle at night", True),
        ("a castle at night on a steep cliff, moonlight, volumetric fog, matte painting, highly detailed", True),
    ],
)
def test_prompts_by_others_on_the_embedded_checkpoint(embedded: World, text: str, drawable: bool) -> None:
    assert depiction(embedded, text).drawable is drawable


@pytest.mark.parametrize(("name", "low", "high"), [("captions", 0.2, 0.5), ("short_prompts", 0.1, 0.4), ("professional_prompts", 0.0, 0.3)])
def test_most_of_what_people_ask_for_is_beyond_the_embedded_checkpoint(embedded: World, name: str, low: float, high: float) -> None:
    """It knows some 140 things, and most captions name people, rooms and landscapes."""
    lines = (DATA / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    assert low <= sum(depiction(embedded, line).drawable for line in lines) / len(lines) <= high


def test_every_prompt_of_the_embedded_checkpoints_own_world_is_drawable(embedded: World) -> None:
    for file in sorted((ROOT / "tools" / "miniature" / "weights" / "prompts").glob("*.heldout.jsonl")):
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()][:60]
        assert [row["prompt"] for row in rows if not depiction(embedded, row["prompt"]).drawable] == [], file.name
