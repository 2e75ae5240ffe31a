"""Which exemplars the rewriter sees."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from limner.agents.keywords import keywords
from limner.agents.llm.offline import OfflineChat
from limner.agents.rewriter import rewrite
from limner.graph.exemplars import exemplar, exemplars_for, origins
from limner.promptdb.records import Prompt
from limner.promptdb.search.modifiers import fitting
from limner.promptdb.seed import seed
from limner.promptdb.store import PromptDB
from limner.tools.diffusion.card import Card
from tests.prompt_samples import REAL, SHORT

PLAIN = Card()
WORLD = Card(vocabulary_file="vocabulary.json")


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


@pytest.fixture(scope="module")
def seeded() -> Iterator[PromptDB]:
    with PromptDB.open(":memory:") as db:
        seed(db)
        yield db


@pytest.mark.parametrize(
    ("card", "prompt", "sources"),
    [
        (WORLD, "a red car on a beach", {"miniature"}),
        (WORLD, "a ballerina at the barre", {"general"}),  # the world's part knows none of it
        (PLAIN, "a red car on a beach", {"general"}),
        (PLAIN, "a quokka", set()),
    ],
)
def test_a_checkpoint_with_a_vocabulary_has_exemplars_of_its_own_world_first(
    seeded: PromptDB, card: Card, prompt: str, sources: set[str]
) -> None:
    assert {row["source"] for row in exemplars_for(seeded, prompt, 5, card)} == sources


def offline_rewrites(db: PromptDB, prompt: str, card: Card) -> list[str]:
    shown = [exemplar(row) for row in exemplars_for(db, prompt, 5, card)]
    found = rewrite(OfflineChat(), prompt, shown, 4, seed=0, modifiers=lambda: fitting(db, prompt))
    return [] if found.fallback else [item.conditioning.text for item in found]


@pytest.mark.parametrize("card", [PLAIN, WORLD], ids=["plain", "world"])
@pytest.mark.parametrize("prompt", ["a lighthouse in a storm", "portrait of an old fisherman, oil painting", "a quokka", "glass octopus"])
def test_any_prompt_has_rewrites_offline(seeded: PromptDB, prompt: str, card: Card) -> None:
    found = offline_rewrites(seeded, prompt, card)
    assert found and all(set(keywords(prompt)) < set(keywords(text)) for text in found if text != prompt)
    assert any(text != prompt for text in found)


@pytest.mark.parametrize("prompt", ["portrait of an old fisherman, oil painting", "a harbour, watercolour", "woodcut of a hare"])
def test_a_painting_or_print_gets_no_words_of_a_photograph(seeded: PromptDB, prompt: str) -> None:
    words = " ".join(offline_rewrites(seeded, prompt, PLAIN))
    assert words and not any(word in words for word in ("lens", "bokeh", "f/", "depth of field", "film grain", "photo", "render"))


LISTED = (SHORT, *(REAL / name for name in ("diffusiondb_short_prompts.txt", "lexica_by_query.jsonl") if (REAL / name).is_file()))


@pytest.mark.parametrize("file", LISTED, ids=lambda file: file.stem)
def test_prompts_as_people_write_them_have_rewrites_offline(seeded: PromptDB, file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["prompt"] for line in lines] if file.suffix == ".jsonl" else lines
    short = list(dict.fromkeys(text for text in texts if 0 < len(text.split()) <= 30))
    asked = short[:: max(1, len(short) // 30)][:30]
    without = [prompt for prompt in asked if not offline_rewrites(seeded, prompt, PLAIN)]
    assert len(without) <= len(asked) // 30, without
