"""Keeping the database in order: what is broken is found, doubles are merged, space is given back."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from limner.promptdb.records import Conditioning, Drawing, Prompt, SamplerSettings, Score
from limner.promptdb.search.merit import Gain, merits, take_up
from limner.promptdb.search.modifiers import count_modifiers, frequent
from limner.promptdb.search.search import keyword, similar
from limner.promptdb.store import PromptDB
from limner.promptdb.upkeep import check, dedupe, duplicates, vacuum


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with a little of everything."""
    with PromptDB.open(tmp_path / "limner.db") as db:
        db.add_prompts(
            [Prompt("a cat, oil painting"), Prompt("a cat oil painting!"), Prompt("A cat -- oil, painting"), Prompt("painting oil cat a")]
        )
        db.write("INSERT INTO label (text) VALUES (?)", [("s",)])
        db.write("INSERT INTO picture (prompt, name, source) VALUES (?, ?, 1)", [(1, "one"), (2, "one"), (2, "two"), (3, "three")])
        drawing = Drawing(Conditioning("a cat"), 0, SamplerSettings(), "weights")
        db.add_drawing(drawing, "a" * 24, 8, "cpu")
        db.add_scores([Score(drawing.id, "r", "clip", "1", 0.5)])
    return tmp_path / "limner.db"


def damage(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()


def test_a_sound_database_has_no_problems(path: Path) -> None:
    with PromptDB.open(path) as db:
        assert check(db) == []


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("INSERT INTO picture (prompt, name, source) VALUES (99, 'x', 1)", "pictures without their prompt"),
        ("UPDATE picture SET source = 99 WHERE name = 'three'", "pictures without their labels"),
        ("INSERT INTO merit VALUES (99, 'run', 'drawn', 'clip', 1.0)", "merits without their prompt"),
        ("DELETE FROM drawing", "scores without their drawing"),
        ("DELETE FROM image", "drawings without their image"),
        ("DELETE FROM conditioning", "drawings without what they show"),
        ("INSERT INTO prompt (id, text, source, subject, negative) VALUES ('x', 'y', 's', '', '')", "the full-text index does not fit"),
    ],
)
def test_orphans_and_a_wrong_index_are_found(path: Path, sql: str, what: str) -> None:
    damage(path, sql)
    with PromptDB.open(path) as db:
        assert [problem.what.startswith(what) and problem.count for problem in check(db)] == [1]


def test_vacuum_mends_the_index_and_gives_space_back(path: Path) -> None:
    with PromptDB.open(path) as db:
        db.add_prompts(Prompt(f"prompt number {number}, " + "x" * 200) for number in range(3000))
        db.write("DELETE FROM prompt WHERE number > ?", [(4,)])
    damage(path, "INSERT INTO prompt (id, text, source, subject, negative) VALUES ('x', 'a zebra', 's', '', '')")
    with PromptDB.open(path) as db:
        before, after = vacuum(db)
        assert after < before / 2
        assert check(db) == []
        assert [hit.prompt.text for hit in keyword(db, "zebra")] == ["a zebra"]


def test_prompts_that_differ_in_marks_alone_are_merged_into_the_first_with_their_pictures_and_merits(path: Path) -> None:
    with PromptDB.open(path) as db:
        take_up(db, "run", "clip", [Gain(Prompt("A cat -- oil, painting").id, "drawn", 1.0)])
        similar(db, "a cat")
        assert duplicates(db) == [(1, 2), (1, 3)]
        assert dedupe(db) == 2
        assert [prompt.text for prompt in db.prompts()] == ["a cat, oil painting", "painting oil cat a"]
        assert db.query("SELECT prompt, name FROM picture") == [(1, "one"), (1, "three"), (1, "two")]
        assert merits(db, [Prompt("a cat, oil painting").id]) == {Prompt("a cat, oil painting").id: (1.0, 1)}
        assert len(keyword(db, "cat")) == len(similar(db, "cat")) == 2
        assert check(db) == [] and dedupe(db) == 0


def test_numbers_that_are_given_again_after_a_merge_are_searched_anew(path: Path) -> None:
    with PromptDB.open(path) as db:
        db.add_prompts([Prompt("last one"), Prompt("last one!")])
        similar(db, "last")
        dedupe(db)
        db.add_prompts([Prompt("a zebra"), Prompt("an okapi")])
        assert [hit.prompt.text for hit in similar(db, "zebra")] == ["a zebra"]
        assert [hit.prompt.text for hit in keyword(db, "zebra")] == ["a zebra"]


def test_modifiers_are_counted_anew_after_a_merge(path: Path) -> None:
    with PromptDB.open(path) as db:
        db.add_prompts([Prompt("dog, 8k"), Prompt("dog, 8k!")])
        count_modifiers(db)
        assert {item.phrase: item.df for item in frequent(db)}["8k"] == 2
        dedupe(db)
        count_modifiers(db)
        assert {item.phrase: item.df for item in frequent(db)}["8k"] == 1
