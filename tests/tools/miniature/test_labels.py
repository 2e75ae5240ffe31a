"""Agreement of judge and person: each head counts the questions that both can answer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from limner.promptdb.errors import BadInput
from limner.tools.miniature.labels import Label, agreement, read_labels
from limner.tools.scoring.asked import World
from limner.tools.scoring.judge import Sight

SIGHT = Sight(("cat", "bus"), ("red", None), 1, "left", "beach", "photo", ("blurry",))
LABEL = Label("a red cat", 77, ("cat", "bus"), ("red", None), None, "left", "beach", "photo", ("blurry",))
WORLD = World({}, {}, {}, {}, {}, {}, (), ("blurry", "dull"), own_colours={"bus": "white"})


def test_full_agreement() -> None:
    found = agreement([SIGHT], [LABEL], WORLD)
    assert found == {
        "object": (1.0, 2), "colour": (1.0, 1), "relation": (1.0, 1), "background": (1.0, 1), "style": (1.0, 1), "defects": (1.0, 2),
    }  # fmt: skip


def test_each_disagreement_is_counted_in_its_own_head() -> None:
    assert agreement([SIGHT], [replace(LABEL, things=("cat", "dog"))], WORLD)["object"] == (pytest.approx(1 / 3), 3)
    assert "relation" not in agreement([SIGHT], [replace(LABEL, things=("cat", "dog"))], WORLD)
    assert agreement([SIGHT], [replace(LABEL, colours=("blue", None))], WORLD)["colour"] == (0.0, 1)
    assert agreement([SIGHT], [replace(LABEL, relation="above")], WORLD)["relation"] == (0.0, 1)
    turned = replace(LABEL, things=("bus", "cat"), colours=(None, "red"), relation="right")
    assert agreement([SIGHT], [turned], WORLD)["relation"] == (1.0, 1)
    assert agreement([SIGHT], [replace(LABEL, defects=("dull",))], WORLD)["defects"] == (0.0, 2)
    assert "background" not in agreement([SIGHT], [replace(LABEL, background=None)], WORLD)
    alone = replace(SIGHT, things=("cat",), colours=("red",), count=2, relation=None)
    label = replace(LABEL, things=("cat",), colours=("red",), count=3, relation=None)
    assert agreement([alone], [label], WORLD)["count"] == (0.0, 1)


def test_a_broken_label_is_named_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    said = {"things": ["cat"], "colours": [None], "count": 1, "relation": None, "background": "beach", "style": None, "defects": None}
    good = json.dumps({"prompt": "a", "seed": 77, **said})
    file.write_text(f"{good}\n{good}\n")
    assert read_labels(file)[1] == Label("a", 77, ("cat",), (None,), 1, None, "beach", None, None)
    file.write_text(f"{good}\n{{}}\n")
    with pytest.raises(BadInput, match=r"labels\.jsonl, line 2"):
        read_labels(file)


def test_what_a_person_cannot_tell_is_not_asked() -> None:
    assert agreement([SIGHT], [replace(LABEL, things=("cat", None), colours=("red", None))], WORLD)["object"] == (1.0, 1)
    assert "object" not in agreement([SIGHT], [replace(LABEL, things=(None, None), colours=(None, None))], WORLD)


def test_a_thing_in_its_own_colour_is_of_that_colour() -> None:
    assert agreement([SIGHT], [replace(LABEL, colours=(None, "white"))], WORLD)["colour"] == (1.0, 1)
    assert agreement([SIGHT], [replace(LABEL, colours=(None, "blue"))], WORLD)["colour"] == (0.0, 1)
