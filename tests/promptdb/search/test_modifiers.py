"""What professionals add: phrases with kinds, counted over all prompts, and how much more often beside a subject than elsewhere."""

from __future__ import annotations

import pytest

from limner.promptdb.records import Prompt
from limner.promptdb.search import modifiers
from limner.promptdb.search.modifier_kinds import KINDS, kind_of, media_of
from limner.promptdb.search.modifiers import additions, count_modifiers, fitting, frequent, modifiers_of
from limner.promptdb.seed import seed
from limner.promptdb.store import PromptDB


@pytest.mark.parametrize(
    ("phrase", "kind"),
    [
        ("by greg rutkowski", "artist"),
        ("art by artgerm", "artist"),
        ("cinematic lighting", "lighting"),
        ("golden hour", "lighting"),
        ("highly detailed", "quality"),
        ("8 k", "quality"),
        ("trending on artstation", "quality"),
        ("oil painting", "medium"),
        ("octane render", "medium"),
        ("depth of field", "camera"),
        ("35mm", "camera"),
        ("vibrant colors", "colour"),
        ("cyberpunk", "style"),
        ("art nouveau", "style"),
        ("impressionism", "style"),
        ("ominous", "mood"),
        ("a red hat", "other"),
        ("by the sea", "other"),
    ],
)
def test_kinds_are_told_by_the_words_people_use(phrase: str, kind: str) -> None:
    assert kind_of(phrase) == kind and kind in KINDS


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("a pug, oil on canvas", ["oil on canvas"]),
        ("Photography of a pug", ["photog"]),
        ("watercolour pug", ["waterc"]),
        ("pug in pixel art", ["pixel art"]),
        ("etching of a pianist in a gothic hall", ["etchin"]),
        ("a pug, surrealism", ["surrea"]),
        ("a pug by a scientist in a vintage car", []),
    ],
)
def test_a_prompt_names_its_medium(prompt: str, named: list[str]) -> None:
    assert media_of(prompt) == named


@pytest.fixture(scope="module")
def seeded():
    with PromptDB.open(":memory:") as opened:
        seed(opened)
        yield opened


@pytest.mark.parametrize(
    ("prompt", "wanted", "unwanted"),
    [
        ("a walrus, oil painting", {"visible brushstrokes", "canvas texture"}, {"35mm lens", "film grain", "octane render"}),
        ("photo of a walrus", {"natural film grain"}, {"visible brushstrokes", "paper texture", "wet-on-wet washes"}),
        ("pencil sketch of a walrus", {"paper texture"}, {"creamy bokeh", "35mm lens", "cel shading"}),
        ("a walrus logo", {"negative space"}, {"golden hour", "35mm lens"}),
        ("ukiyo-e walrus", {"bokashi gradation"}, {"35mm lens", "impasto highlights"}),
        ("a walrus", {"fine detail"}, {"35mm lens", "visible brushstrokes", "paper texture", "black and white"}),
        ("a walrus on an encaustic tile", {"fine detail"}, {"35mm lens", "visible brushstrokes"}),
    ],
)
def test_modifiers_for_any_subject_are_of_the_medium(seeded: PromptDB, prompt: str, wanted: set[str], unwanted: set[str]) -> None:
    offered = set(fitting(seeded, prompt, 40))
    assert wanted <= offered and not unwanted & offered
    assert fitting(seeded, prompt, 5) == fitting(seeded, prompt, 40)[:5]


def test_modifiers_for_any_subject_come_from_the_seed() -> None:
    with PromptDB.open(":memory:") as db:
        assert fitting(db, "a walrus, oil painting") == []


def test_modifiers_are_what_stands_behind_the_subject() -> None:
    assert modifiers_of("A castle on a hill, Oil Painting, (sharp focus:1.2), oil painting, by Monet.") == [
        *("oil painting", "sharp focus", "by monet"),
    ]


def test_what_is_said_of_one_scene_in_several_forms_is_no_addition() -> None:
    added = ("vivid", "vivid, sharp", "vivid, 8k")
    forms = [Prompt(f"a {hue} kite, {more}", subject=f"a {hue} kite") for hue in ("red", "blue") for more in added]
    forms += [Prompt(f"a green kite, torn tail, {more}", subject="a green kite") for more in ("vivid", "sharp", "8k")]
    with PromptDB.open(":memory:") as db:
        db.add_prompts([*forms, *(Prompt(f"a boat, {word}") for word in ("vivid", "ink", "wide"))])
        count_modifiers(db)
        assert {item.phrase for item in additions(db, "kite")} == {"vivid", "sharp", "8k"}


def test_a_prompt_that_begins_with_a_modifier_has_it() -> None:
    assert modifiers_of("masterpiece, a castle, 8k") == ["masterpiece", "a castle", "8k"]


def test_what_the_subject_says_is_no_modifier() -> None:
    assert modifiers_of("a castle, watercolor, glossy", "a castle, watercolor") == ["glossy"]


def test_sentences_are_no_modifiers() -> None:
    assert modifiers_of("a castle, in front of it an old man walks his dog, 8k") == ["8k"]


def library(*texts: str) -> PromptDB:
    db = PromptDB.open(":memory:")
    db.add_prompts(Prompt(text) for text in texts)
    count_modifiers(db)
    return db


def test_frequencies_count_prompts_and_follow_the_database() -> None:
    db = library("a cat, oil painting, oil painting", "a dog, oil painting, 8k", "a bird")
    assert [(item.phrase, item.df) for item in frequent(db)] == [("oil painting", 2), ("8k", 1)]
    db.add_prompts([Prompt("a fish, 8k"), Prompt("a cow, 8k")])
    for _ in range(2):
        count_modifiers(db)
        assert [(item.phrase, item.df) for item in frequent(db)] == [("8k", 3), ("oil painting", 2)]
    assert [item.phrase for item in frequent(db, kind="medium")] == ["oil painting"]


def test_lift_is_how_much_more_often_a_phrase_stands_beside_the_subject() -> None:
    castles = [f"a castle number {number}, matte painting, 8k" for number in range(5)]
    db = library(*castles, *(f"a cat number {number}, 8k" for number in range(15)))
    found = {item.phrase: item for item in additions(db, "castle")}
    assert (found["matte painting"].share, found["matte painting"].lift) == (1.0, 4.0)
    assert (found["8k"].share, found["8k"].lift) == (1.0, 1.0)
    assert list(found) == ["matte painting", "8k"]


def test_what_stands_beside_a_modifier_is_told_like_what_stands_beside_a_thing() -> None:
    db = library(*(f"thing {number}, cyberpunk, neon" for number in range(5)), *(f"thing {number}, baroque" for number in range(20)))
    assert [item.phrase for item in additions(db, "cyberpunk")] == ["neon"]


def test_nothing_is_added_to_what_nobody_wrote_about() -> None:
    assert additions(library("a cat, 8k"), "okapi") == additions(library(), "okapi") == []


def test_rare_phrases_are_forgotten_and_counts_are_low_by_a_stretch_each_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modifiers, "STRETCH", 100)
    texts = [
        f"thing {number}, rare {number}" + (", 8k" if number % 3 == 0 else "") + (", late" if number > 400 else "")
        for number in range(1000)
    ]
    db = library(*texts)
    found = {item.phrase: item.df for item in frequent(db, 2000)}
    assert found["8k"] == 334
    assert 599 - 10 <= found["late"] <= 599
    assert sum(phrase.startswith("rare") for phrase in found) <= 100
