"""The lexicon: what can stand for a word, in the word's own inflection."""

from __future__ import annotations

import pytest

from limner.tools.lexicon import inflection
from limner.tools.lexicon.lexicon import PER_WORD, Lexicon
from limner.tools.lexicon.sense_check import keeps_sense
from limner.tools.lexicon.wordnet import FILE

LEXICON = Lexicon()


@pytest.mark.parametrize(
    ("word", "synonym"),
    [
        ("car", "automobile"),
        ("cars", "automobiles"),
        ("children", "kids"),
        ("women", "females"),
        ("bigger", "larger"),
        ("happily", "merrily"),
    ],
)
def test_a_synonym_has_the_inflection_of_its_word(word: str, synonym: str) -> None:
    assert synonym in Lexicon(per_word=20).synonyms(word)


def test_capitals_do_not_hide_a_word() -> None:
    assert LEXICON.synonyms("CAR") == LEXICON.synonyms("Car") == LEXICON.synonyms("car")


def test_phrases_are_looked_up_and_answered() -> None:
    assert LEXICON.synonyms("traffic light")[0] == "traffic signal"


@pytest.mark.parametrize(("word", "antonym"), [("small", "large"), ("beautiful", "ugly"), ("sitting", "standing"), ("woman", "man")])
def test_opposites_are_found(word: str, antonym: str) -> None:
    assert antonym in LEXICON.antonyms(word)


@pytest.mark.parametrize(("word", "other"), [("dog", "cat"), ("red", "blue"), ("kitchen", "bathroom"), ("knives", "axes")])
def test_contrasts_are_other_things_of_the_kind(word: str, other: str) -> None:
    assert other in LEXICON.contrasts(word)


def test_a_checkpoints_own_group_comes_first_among_contrasts() -> None:
    lexicon = Lexicon(groups={"animal": ("dog", "zebra", "penguin")})
    assert lexicon.contrasts("dogs")[:2] == ("zebras", "penguins")


@pytest.mark.parametrize("word", ["", "a", "in", "The", "two", "xqzzt", "!", "42"])
def test_function_words_and_unknown_words_have_no_candidates(word: str) -> None:
    assert LEXICON.synonyms(word) == LEXICON.antonyms(word) == LEXICON.contrasts(word) == ()


@pytest.mark.parametrize("word", ["dog", "running", "beautiful", "light", "fast", "bank"])
def test_candidates_are_few_each_once_and_never_the_word(word: str) -> None:
    for found in (LEXICON.synonyms(word), LEXICON.antonyms(word), LEXICON.opposites(word)):
        assert len(found) == len(set(found)) <= PER_WORD
        assert word not in found


@pytest.mark.parametrize(
    ("base", "part", "form", "inflected"),
    [
        ("box", "n", "plural", "boxes"), ("berry", "n", "plural", "berries"), ("woman", "n", "plural", "women"),
        ("sheep", "n", "plural", "sheep"), ("stop sign", "n", "plural", "stop signs"), ("human", "n", "plural", "humans"),
        ("sit", "v", "ing", "sitting"), ("ride", "v", "ing", "riding"), ("lie", "v", "ing", "lying"), ("take", "v", "participle", "taken"),
        ("take", "v", "past", "took"), ("sit down", "v", "ing", "sitting down"), ("carry", "v", "third", "carries"),
        ("big", "a", "comparative", "bigger"), ("happy", "a", "superlative", "happiest"),
        ("beautiful", "a", "comparative", "more beautiful"),
        ("good", "a", "superlative", "best"),
    ],
)  # fmt: skip
def test_inflection(base: str, part: str, form: str, inflected: str) -> None:
    assert inflection.inflect(base, part, form, LEXICON.wordnet) == inflected


@pytest.mark.parametrize(
    ("word", "substitute", "kept"),
    [("cars", "automobiles", True), ("dog", "canine", True), ("dog", "cat", False), ("car", "automobiles", False), ("dog", "xqzzt", False)],
)
def test_the_sense_check_accepts_synset_mates_and_direct_hypernyms_in_the_same_form(word: str, substitute: str, kept: bool) -> None:
    assert keeps_sense(word, substitute, LEXICON.wordnet) is kept


def test_the_sense_check_minds_the_part_of_speech() -> None:
    assert keeps_sense("dog", "canine", LEXICON.wordnet, "n")
    assert not keeps_sense("dog", "canine", LEXICON.wordnet, "v")


def test_the_data_file_is_small_and_its_licence_lies_beside_it() -> None:
    assert FILE.stat().st_size < 2_000_000
    notice = FILE.with_name("WORDNET_LICENSE.txt").read_text()
    assert notice.startswith("This software and database is being provided to you, the LICENSEE, by")
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in notice


@pytest.mark.parametrize(
    ("word", "antonyms"),
    [
        ("big", ("little",)),  # WordNet has big and large in one meaning, and opposes them to little and small
        ("large", ("small",)),
        ("small", ("large",)),
        ("little", ("big", "much")),
        ("bigger", ("littler",)),
        ("tall", ("short",)),
        ("table", ()),
    ],
)
def test_an_opposite_is_the_words_own_and_not_that_of_its_synonym(word: str, antonyms: tuple[str, ...]) -> None:
    assert LEXICON.antonyms(word) == antonyms
