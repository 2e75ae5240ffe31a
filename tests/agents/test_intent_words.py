"""Which words a prompt keeps by itself: what is surely meant to the letter, and much that only looks like it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.agents.intent_words import MOST, clauses_of
from limner.promptdb.records import Conditioning
from limner.tools.prompt_language.reader import read_prompt


def found(prompt: str, kind: str) -> list[str]:
    reading = read_prompt(prompt)
    return [item.words for item in clauses_of(reading.conditioning, reading.opaque) if item.kind == kind]


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("seven lanterns above a canal", ["seven lanterns"]),
        ("Four old fishing boats, 12 gulls", ["Four boats", "12 gulls"]),
        ("a pair of worn leather gloves on a bench", ["pair of gloves"]),
        ("a dozen eggs and three small children", ["dozen eggs", "three children"]),
        ("3girls, 2boys, park", ["3girls", "2boys"]),
        ("a trio of monks", ["trio of monks"]),
        ("a couple of kites", []),  # a few
        ("a couple dancing", []),
        ("one violin", []),
        ("85 mm lens, f / 1. 8, 4 k, 3 d render", []),
        ("a house of two stories", ["two stories"]),
        ("two tone paint, three quarter view, three headed dog", []),
        ("two thirds of the page, in two colors, two hours later", []),
        ("shot in 1 9 8 0 s style", []),
        ("fallout 4 soldiers", []),
        ("a cat and 2 dogs with 3 balls, 4 bees", ["2 dogs", "3 balls", "4 bees"]),
        ("f / 2 lenses, 1. 8 stops, 16:9 frames", []),
        ("the two of them on glass stairs", []),
        ("two, roses", []),
        ("twelve glass fish", ["twelve fish"]),
        ("five is a number", []),
        ("two big red old barns", ["two barns"]),
        ("two big red old wooden barns", []),
        ("2 x 4 planks and route 66 signs", []),
        ("two jays", ["two jays"]),
        ("two ads", []),  # too short to tell
    ],
)
def test_counts(prompt: str, words: list[str]) -> None:
    assert found(prompt, "count") == words


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ('a bakery window with "FRESH BREAD" on it', ['"FRESH BREAD"']),
        ("a mug that says 'hello you' and a card", ["'hello you'"]),
        ("a banner “Läuft!” over the road", ["“Läuft!”"]),
        ("«Ouvert» on a door", ["«Ouvert»"]),
        (f'a wall, "{"x" * 60}" in red', [f'"{"x" * 60}"']),
        (f'a wall, "{"x" * 61}" in red', []),
        ('a 12" wide stone, "LOVE" and "HOPE"', []),  # a mark without a partner
        ('a stone, "OLD" and "NEW"', ['"OLD"', '"NEW"']),
        ('a sign that reads " mind the gap "', ['" mind the gap "']),
        ("the dogs' tails and the cats' ears", []),
        ("rock 'n' roll band, the '90s style and the '80s", []),
        ("it's the baker's cat", []),
        ('a 12" record and a 7" single', []),
        ('a sign "OPEN', []),
        ('"a whole prompt in quotation marks"', []),
        ('a stone, "..." on it', []),
        (f'a letter, "{"very long " * 8}" on it', []),
        ("a note: 'don't wake the owl' on a tree", ["'don't wake the owl'"]),
    ],
)
def test_quoted_text(prompt: str, words: list[str]) -> None:
    assert found(prompt, "quoted text") == words


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a turquoise kettle on the stove", ["turquoise kettle"]),
        ("an owl with pale yellow eyes, grey feathers", ["yellow eyes", "grey feathers"]),
        ("a man in a black leather jacket sitting down", ["black jacket"]),
        ("a green building", ["green building"]),
        ("white old stone tower", ["white tower"]),
        ("red hot", ["red hot"]),
        ("black and white photo of a tram", []),
        ("a red and blue kite", []),
        ("red-haired sailor", []),
        ("a black haired woman", []),
        ("golden hour, golden ratio, a golden retriever", []),
        ("blue, red, orange", []),
        ("the sky is blue over a red", []),
        ("pink glowing deep sea creature", []),
        ("a white old wooden three masted ship", []),  # too long a phrase to tell its thing
    ],
)
def test_colours_of_things(prompt: str, words: list[str]) -> None:
    assert found(prompt, "colour") == words


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("harbour at dusk, oil painting by jonas verhoeven and mira", ["jonas verhoeven", "mira"]),
        ("a fox in the style of ida lund, etching", ["ida lund"]),
        ("a stone bridge by Anselm K. Breuer. sharp", ["Anselm K. Breuer"]),
        ("portrait by J. P. Oduya, detailed", ["J. P. Oduya"]),
        ("a girl standing by the window, a house by a lake, by night", []),
        ("painting by candlelight, art by an unknown artist, drawn by hand", []),
        ("surrounded by flowers, lit by neon", []),
        ("a walk of Tilda Moreau through Valparaiso in the rain", ["Tilda Moreau"]),
        ("a boy with a kite and an old dog in Valparaiso at dawn, fog", ["Valparaiso"]),
        ("Tilda Moreau walking a dog through the rain", ["Tilda Moreau"]),
        ("art by anna maria von falk", ["anna maria von falk"]),
        ("art by anna maria von der falk", []),  # too long to be sure
        ("a fish near a lake with Ola in a boat of wood", []),  # too short to be sure
        ("a river with boats and the Doge under a bridge of stone", ["Doge"]),
        ("a sea. Mira Lund. in the fog with boats of the coast", []),  # a segment of capitals is a title
        ("the boats of Lund Bay De la at the coast in deep fog", ["Lund Bay De"]),
        ("old boats with The Lantern Keeper in the deep fog of autumn", ["Lantern Keeper"]),
        ("a Red Barn by the road in a field with cows", []),  # words that people write with a capital
        ("A Walk Through The Old City Of Valparaiso", []),
        ("a Victorian house in a Spanish village on Monday with an old Portuguese flag", []),
        ("sunset, Highly Detailed, Sharp Focus, Digital Painting", []),
        ("a HUGE wave in HD with a UFO on the beach and much foam", []),
        ("ein Hund jagt Katzen durch Gärten", []),
        ("a ship of Duarte de Sá near the coast of green islands", ["Duarte de Sá"]),
        ("a bee, drawn in Ink with fine lines and with some soft colour", []),
    ],
)
def test_names(prompt: str, words: list[str]) -> None:
    assert found(prompt, "name") == words


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("an empty square, no pigeons", ["pigeons"]),
        ("a room with no furniture and no lamps", ["furniture", "lamps"]),
        ("a desk without any cables or stains, tidy", ["cables", "stains"]),
        ("a sky free of clouds, devoid of birds", ["clouds", "birds"]),
        ("sharp, not blurry", ["blurry"]),
        ("a woman without a hat", ["hat"]),
        ("no cars in the street", ["cars"]),
        ("no ears visible, no big red bows at all", ["ears"]),
        ("no leafless willow branches", []),  # too long to be sure
        ("no willow branches", ["willow branches"]),
        ("without looking glasses", []),
        ("not smiling", ["smiling"]),
        ("not smiling at all", []),
        ("no one in the street, without end, no longer young", []),
        ("no sign of life, no more than a shadow, no way out", []),
        ("a cat, no, two cats", []),
        ("not only a dog, not a dog but a wolf", []),
        ("without looking back", []),
        ("um gato no telhado", []),
        ("a menina no parque, fotografia", []),
        ("hotaru no yoru, anime", []),
        ("no man's land, no parking's sign", []),
        ("a forest without fog, fog over the hills", []),  # said both ways
        ("room no 5", []),
    ],
)
def test_negations(prompt: str, words: list[str]) -> None:
    assert found(prompt, "negation") == words


@pytest.mark.parametrize(
    ("prompt", "phrase"),
    [
        ("a street, no cars at dawn", "no cars"),
        ("a box without any lids or hinges on oak", "without any lids or hinges"),
        ("no cart or car, dawn", "no cart or car"),
        ("no ears visible, a fox", "no ears"),
    ],
)
def test_only_the_words_that_negate_are_masked(prompt: str, phrase: str) -> None:
    assert {item.phrase for item in clauses_of(Conditioning(prompt)) if item.is_ban} == {phrase}


def test_weights_times_and_network_tags_are_kept_as_they_were_typed() -> None:
    assert found("a (mossy stone:1.3) in [rain], fog", "weight") == ["mossy stone", "rain"]
    assert found("a stone, <lora:moss:0.7>, <hypernet:fern:1>", "network") == ["<lora:moss:0.7>", "<hypernet:fern:1>"]


def test_the_same_words_are_kept_once_and_not_without_end() -> None:
    assert found("two crows, two crows, Two crows", "count") == ["two crows"]
    many = ", ".join(f"2 {letter}things" for letter in "abcdefghijklmnopqrstuvwxyz")
    assert len(clauses_of(Conditioning(many))) == MOST


@given(st.text(alphabet=st.sampled_from("no two red ' \" by without cats, Ana.-23\n“”"), max_size=80))
def test_no_prompt_breaks_what_it_keeps_itself(prompt: str) -> None:
    for item in clauses_of(Conditioning(prompt)):
        assert not item.broken_by(Conditioning(prompt).text), item
