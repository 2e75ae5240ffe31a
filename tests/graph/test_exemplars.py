"""Which exemplars the rewriter sees."""

from __future__ import annotations

from limner.graph.exemplars import exemplars_for, origins
from limner.promptdb.records import Prompt
from limner.promptdb.store import PromptDB
from limner.tools.diffusion.card import Card

PLAIN = Card()


def library(*prompts: Prompt) -> PromptDB:
    db = PromptDB.open(":memory:")
    db.add_prompts(prompts)
    return db


def pair(subject: str, added: str) -> Prompt:
    return Prompt(f"{subject}, {added}", "seed", subject, "blurry")


def test_the_most_similar_comes_first_with_its_negative() -> None:
    db = library(pair("a green bus", "vivid"), pair("a red apple", "sharp focus"), pair("a red car", "golden hour"))
    rows = exemplars_for(db, "a red apple on a table", 2, PLAIN)
    apple = pair("a red apple", "sharp focus")
    assert rows[0] == {"description": "a red apple", "positive": apple.text, "negative": "blurry", "id": apple.id, "source": "seed"}
    assert rows[1]["description"] == "a red car"


def test_exemplars_differ_in_subject() -> None:
    db = library(*(pair("a red apple", word) for word in ("vivid", "sharp", "glossy")), pair("an apple tree", "golden hour"))
    assert [row["description"] for row in exemplars_for(db, "a red apple", 5, PLAIN)] == ["a red apple", "an apple tree"]


def test_naive_prompts_are_no_exemplars() -> None:
    db = library(Prompt("a red apple", "naive", "a red apple"), pair("a green apple", "vivid"))
    assert [row["description"] for row in exemplars_for(db, "a red apple", 5, PLAIN)] == ["a green apple"]


def test_a_prompt_without_a_known_subject_depicts_its_first_phrase() -> None:
    db = library(Prompt("a red apple, vivid, trending", "mine"), pair("one apple", "sharp focus"))
    assert [row["description"] for row in exemplars_for(db, "a red apple", 5, PLAIN)] == ["a red apple", "one apple"]


def test_the_rows_say_where_they_come_from() -> None:
    rows = exemplars_for(library(Prompt("a red apple, vivid", "mine"), pair("one apple", "sharp focus")), "a red apple", 5, PLAIN)
    assert origins(rows) == "2 exemplars (1 of mine, 1 of seed)"


def test_an_empty_library_has_none() -> None:
    assert exemplars_for(library(), "a red apple", 5, PLAIN) == []
