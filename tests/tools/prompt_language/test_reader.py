"""What a person types beside words: it is taken out, stays in its place, and comes back to the letter."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning, EffectSpan
from limner.tools.prompt_language.assemble import LocatedError
from limner.tools.prompt_language.carry import aligned, avoiding, carried, parts_for
from limner.tools.prompt_language.convert import written_back
from limner.tools.prompt_language.dialects import DIALECTS, OPAQUE
from limner.tools.prompt_language.opaque import put_back, take_out
from limner.tools.prompt_language.reader import read_prompt


@pytest.mark.parametrize(
    ("typed", "words", "parts"),
    [
        ("a cat, <lora:neon:0.8>, night", "a cat, night", ["<lora:neon:0.8>"]),
        ("<lora:neon:0.8>, a cat", "a cat", ["<lora:neon:0.8>"]),
        ("a cat <lora:neon:0.8>", "a cat", ["<lora:neon:0.8>"]),
        ("a cat <lyco:x:1:0.5> in fog", "a cat in fog", ["<lyco:x:1:0.5>"]),
        ("(a cat <lora:x:1>:1.2) (dog:0.8)", "a cat dog", ["<lora:x:1>"]),
        ("a cat\nBREAK\na dog", "a cat\na dog", ["BREAK"]),
        ("a red cat :1.2 AND a blue dog :0.8", "a red cat a blue dog", [":1.2 AND", ":0.8"]),
        ("a cat --ar 16:9 --v 6", "a cat", ["--ar 16:9", "--v 6"]),
        ("a {red|{dark|pale} blue} car by the __sea/place__", "a car by the", ["{red|{dark|pale} blue}", "__sea/place__"]),
    ],
)
def test_what_is_no_word_is_taken_out(typed: str, words: str, parts: list[str]) -> None:
    read = read_prompt(typed)
    assert read.conditioning.text == words
    assert [part.shown for _, part in read.opaque] == parts
    assert all(any(shown in note for note in read.notes) for shown in parts)


@pytest.mark.parametrize(
    "typed",
    [
        "ROMEO AND JULIET", "a cat -- sitting", "__init__ed", "a <b> tag", "snake_case__name", "a cat --at sea", "a BREAKING wave",
        "{a} cat", "C++ code (1999), 50% off [sic]",
    ],
)  # fmt: skip
def test_words_stay_words(typed: str) -> None:
    read = read_prompt(typed)
    assert (read.dialect, read.conditioning, read.notes) == ("plain", Conditioning(typed), [])


def test_plain_by_name_is_to_the_letter() -> None:
    typed = "a (cat:1.2) <lora:x:1> BREAK {a|b} --ar 1:1"
    assert read_prompt(typed, dialect="plain").conditioning == Conditioning(typed)


def test_the_negative_prompt_is_in_the_same_dialect() -> None:
    read = read_prompt("a cat", "(blurry:1.3), <lora:bad:1>")
    assert read.dialect == "a1111"
    assert read.conditioning.negative_spans == (EffectSpan(0, 6, weight="1.3"),)  # type: ignore[arg-type]
    assert [part.shown for _, part in read.negative_opaque] == ["<lora:bad:1>"]


def test_breaks_are_where_the_next_words_begin() -> None:
    assert read_prompt("a cat BREAK a dog").conditioning.breaks == (6,)
    assert read_prompt("a cat, BREAK, a dog BREAK").conditioning.breaks == (7,)
    assert read_prompt("a cat AND a dog").conditioning.breaks == (6,)


def test_an_error_is_shown_where_it_was_typed() -> None:
    with pytest.raises(LocatedError) as found:
        read_prompt("<lora:neon:0.8> a [cat|dog]")
    assert found.value.source[found.value.at :] == "[cat|dog]"


def test_a_pasted_infotext_is_taken_apart() -> None:
    read = read_prompt("a (cat:1.2)\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 64x64")
    assert (read.conditioning.text, read.conditioning.negative) == ("a cat", "dog")
    assert any("seed 5" in note and "not used" in note for note in read.notes)


def test_a_dialect_that_does_not_exist_is_refused() -> None:
    with pytest.raises(BadInput, match="auto, plain, a1111"):
        read_prompt("a cat", dialect="midjourney")


PIECES = st.sampled_from(
    ["a", "red", ",", " ", "\n", "<lora:x:0.8>", "BREAK", "AND", "{a|b}", "__w__", "--ar 1:1", "(", ")", ":1.2", "[", "]", "é", "\\("]
)


TAGS = st.sampled_from(["a", "red", "cat", ",", "\n", "<lora:x:0.8>", "BREAK", "{a|b}", "__w__", "(b:1.2)", "[c]"])


@settings(deadline=None, max_examples=300)
@given(st.lists(PIECES, max_size=14).map("".join), st.sampled_from(DIALECTS))
def test_what_is_taken_out_comes_back_to_the_letter(text: str, dialect: str) -> None:
    masked = take_out(text, OPAQUE[dialect])  # type: ignore[index]
    assert put_back(masked.text, masked.marks) == text
    assert all(masked.at(place) == len(put_back(masked.text[:place], masked.marks)) for place in range(len(masked.text) + 1))


@settings(deadline=None, max_examples=300)
@given(st.lists(PIECES, max_size=14).map("".join), st.sampled_from(["auto", *DIALECTS]))
def test_an_unchanged_prompt_is_written_back_as_typed(text: str, dialect: str) -> None:
    try:
        read = read_prompt(text, text[:5], dialect, steps=10)
    except BadInput:
        return
    _, back = written_back(read, read.conditioning, steps=10)
    assert (back.output, back.negative) == (read.text, read.negative)


@settings(deadline=None, max_examples=300)
@given(st.lists(TAGS, max_size=14).map(" ".join))
def test_what_a1111_writes_of_a_changed_prompt_holds_every_part_once(text: str) -> None:
    try:
        read = read_prompt(f"{text} <lora:x:1>", dialect="a1111", steps=10)
    except BadInput:
        return
    changed = carried(read.conditioning, Conditioning(f"{read.conditioning.text}, sharp"))
    _, written = written_back(read, changed, steps=10)
    again = read_prompt(written.output, written.negative, "a1111", steps=10)
    assert sorted(part.shown for _, part in again.opaque) == sorted(part.shown for _, part in read.opaque)


def test_a_changed_prompt_keeps_parts_weights_and_breaks_at_their_words() -> None:
    read = read_prompt("a (red:1.3) cat <lora:x:1>, on a sofa BREAK a dog", "(blurry:1.2)")
    better = Conditioning("centered, warm light, a red cat, on a sofa a dog, sharp", "too bright")
    found = carried(read.conditioning, better)
    assert found.text[found.breaks[0] :].startswith("a dog")
    assert found.negative == "blurry, too bright"
    _, written = written_back(read, found)
    assert written.output == "centered, warm light, a (red:1.3) cat <lora:x:1>, on a sofa BREAK a dog, sharp"
    assert written.negative == "(blurry:1.2), too bright"


def test_nothing_is_carried_to_words_that_are_gone() -> None:
    read = read_prompt("a (red:1.3) cat")
    assert carried(read.conditioning, Conditioning("a blue cat")).spans == ()
    assert carried(read.conditioning, Conditioning("a reddish cat")).spans == ()


def test_a_plain_prompt_carries_nothing() -> None:
    better = Conditioning("a cat, sharp", "blurry")
    assert carried(Conditioning("a cat"), better) is better


def test_effects_of_a_search_stay_beside_typed_ones() -> None:
    typed = read_prompt("a (red:1.3) cat").conditioning
    timed = Conditioning("a red cat, sharp", spans=(EffectSpan(11, 16, hi="0.5"),))  # type: ignore[arg-type]
    assert [found.weight for found in carried(typed, timed).spans] == [read_prompt("(a:1.3)").conditioning.spans[0].weight, 1]
    over = Conditioning("a red cat", spans=(EffectSpan(2, 9, hi="0.5"),))  # type: ignore[arg-type]
    assert carried(typed, over).spans == over.spans


def test_places_stay_at_their_ends() -> None:
    where = aligned("a cat", "sharp, a cat, dark")
    assert (where(0, False), where(5, True), where(1, True), where(2, False)) == (0, 18, 8, 9)
    assert parts_for(read_prompt("a cat <lora:x:1>"), Conditioning("a cat, dark"))[0][0][0] == 11


def test_what_the_dialect_cannot_say_is_a_df_prompt() -> None:
    read = read_prompt("a cat")
    timed = Conditioning("a cat, sharp", spans=(EffectSpan(7, 12, hi="0.5"),))  # type: ignore[arg-type]
    _, written = written_back(read, timed)
    assert written.output == "a cat, [sharp:0.5-1:1]" and "DF-Prompt" in written.reasons[0].why
    assert written_back(read_prompt("a cat", dialect="a1111"), timed, steps=10)[1].output == "a cat, [sharp::5]"


def test_reading_a_plain_prompt_takes_microseconds() -> None:
    """At most 50 on a quiet machine; the bound here leaves room for a busy one."""
    text = "portrait of an old fisherman, oil painting, dramatic light, highly detailed, by a window, rain outside"
    best = 1.0
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(50):
            read_prompt(text)
        best = min(best, (time.perf_counter() - start) / 50)
    assert best < 250e-6


@pytest.mark.parametrize(
    ("negative", "words", "after"),
    [
        ("", ["people"], "people"),
        ("blur", ["people", "open water"], "blur, people, open water"),
        ("blur, ", ["people"], "blur, people"),
        ("crowds of People, blur", ["people"], "crowds of People, blur"),
        ("townspeople", ["people"], "townspeople, people"),
        ("blur", [], "blur"),
        (" , ", ["people", "people"], "people"),
    ],
)
def test_words_that_are_not_wanted_are_added_to_the_negative_prompt_once(negative: str, words: list[str], after: str) -> None:
    assert avoiding(Conditioning("a pier", negative), words) == Conditioning("a pier", after)


@pytest.mark.parametrize(
    ("typed", "own", "expected"),
    [("art", "cartoon, flat", "art, cartoon, flat"), ("flat", "cartoon, flat", "cartoon, flat")],
)
def test_a_typed_negative_prompt_is_missing_only_where_its_words_stand_whole(typed: str, own: str, expected: str) -> None:
    assert carried(Conditioning("a cat", typed), Conditioning("a cat, sharp", own)).negative == expected


def test_a_tag_of_the_checkpoints_own_style_is_said_to_be_loaded() -> None:
    read = read_prompt("a cat <lora:neon:0.8> <lora:ink:1>")
    assert [("not loaded" in note, "is loaded" in note) for note in read.notes_with("neon")[1:]] == [(True, False), (False, True)]
    assert all("not loaded" in note for note in read.notes[1:])
