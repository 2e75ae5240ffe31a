"""Words without a chat model: contrasts fill up the antonyms, and a checkpoint's own groups lead."""

from __future__ import annotations

import pytest

from promptdb.records import Conditioning
from tools.dpo_diff.build import build_space
from tools.lexicon.coverage import coverage
from tools.lexicon.lexicon import Lexicon
from tools.lexicon.offline import Offline, groups_of, offline


def test_nouns_without_antonyms_get_contrasts() -> None:
    assert Lexicon().antonyms("dog") == ()
    assert "cat" in Offline().antonyms("dog")


def test_a_real_antonym_comes_before_contrasts() -> None:
    assert Offline().antonyms("woman")[0] == "man"


def test_the_checkpoints_groups_lead() -> None:
    assert offline({"groups": {"animal": ["dog", "zebra"]}, "colours": {"red": "red", "pink": "pink"}}).antonyms("dog")[0] == "zebra"


@pytest.mark.parametrize("document", [{}, {"groups": 3}, {"groups": {"animal": None}}, {"colours": "red"}])
def test_a_vocabulary_without_groups_has_none(document: dict[str, object]) -> None:
    assert groups_of(document) == {}


def test_colours_of_a_vocabulary_are_a_group() -> None:
    assert groups_of({"colours": {"Red": "red", "pink": "pink"}}) == {"colours": ("red", "pink")}


def test_a_prompt_is_searched_from_the_file_alone() -> None:
    space = build_space(Conditioning("A red car on the beach"), "synonym+antonym", Offline())
    changed = space.render([1] * len(space.slots))
    assert "automobile" in changed.text
    assert changed.text.startswith("A ")
    assert changed.negative


def test_coverage_leaves_closed_classes_out() -> None:
    assert coverage(["a dog on the xqzzt"], Lexicon())["words"] == 2
    assert coverage(["a dog on the xqzzt"], Lexicon())["synonyms"] == 0.5
