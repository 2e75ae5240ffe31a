"""A prompt with words that a checkpoint does not know is said to have them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from limner.graph.intent import outside_world
from limner.graph.refine.graph import build_refine
from limner.graph.state import RefineState
from limner.promptdb.errors import BadInput
from limner.tools.diffusion.card import Card
from limner.tools.miniature.world.world_file import write_world
from tests.doubles import FakeImageModel
from tests.graph.stage import likes, stage


@pytest.fixture
def card(tmp_path: Path) -> Card:
    write_world(tmp_path / "world.json", 60)
    return Card(folder=tmp_path, vocabulary_file="world.json")


def test_a_prompt_of_the_world_is_passed_in_silence(card: Card) -> None:
    assert outside_world(card, "two red cats on a beach, masterpiece, moonlit") == []
    assert outside_world(Card(), "a submarine") == []


def test_unknown_words_are_named(card: Card) -> None:
    (warning,) = outside_world(card, "a submarine and a cat")
    assert "knows 80% of the prompt's words and not: submarine" in warning
    (warning,) = outside_world(card, " ".join(f"word{place}" for place in range(30)))
    assert warning.count("word") == 9 and "..." in warning  # eight of them, and in "words"


def test_an_edited_vocabulary_is_refused_in_one_line(card: Card) -> None:
    file = card.path("world.json")
    document = json.loads(file.read_text(encoding="utf-8"))
    for broken in ({**document, "nouns": 3}, {**document, "counts": {"two": "many"}}, {"nouns": {}}):
        file.write_text(json.dumps(broken), encoding="utf-8")
        with pytest.raises(BadInput, match=r"world\.json cannot be read"):
            outside_world(card, "a cat")


def test_refine_says_so(tmp_path: Path, card: Card) -> None:
    context = replace(stage(tmp_path, FakeImageModel(likes("sharp"))), card=card)
    start: RefineState = {"run": "r1", "prompt": "a red submarine", "method": "rewrite"}
    state = build_refine("rewrite").compile().invoke(start, context=context)
    assert any("not: submarine" in warning for warning in state["warnings"])
