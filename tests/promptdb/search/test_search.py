"""Finding prompts by words and by likeness."""

from __future__ import annotations

import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limner.promptdb.records import Prompt
from limner.promptdb.search.filters import Filters
from limner.promptdb.search.keyword import holding_all
from limner.promptdb.search.search import both, keyword, similar
from limner.promptdb.store import PromptDB

LIBRARY = [
    Prompt("a castle on a hill, oil painting, dramatic lighting", source="artists", subject="a castle"),
    Prompt("portrait of a knight, oil painting", source="artists", subject="a knight"),
    Prompt("a knight before a castle, watercolour", source="users"),
    Prompt("café at night, neon lights", source="users"),
    Prompt("bowl of ramen, studio photograph", source="users"),
]


@pytest.fixture
def db():
    with PromptDB.open(":memory:") as opened:
        opened.add_prompts(LIBRARY)
        yield opened


def texts(hits) -> list[str]:
    return [hit.prompt.text for hit in hits]


def test_prompts_with_more_of_the_words_come_first(db: PromptDB) -> None:
    hits = keyword(db, "knight castle")
    assert hits[0].prompt == LIBRARY[2]
    assert set(texts(hits)) == {prompt.text for prompt in LIBRARY[:3]}
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.parametrize("search", [keyword, both])
def test_prompts_with_all_of_the_words_come_before_those_with_some(search) -> None:
    some = [f"knight, knight, knight, knight of the {place}" for place in ("sea", "hill", "moon")]
    every = "a long inventory of things that are of no use to anybody but stand about in a hall, one knight, one stuffed crow"
    with PromptDB.open(":memory:") as db:
        db.add_prompts(Prompt(text) for text in [*some, every, "crow", "crow, crow", *(f"crow {place}" for place in range(9))])
        hits = search(db, "the knights' crow", 20)
    assert hits[0].prompt.text == every and len(hits) > 3
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.parametrize(
    ("query", "text", "whole"),
    [
        ("a rainy day", "the days of rain", False),
        ("days and nights", "day, night", True),
        ("CAFE lights", "café, light", True),
        ("a castle", "the castles", True),
        ("the of", "of a castle", False),
        ("zebra castle", "castle", False),
        ("sky", "skyline", False),
    ],
)
def test_a_text_has_all_words_by_their_stems(db: PromptDB, query: str, text: str, whole: bool) -> None:
    assert holding_all(db, query, [text]) == [whole]


def test_a_rare_word_outweighs_a_common_one(db: PromptDB) -> None:
    assert keyword(db, "oil painting ramen").pop(0).prompt == LIBRARY[4]


def test_words_match_by_stem_case_and_accent(db: PromptDB) -> None:
    assert texts(keyword(db, "CAFE LIGHT"))[0] == LIBRARY[3].text
    assert LIBRARY[0].text in texts(keyword(db, "lighting"))


def test_the_subject_is_searched_too(db: PromptDB) -> None:
    db.add_prompts([Prompt("grey walls at dawn", subject="a fortress")])
    assert texts(keyword(db, "fortress")) == ["grey walls at dawn"]


def test_a_search_can_be_kept_to_one_source_and_a_number(db: PromptDB) -> None:
    assert set(texts(keyword(db, "castle", filters=Filters(source="users")))) == {LIBRARY[2].text}
    assert len(keyword(db, "castle knight oil", limit=2)) == 2
    assert keyword(db, "castle", filters=Filters(source="nobody")) == keyword(db, "castle", limit=0) == keyword(db, "zebra") == []


def test_a_prompt_added_later_is_found(db: PromptDB) -> None:
    assert keyword(db, "zebra") == similar(db, "zebra") == []
    db.add_prompts([Prompt("a zebra")])
    assert texts(keyword(db, "zebra")) == texts(similar(db, "zebra")) == ["a zebra"]


AWKWARD = [
    '"',
    "'; DROP TABLE prompt; --",
    "a AND",
    "NOT",
    "NEAR(",
    "(((",
    "*",
    "^castle",
    "-",
    "text:castle",
    "😀",
    "\x00",
    "",
    " ",
    "\udcff",
]


@pytest.mark.parametrize("query", AWKWARD)
def test_operators_quotes_and_emoji_are_only_text(db: PromptDB, query: str) -> None:
    assert {hit.prompt for hit in keyword(db, query)} <= set(LIBRARY)
    assert keyword(db, f"{query} castle")
    assert {hit.prompt for hit in similar(db, query)} <= set(LIBRARY)
    assert db.count_prompts() == len(LIBRARY)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.text(st.characters(exclude_categories=())))
def test_any_string_is_a_safe_query(db: PromptDB, query: str) -> None:
    keyword(db, query)
    similar(db, query)


def test_a_query_of_ten_thousand_words_is_answered(db: PromptDB) -> None:
    assert keyword(db, "castle " + " ".join(f"word{number}" for number in range(10_000)))


def test_equal_scores_are_ordered_by_id(db: PromptDB) -> None:
    twins = [Prompt(f"lighthouse {colour}") for colour in ("red", "blue", "green", "white")]
    db.add_prompts(twins)
    by_id = [prompt.text for prompt in sorted(twins, key=lambda prompt: prompt.id)]
    assert texts(keyword(db, "lighthouse")) == texts(similar(db, "lighthouse")) == by_id
    assert texts(similar(db, "lighthouse", limit=2)) == by_id[:2]


def test_likeness_is_one_for_the_same_words_and_falls_with_what_is_shared(db: PromptDB) -> None:
    hits = similar(db, "Portrait of a knight -- OIL painting!")
    assert hits[0].prompt == LIBRARY[1]
    assert hits[0].score == pytest.approx(1)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert LIBRARY[3].text not in texts(hits)
    assert all(0 < hit.score <= 1 for hit in hits)


def test_word_order_counts(db: PromptDB) -> None:
    db.add_prompts([Prompt("dog bites man"), Prompt("man bites dog")])
    assert texts(similar(db, "man bites dog today", limit=2)) == ["man bites dog", "dog bites man"]


def test_prompts_without_a_word_disturb_nothing(db: PromptDB) -> None:
    db.add_prompts([Prompt("!!!"), Prompt("😀😀"), Prompt("a lone dove")])
    assert texts(similar(db, "lone dove")) == ["a lone dove"]
    assert similar(db, "!!!") == []


def test_an_empty_library_answers_with_nothing() -> None:
    with PromptDB.open(":memory:") as db:
        assert keyword(db, "castle") == similar(db, "castle") == []


def test_a_search_inside_a_transaction_and_one_beside_it_both_end(db: PromptDB) -> None:
    def inside() -> None:
        for number in range(100):
            with db.transaction():
                db.add_prompts([Prompt(f"castle {number}")])
                similar(db, "castle")

    def beside() -> None:
        for _ in range(100):
            similar(db, "castle")

    threads = [threading.Thread(target=work, daemon=True) for work in (inside, beside, beside)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in threads)
    assert len(similar(db, "castle", limit=1000)) == 102
