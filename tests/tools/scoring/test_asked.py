"""Prompts are read for what they ask, with any world's word list."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.promptdb.errors import BadInput
from limner.tools.scoring.asked import Asked, AskedThing, World

WORLD = World(
    nouns={"cat": "cat", "kitty": "cat", "teddy bear": "teddy bear", "bear": "bear", "bus": "bus", "orange": "orange"},
    colours={"red": "red", "blue": "blue"},
    relations={"to the left of": "left", "left of": "left", "above": "above"},
    backgrounds={"on a beach": "beach", "beach": "beach", "at night": "night"},
    styles={"pencil sketch": "pencil", "photo": "photo"},
    modifiers={"sharp focus": "sharp"},
    fillers=("a", "an", "the", "of", "in"),
    defects=("blurry",),
)
COUNTING = replace(WORLD, counts={"two": 2, "a pair of": 2, "three": 3})


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("a cat", Asked((AskedThing("cat"),))),
        ("A RED Kitty, photo", Asked((AskedThing("cat", "red"),), style="photo")),
        ("red cat to the left of a blue bus on a beach", Asked((AskedThing("cat", "red"), AskedThing("bus", "blue")), "left", "beach")),
        ("a teddy bear above a bear", Asked((AskedThing("teddy bear"), AskedThing("bear")), "above")),
        ("a bus and a cat at night, pencil sketch, sharp focus", Asked((AskedThing("bus"), AskedThing("cat")), None, "night", "pencil")),
        ("two red buses", Asked((AskedThing("bus", "red"),))),
        ("a catalogue of bearings", Asked()),
        ("", Asked()),
    ],
)
def test_what_is_asked(text: str, asked: Asked) -> None:
    assert WORLD.read_prompt(text) == asked


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("two cats", 2), ("two red cats", 2), ("three small red cats", 3), ("a pair of cats on a beach", 2), ("a cat", None),
        ("two, cat", None), ("twocats", None), ("three very small red cats", None),
    ],
)  # fmt: skip
def test_a_number_is_read_with_its_thing(text: str, count: int | None) -> None:
    asked = COUNTING.read_prompt(text)
    assert [thing.count for thing in asked.things] in ([count], [])
    assert asked.attributes == WORLD.read_prompt(text).attributes + (count is not None)


def test_attributes_count_each_thing_that_can_be_wrong() -> None:
    assert WORLD.read_prompt("red cat to the left of a blue bus on a beach, photo").attributes == 7
    assert WORLD.read_prompt("a poem about time").attributes == 0


def test_coverage_names_the_words_that_the_world_lacks() -> None:
    assert WORLD.coverage("a red cat on a beach, sharp focus") == (1.0, [])
    assert WORLD.coverage("a red zebra in the fog") == (pytest.approx(4 / 6), ["zebra", "fog"])
    assert WORLD.coverage(" , ") == (1.0, [])


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    asked = WORLD.read_prompt(text)
    assert len(asked.things) <= 2
    assert 0 <= WORLD.coverage(text)[0] <= 1


def test_a_broken_word_list_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "world.json"
    for content in ("{", "[]", json.dumps({"nouns": {}})):
        path.write_text(content)
        with pytest.raises(BadInput, match=r"world\.json cannot be read"):
            World.read(path)
    with pytest.raises(BadInput, match=r"world\.json cannot be read"):
        World.read(tmp_path / "absent" / "world.json")
