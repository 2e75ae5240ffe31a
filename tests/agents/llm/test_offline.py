"""The stand-in without a language model: what it may add to a prompt and what it never does."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from limner.agents.guard import holds
from limner.agents.keywords import keywords
from limner.agents.llm.base import Message, NoAnswer
from limner.agents.llm.offline import OfflineChat
from limner.agents.rewriter import Rewrites

ROOT = Path(__file__).parents[3]


def exemplar(description: str, positive: str, negative: str = "") -> dict[str, str]:
    return {"description": description, "positive": positive, "negative": negative}


EXEMPLARS = [
    exemplar("a fox in a forest", "a fox in a forest, masterpiece, best quality, sharp focus, warm light, pine trees", "low quality, text"),
    exemplar("a castle", "castle, best quality, masterpiece, sharp focus, oil painting, stone", "low quality, watermark"),
    exemplar("a boat", "a boat, best quality, oil painting, warm light, waves", "low quality, text"),
]


def facts(description: str = "a red cat on a chair", exemplars: list[dict[str, str]] | None = None, **more: Any) -> dict[str, Any]:
    chosen = EXEMPLARS if exemplars is None else exemplars
    return {"task": "rewrite", "description": description, "exemplars": chosen, "n": 3, "pins": [], **more}


def variants(given_facts: dict[str, Any], seed: int | None = None) -> list[tuple[str, str]]:
    answer = OfflineChat().ask([Message("user", "", given_facts)], Rewrites, seed=seed)
    return [(variant.positive, variant.negative) for variant in answer.variants]


def added(given_facts: dict[str, Any]) -> set[str]:
    """Every tag that any variant adds to the description."""
    own = set(keywords(given_facts["description"]))
    return {tag for positive, _ in variants(given_facts) for tag in keywords(positive)} - own


def test_the_description_stays_and_shared_tags_follow_most_voted_first():
    positive, negative = variants(facts())[0]
    assert positive == "a red cat on a chair, best quality, masterpiece, sharp focus"
    assert negative == "low quality, text"


def test_a_tag_needs_two_exemplars_of_different_subjects():
    assert "stone" not in added(facts())
    same = [exemplar("a fox", "fox, fluffy fur style"), exemplar("A fox.", "fox, fluffy fur style"), exemplar("a hen", "hen, soft light")]
    assert added(facts(exemplars=same)) == set()
    other = [*same, exemplar("a pig", "pig, fluffy fur style")]
    assert added(facts(exemplars=other)) == {"fluffy fur style"}


def test_where_nothing_recurs_single_words_of_quality_are_taken_and_nothing_else():
    lone = [exemplar("a fox", "a fox, intricate, soft light"), exemplar("a hen", "a hen, highly detailed, oil painting, red roof")]
    assert added(facts(exemplars=lone)) == {"intricate", "highly detailed"}


def test_without_a_description_the_first_keyword_is_an_exemplars_subject():
    same = [exemplar("", "a fox, soft light"), exemplar("", "a fox, soft light")]
    assert added(facts(exemplars=same)) == set()
    assert added(facts(exemplars=[exemplar("", "a fox, soft light"), exemplar("", "a hen, soft light")])) == {"soft light"}


def test_no_subject_of_an_exemplar_becomes_a_tag():
    pets = [
        exemplar("a dog", "a dog, wooden floor, dog"),
        exemplar("two dogs", "two dogs, dog, wooden floor"),
        exemplar("wooden floor", "planks"),
    ]
    assert added(facts(exemplars=pets)) == set()


@pytest.mark.parametrize(
    ("description", "tag"),
    [
        ("a photo of a cat", "oil painting"),
        ("a pixel art cat", "photorealistic"),
        ("a cat at night", "golden hour"),
        ("a black and white cat", "vibrant colors"),
        ("a blurry cat", "sharp focus"),
        ("a simple cat icon", "intricate details"),
        ("a cat without flowers", "flowers"),
        ("a cat", "blue background"),
        ("a cat", "night sky"),
        ("a cat", "1girl"),
        ("a cat", "on a beach"),
    ],
)
def test_no_tag_contradicts_the_description_or_adds_content(description, tag):
    voters = [exemplar("a fox", f"fox, {tag}, fine"), exemplar("a hen", f"hen, {tag}, fine")]
    assert added(facts(description, voters)) == {"fine"}


def test_no_two_added_tags_contradict_each_other():
    voters = [exemplar("a fox", "oil painting, photorealistic, fine"), exemplar("a hen", "oil painting, photorealistic, fine")]
    assert added(facts("a cat", voters)) == {"oil painting", "fine"}


def test_what_the_description_asks_for_is_not_negated():
    voters = [exemplar("a fox", "fox", "out of focus, text"), exemplar("a hen", "hen", "out of focus, text")]
    assert {negative for _, negative in variants(facts("a blurry cat", voters))} == {"text"}
    assert {negative for _, negative in variants(facts("text saying hello", voters))} == {"out of focus"}


def test_variants_differ_in_number_of_tags_order_and_negative():
    found = variants(facts(n=12))
    assert len(found) == len(set(found)) == 12
    assert len({len(keywords(positive)) for positive, _ in found}) >= 3
    assert {bool(negative) for _, negative in found} == {True, False}
    assert {positive.startswith("a red cat") for positive, _ in found} == {True, False}


def test_no_two_variants_are_mere_permutations_of_each_other():
    found = [(frozenset(keywords(positive)), positive.startswith("a red cat"), negative) for positive, negative in variants(facts(n=20))]
    assert len(found) == len(set(found))


def test_with_nothing_shared_nothing_is_made_up():
    for exemplars in ([], [exemplar("a fox", "fox, magic dust", "spam")]):
        assert variants(facts(exemplars=exemplars)) == [("a red cat on a chair", "")]


def test_sentences_become_keywords_and_lose_no_word():
    text = "A red cat sits on a chair. It looks at Mr. Smith. The light is warm."
    assert variants(facts(text, []))[0][0] == text.rstrip(".")  # "Smith" would stand alone: left as it is
    text = "A red cat sits on a chair. It looks at the big moon. The light is warm."
    assert variants(facts(text, []))[0][0] == "A red cat sits on a chair, It looks at the big moon, The light is warm"


@pytest.mark.parametrize("pin", ["chair. It", "red cat", "hat"])
def test_pins_are_kept_and_missing_ones_added(pin):
    found = variants(facts("a red cat sits on a chair. It wears a nice coat.", pins=[pin]))
    assert found and all(holds(positive, pin) for positive, _ in found)


def test_the_same_facts_and_seed_give_the_same_answer_in_any_process():
    code = (
        "import json, sys; from limner.agents.llm.offline import OfflineChat; from limner.agents.llm.base import Message;"
        "from limner.agents.rewriter import Rewrites;"
        "print(OfflineChat().ask([Message('user', '', json.loads(sys.argv[1]))], Rewrites, seed=5).model_dump_json())"
    )
    question = [sys.executable, "-c", code, json.dumps(facts(n=12))]
    runs = [
        subprocess.run(question, cwd=ROOT, env={"PYTHONHASHSEED": hashed}, capture_output=True, text=True, check=True)
        for hashed in ("1", "2")
    ]
    here = OfflineChat().ask([Message("user", "", facts(n=12))], Rewrites, seed=5)
    assert runs[0].stdout == runs[1].stdout
    assert Rewrites.model_validate_json(runs[0].stdout) == here


def test_another_seed_draws_other_tags_after_the_first_variants():
    first, second = variants(facts(n=12), seed=1), variants(facts(n=12), seed=2)
    assert first[:4] == second[:4] and first[4:] != second[4:]


def test_it_reaches_no_model_so_it_counts_no_calls():
    chat = OfflineChat()
    chat.ask([Message("user", "", facts())], Rewrites)
    assert (chat.name, chat.usage.calls, chat.usage.cost_usd) == ("offline", 0, None)


class Advice(BaseModel):
    text: str


def test_a_schema_without_a_rule_is_named():
    with pytest.raises(NoAnswer, match="Advice"):
        OfflineChat().ask([Message("user", "", facts())], Advice)


def test_missing_facts_are_no_answer():
    with pytest.raises(NoAnswer, match="description"):
        OfflineChat().ask([Message("user", "please rewrite")], Rewrites)


def test_a_later_schema_plugs_in_by_its_name():
    def advise(given_facts: Any, rng: random.Random) -> dict[str, str]:
        return {"text": f"{given_facts['topic']} {rng.randint(0, 9)}"}

    chat = OfflineChat({"Advice": advise})
    messages = [Message("system", "", {"topic": "light"}), Message("user", "")]
    assert chat.ask(messages, Advice, seed=1).text.startswith("light ")
    assert chat.ask(messages, Advice, seed=1) == chat.ask(messages, Advice, seed=1)
    with pytest.raises(NoAnswer, match="does not fit"):
        OfflineChat({"Advice": lambda given_facts, rng: {"words": 3}}).ask(messages, Advice)


WORDS = st.sampled_from(
    ["red", "cat", "photo", "night", "sharp focus", "oil painting", "best quality", "fog", "a", "12", "ö", "🐈", "no text"]
)
LISTS = st.lists(WORDS, max_size=6).map(", ".join)


@given(
    st.lists(WORDS, min_size=1, max_size=6).map(" ".join),
    st.lists(st.builds(exemplar, st.one_of(st.just(""), LISTS), LISTS, LISTS), max_size=5),
    st.integers(1, 15),
    st.integers(0, 3),
)
def test_whatever_the_facts_variants_are_distinct_keep_the_description_and_are_no_more_than_asked_for(description, exemplars, n, seed):
    found = variants(facts(description, exemplars, n=n), seed)
    assert 1 <= len(found) <= n
    assert len(set(found)) == len(found)
    assert all(holds(positive, description) for positive, _ in found)
