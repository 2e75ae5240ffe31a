"""Words without a chat model: contrasts fill up the antonyms, and a checkpoint's own groups lead."""

from __future__ import annotations

import pytest

from limner.promptdb.records import Conditioning
from limner.tools.lexicon.coverage import coverage
from limner.tools.lexicon.lexicon import Lexicon
from limner.tools.lexicon.offline import Offline, groups_of, offline
from limner.tools.solvers.dpo_diff.build import build_space


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


VOCABULARY = {
    "groups": {"places": ["meadow", "snow", "city"], "styles": ["photo", "pencil sketch"], "vehicles": ["car", "bicycle"]},
    "nouns": {"car": "car", "bicycle": "bicycle", "cycle": "bicycle"},
    "backgrounds": {
        "meadow": "meadow",
        "on the grass": "meadow",
        "in a field": "meadow",
        "snow": "snow",
        "on the sand by the sea": "sea",
        "city": "city",
    },
    "styles": {"photo": "photo", "pencil sketch": "pencil", "pencil drawing": "pencil"},
}


@pytest.mark.parametrize(
    ("said", "contrasts"),
    [
        ("cycle", ("car",)),
        ("cycles", ("cars",)),
        ("on the grass", ("snow", "city")),
        ("pencil drawing", ("photo",)),
        ("meadow", ("snow", "city")),
    ],
)
def test_a_vocabularys_other_forms_of_a_word_have_its_contrasts_and_no_others(said: str, contrasts: tuple[str, ...]) -> None:
    assert offline(VOCABULARY).antonyms(said) == contrasts


def test_words_that_the_checkpoint_was_not_taught_are_no_opposites() -> None:
    assert "truck" in Offline().antonyms("car")
    assert offline(VOCABULARY).antonyms("standing") == ()


def test_a_vocabularys_other_forms_are_synonyms_and_inflected() -> None:
    assert offline(VOCABULARY).synonyms("bicycles")[0] == "cycles"
    assert offline(VOCABULARY).synonyms("on the grass") == ("in a field",)


def test_a_phrase_of_many_words_is_one_slot() -> None:
    vocabulary = {"groups": {"places": ["city", "beach"]}, "backgrounds": {"on the sand by the sea": "b", "beach": "b", "city": "c"}}
    [slot] = build_space(Conditioning("a xyzzy on the sand by the sea"), "antonym", offline(vocabulary)).slots
    assert slot.candidates == ("", "city")


def test_a_prompt_is_searched_from_the_file_alone() -> None:
    space = build_space(Conditioning("A red car on the beach"), "synonym+antonym", Offline())
    changed = space.render([1] * len(space.slots))
    assert "automobile" in changed.text
    assert changed.text.startswith("A ")
    assert changed.negative


def test_coverage_leaves_closed_classes_out() -> None:
    assert coverage(["a dog on the xqzzt"], Lexicon())["words"] == 2
    assert coverage(["a dog on the xqzzt"], Lexicon())["synonyms"] == 0.5


def test_where_only_taught_words_are_wanted_wordnets_others_are_left_out() -> None:
    vocabulary = {
        "groups": {"animals": ["cat", "dog"]},
        "nouns": {"cat": "cat", "kitty": "cat", "dog": "dog"},
        "relations": {"above": "above", "over": "above", "below": "below"},
    }
    assert offline(vocabulary, taught=True).synonyms("cat") == ("kitty",)
    assert set(offline(vocabulary).synonyms("dog")) and not offline(vocabulary, taught=True).synonyms("dog")
    assert offline(vocabulary, taught=True).synonyms("over") == ("above",)
    assert offline({}, taught=True).synonyms("dog") == () != offline({}).synonyms("dog")
