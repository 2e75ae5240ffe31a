"""Search spaces: what may change in a prompt and its negative prompt, and what never does."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning, EffectSpan
from limner.tools.solvers.dpo_diff.build import build_space
from limner.tools.solvers.dpo_diff.space import LIBRARY, Slot, Space, Words

SPACES = ("synonym", "antonym", "library", "antonym+library", "synonym+antonym+library")


SYNONYMS = {
    "red": ("crimson", "RED", "crimson", "", " blood  red "),
    "car": ("automobile",),
    "dog": ("hound",),
    "stop sign": ("halt sign",),
}
ANTONYMS = {"red": ("green", "black"), "big": ("small", ""), "black": ("white", "pale")}


class Source:
    """Candidates for five words and a phrase."""

    def synonyms(self, word: str) -> tuple[str, ...]:
        return SYNONYMS.get(word.lower(), ())

    def antonyms(self, word: str) -> tuple[str, ...]:
        return ANTONYMS.get(word.lower(), ())


def space(text: str, name: str = "synonym", pins: tuple[str, ...] = (), negative: str = "") -> Space:
    return build_space(Conditioning(text, negative), name, Source(), pins)


prompts = st.lists(
    st.sampled_from(["red", "Car", "DOG", "big", "black", "white", " ", " ", ", ", "...", "\n", "é", "stop sign", "it's"])
).map("".join)


@given(st.text())
def test_splitting_and_joining_loses_no_character(text: str) -> None:
    assert Words.split(text).join() == text


@given(prompts, st.sampled_from(SPACES), st.sampled_from(["", "grainy", "grainy, dull"]))
def test_the_identity_is_what_was_given(text: str, name: str, negative: str) -> None:
    found = space(text, name, negative=negative)
    assert found.render(found.identity) == Conditioning(text, negative)


@given(prompts, st.data())
def test_pinned_words_are_never_touched(text: str, data: st.DataObject) -> None:
    found = space(text, "synonym+antonym+library", pins=("red", "Dog"))
    rendered = found.render([data.draw(st.integers(0, size - 1)) for size in found.sizes])
    pinned = [word for word in Words.split(text).words if word.lower() in ("red", "dog")]
    assert [word for word in Words.split(rendered.text).words if word in pinned] == pinned
    assert not re.search(r"\bred\b|\bdog\b", rendered.negative)


@given(prompts, st.sampled_from(SPACES), st.data())
def test_pieces_join_to_the_rendered_text(text: str, name: str, data: st.DataObject) -> None:
    found = space(text, name)
    choice = [data.draw(st.integers(0, size - 1)) for size in found.sizes]
    assert Conditioning("".join(piece.text for piece in found.positive_pieces(choice))).text == found.render(choice).text


def test_separators_stay_where_they_are() -> None:
    assert space("red,  car... (dog)!").render([1, 1, 1]).text == "crimson,  automobile... (hound)!"


def test_capitals_are_matched() -> None:
    assert space("Red CAR").render([1, 1]).text == "Crimson AUTOMOBILE"


def test_candidates_are_distinct_without_empties_and_may_have_several_words() -> None:
    assert space("red").slots[0].candidates == ("red", "crimson", "blood red")


def test_a_phrase_is_replaced_as_a_whole() -> None:
    found = space("a stop sign")
    assert [(slot.start, slot.end) for slot in found.slots] == [(1, 3)]
    assert found.render([1]).text == "a halt sign"


def test_a_comma_parts_a_phrase() -> None:
    assert space("stop, sign").slots == ()


def test_words_without_candidates_get_no_slot() -> None:
    assert [slot.start for slot in space("a red and green car").slots] == [1, 4]


def test_antonyms_become_the_negative_prompt_and_leave_the_prompt_alone() -> None:
    assert space("a big red car", "antonym").render([1, 1]) == Conditioning("a big red car", "small, green")


def test_empty_slots_leave_no_commas() -> None:
    assert space("a big red car", "antonym").render([0, 1]).negative == "green"


def test_the_users_own_negative_prompt_is_kept_in_front() -> None:
    assert space("a red car", "antonym", negative="grainy").render([1]).negative == "grainy, green"


def test_a_word_chosen_in_two_slots_is_said_once() -> None:
    slots = (Slot("negative", ("", "dull")), Slot("negative", ("", "Dull", "grey")))
    assert Space(Conditioning("x"), Words.split("x"), slots).render([1, 1]).negative == "dull"


def test_what_the_prompt_asks_for_is_never_negative() -> None:
    assert space("a black and white dog", "antonym").slots[0].candidates == ("", "pale")
    assert "sketch" not in {text for slot in space("a pencil sketch", "library").slots for text in slot.candidates}


def test_a_word_that_comes_twice_gets_one_antonym_slot() -> None:
    assert len(space("red, red car", "antonym").slots) == 1


def test_the_library_has_four_slots() -> None:
    assert len(space("a dog", "library").slots) == len(LIBRARY) == 4


def test_the_size_counts_the_choices() -> None:
    assert space("red car").size == 6


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("text", ["", "  ", "...!?", "、。"])
def test_an_empty_prompt_or_punctuation_alone_has_nothing_to_search(text: str, name: str) -> None:
    assert space(text, name).size == 1


def test_only_pinned_words_leave_nothing_to_replace() -> None:
    assert space("red car", "synonym+antonym", pins=("red car",)).size == 1


@pytest.mark.parametrize("name", ["", "synoym", "antonym+", "antonym+antonym"])
def test_an_unknown_space_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="search space"):
        space("a dog", name)


def test_effect_spans_on_a_searched_prompt_are_refused() -> None:
    with pytest.raises(ValueError, match="effect spans"):
        build_space(Conditioning("a red car", spans=(EffectSpan(2, 5, weight=2),)), "synonym", Source())


def test_a_choice_outside_the_space_is_refused() -> None:
    with pytest.raises(ValueError, match="2 slots"):
        space("red car").render([0])
    with pytest.raises(IndexError):
        space("red car").render([0, -1])
