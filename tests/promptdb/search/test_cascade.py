"""Searching by words in a database where common words are in too many prompts to rank them all, and by likeness from kept segments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import promptdb_rows
from limner.promptdb.records import Prompt
from limner.promptdb.search import keyword as by_words
from limner.promptdb.search import tfidf
from limner.promptdb.search.filters import Filters
from limner.promptdb.search.keyword import highlights
from limner.promptdb.search.search import both, index_of, keyword, search, similar
from limner.promptdb.store import PromptDB

COMMON = "highly detailed, trending on artstation, sharp focus, concept art"


@pytest.fixture(scope="module")
def large():
    """8,000 prompts, of which a third or more hold any one common modifier."""
    rng = np.random.default_rng(0)
    with PromptDB.open(":memory:") as db:
        db.add_prompts(Prompt(text, "generated") for text in promptdb_rows.prompts(8000, rng, promptdb_rows.words(2000)))
        db.add_prompts(Prompt(f"a zebra in costume number {number}, {COMMON}", "zebras") for number in range(30))
        db.add_prompts([Prompt("an okapi, watercolor", "okapis"), Prompt("an okapi, highly detailed", "okapis")])
        yield db


@pytest.fixture
def cascading(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few matches are ranked as a whole that 8,000 prompts are many."""
    monkeypatch.setattr(by_words, "FEW", 50)


def plain(db: PromptDB, query: str, limit: int) -> list[str]:
    words = " OR ".join(f'"{word}"' for word in query.split())
    sql = "SELECT p.text FROM prompt_fts JOIN prompt p ON p.number = prompt_fts.rowid WHERE prompt_fts MATCH ? ORDER BY rank LIMIT ?"
    return [text for (text,) in db.query(sql, [words, limit])]


@pytest.mark.usefixtures("cascading")
def test_the_rarest_word_decides_among_common_ones(large: PromptDB) -> None:
    hits = keyword(large, "zebra highly detailed trending on artstation sharp focus", 30)
    assert all("zebra" in hit.prompt.text for hit in hits) and len(hits) == 30
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert {hit.prompt.text for hit in keyword(large, "okapi highly detailed", 2)} == {"an okapi, watercolor", "an okapi, highly detailed"}


@pytest.mark.usefixtures("cascading")
def test_the_cascade_finds_what_ranking_everything_finds(large: PromptDB) -> None:
    for query in ("zebra highly detailed concept art", "okapi watercolor trending on artstation", "costume zebra sharp focus intricate"):
        best = plain(large, query, 5)
        assert len(set(best) & {hit.prompt.text for hit in keyword(large, query, 40)}) == 5, query


@pytest.mark.usefixtures("cascading")
def test_common_words_alone_find_prompts_with_all_of_them_from_all_over_the_database(large: PromptDB) -> None:
    hits = keyword(large, "highly detailed sharp focus", 100)
    assert all("highly detailed" in hit.prompt.text and "sharp focus" in hit.prompt.text for hit in hits)
    numbers = [large.query("SELECT number FROM prompt WHERE id = ?", [hit.prompt.id])[0][0] for hit in hits]
    assert min(numbers) < 2500 and max(numbers) > 5500


@pytest.mark.usefixtures("cascading")
def test_a_phrase_that_must_be_there_is_there_however_rare(large: PromptDB) -> None:
    hits = keyword(large, "highly detailed", 20, Filters(contains=("zebra in costume",)))
    assert len(hits) == 20 and all("zebra in costume" in hit.prompt.text for hit in hits)
    assert keyword(large, "zebra", 20, Filters(excludes=("zebra",))) == []
    assert len(keyword(large, "zebra highly detailed", 50, Filters(source="okapis"))) == 1


def test_stems_and_accents_are_one_in_the_cascade_too(large: PromptDB, cascading: None) -> None:
    assert keyword(large, "ZÉBRAS highly detailed", 3)[0].prompt.source == "zebras"


def test_both_ways_fused_put_first_what_both_find(large: PromptDB) -> None:
    assert both(large, "an okapi, watercolor", 1)[0].prompt.text == "an okapi, watercolor"


def test_hits_may_be_asked_to_differ(large: PromptDB) -> None:
    near = search(large, "zebra okapi", 4, by="both")
    apart = search(large, "zebra okapi", 4, by="both", differing=True)
    assert len({hit.prompt.source for hit in apart}) >= len({hit.prompt.source for hit in near})
    assert apart[0] == near[0]
    assert {hit.prompt.source for hit in apart} >= {"zebras", "okapis"}


def test_highlights_are_the_words_of_the_query_by_stem(large: PromptDB) -> None:
    text = "Detailed portraits of a Café, detail"
    (spans,) = highlights(large, "details cafe", [text])
    assert [text[start:end] for start, end in spans] == ["Detailed", "Café", "detail"]
    assert highlights(large, '"*', [text]) == [[]]


def test_unsafe_prompts_are_hidden_by_default_and_those_whose_pictures_all_are(tmp_path: Path) -> None:
    with PromptDB.open(":memory:") as db:
        db.add_prompts([Prompt("cat one", nsfw=0.1), Prompt("cat two", nsfw=0.9), Prompt("cat three"), Prompt("cat four")])
        label = [("s",)]
        db.write("INSERT INTO label (text) VALUES (?)", label)
        rows = [(3, "a", 1, 2.0), (4, "b", 1, 2.0), (4, "c", 1, 0.1)]
        db.write("INSERT INTO picture (prompt, name, source, nsfw) VALUES (?, ?, ?, ?)", rows)
        assert {hit.prompt.text for hit in keyword(db, "cat", filters=Filters())} == {"cat one", "cat four"}
        assert len(keyword(db, "cat", filters=Filters(nsfw_below=None))) == 4


def test_length_is_counted_in_words() -> None:
    filters = Filters(min_words=2, max_words=3)
    assert [filters.accepts(text) for text in ("cat", "a cat", "a, cat -- sat", "a cat sat down")] == [False, True, True, False]


def test_a_phrase_matches_whole_words_in_any_case() -> None:
    assert Filters(contains=("Oil Painting",)).accepts("a cat, oil-painting")
    assert not Filters(contains=("oil",)).accepts("foil")
    assert not Filters(excludes=("oil",)).accepts("an OIL, too")


def test_segments_are_kept_beside_the_database_and_read_by_the_next_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfidf, "LOOSE", 100)
    texts = promptdb_rows.prompts(3000, np.random.default_rng(0), promptdb_rows.words(500))
    with PromptDB.open(tmp_path / "limner.db") as db:
        db.add_prompts(Prompt(text) for text in texts)
        first = similar(db, texts[7], 20)
        assert first[0].prompt.text == texts[7] and first[0].score == pytest.approx(1)
    assert list((tmp_path / "limner.db.likeness").rglob("rows.npy"))
    with monkeypatch.context() as context, PromptDB.open(tmp_path / "limner.db") as db:
        context.setattr(tfidf, "_build", lambda *arguments: pytest.fail("it was kept"))
        assert similar(db, texts[7], 20) == first
    with PromptDB.open(tmp_path / "limner.db") as db:
        db.add_prompts([Prompt("an okapi at sea")])
        assert similar(db, "okapi", 1)[0].prompt.text == "an okapi at sea"


def test_a_segment_that_is_damaged_is_built_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfidf, "LOOSE", 100)
    with PromptDB.open(tmp_path / "limner.db") as db:
        db.add_prompts(Prompt(f"prompt about {number}") for number in range(500))
        before = similar(db, "about 77", 3)
    for path in (tmp_path / "limner.db.likeness").rglob("rows.npy"):
        path.write_bytes(path.read_bytes()[:100])
    with PromptDB.open(tmp_path / "limner.db") as db:
        assert similar(db, "about 77", 3) == before


def test_another_database_in_the_same_place_finds_none_of_the_old_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfidf, "LOOSE", 10)
    for word in ("zebra", "okapi"):
        with PromptDB.open(tmp_path / "limner.db") as db:
            db.add_prompts(Prompt(f"{word} {number}") for number in range(50))
            assert len(similar(db, word, 100)) == 50
        for path in tmp_path.glob("limner.db*"):
            if path.is_file():
                path.unlink()


def test_a_database_grown_by_small_steps_and_one_filled_at_once_rank_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfidf, "LOOSE", 40)
    monkeypatch.setattr(tfidf, "SPAN", 256)
    texts = promptdb_rows.prompts(700, np.random.default_rng(3), promptdb_rows.words(300))
    with PromptDB.open(tmp_path / "grown.db") as grown, PromptDB.open(":memory:") as filled:
        for start in range(0, 700, 30):
            grown.add_prompts(Prompt(text) for text in texts[start : start + 30])
            index_of(grown).segments(grown)
        filled.add_prompts(Prompt(text) for text in texts)
        assert index_of(grown).nearest(grown, texts[5], 50) == index_of(filled).nearest(filled, texts[5], 50)
