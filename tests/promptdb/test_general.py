"""The general part of the seed: what is in it, how it gets into a database, and that a search can be made as if it were not there."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from limner.promptdb.general.compose import FILE, SOURCE, read_manners, read_subjects, write
from limner.promptdb.records import Prompt, text_id
from limner.promptdb.search.exemplars import SAFE, exemplars
from limner.promptdb.search.filters import Filters
from limner.promptdb.search.search import both, keyword, similar
from limner.promptdb.seed import FOLDER, seed
from limner.promptdb.store import PromptDB

ROWS = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
WORLD = ("naive.jsonl", "professional.jsonl")


@pytest.fixture(scope="module")
def whole() -> Iterator[PromptDB]:
    with PromptDB.open(":memory:") as db:
        seed(db)
        yield db


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PromptDB]:
    folder = tmp_path_factory.mktemp("world")
    for name in WORLD:
        shutil.copy(FOLDER / name, folder)
    with PromptDB.open(":memory:") as db:
        seed(db, folder)
        yield db


def test_the_shipped_file_is_what_the_generator_writes(tmp_path: Path) -> None:
    assert write(tmp_path / "general.jsonl") == len(ROWS)
    assert (tmp_path / "general.jsonl").read_bytes() == FILE.read_bytes()


def test_it_has_many_prompts_of_many_subjects_in_many_manners() -> None:
    assert len({text_id(row["text"]) for row in ROWS}) == len(ROWS) >= 1500
    assert len(read_subjects()) >= 60
    media = [manner["medium"] for manner in read_manners()[0].values()]
    assert len(media) >= 40 and all(any(name in row["text"] for row in ROWS for name in names) for names in media)


@pytest.mark.parametrize("row", [pytest.param(ROWS[start::8], id=str(start)) for start in range(8)])
def test_a_prompt_is_as_professionals_write_them(row: list[dict[str, str]]) -> None:
    for item in row:
        words = re.findall(r"\w+", item["text"])
        phrases, unwanted = item["text"].split(", "), item["negative"].split(", ")
        assert item["source"] == SOURCE and 8 <= len(words) <= 45 and len(phrases) >= 5, item
        assert len(set(phrases)) == len(phrases) and len(unwanted) >= 4 and not set(unwanted) & set(phrases), item
        assert not re.search(r"\bby [A-Z]|style of|artstation|trending|masterpiece", item["text"]), item


def test_a_database_that_was_seeded_before_gets_it_and_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "seed"
    folder.mkdir()
    for name in WORLD:
        shutil.copy(FOLDER / name, folder)
    with PromptDB.open(tmp_path / "limner.db") as db:
        seed(db, folder)
        db.add_prompts([Prompt("my own castle, ink", "mine"), Prompt(ROWS[0]["text"], "mine")])
        before = list(db.prompts())
    shutil.copy(FILE, folder)
    with PromptDB.open(tmp_path / "limner.db") as db:
        report = seed(db, folder)
        assert (report.added, report.duplicates) == (len(ROWS) - 1, 1)
        assert list(db.prompts())[: len(before)] == before
        assert seed(db, folder).added == seed(db, folder).duplicates == 0


def test_files_are_read_again_only_where_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text('{"text": "a cat, ink"}\n')
    read: list[Path] = []
    monkeypatch.setattr(Path, "read_bytes", lambda self, of=Path.read_bytes: (read.append(self), of(self))[1])
    with PromptDB.open(":memory:") as db:
        seed(db, tmp_path)
        seed(db, tmp_path)
        assert read == [path]
        os.utime(path, (1, 1))
        assert seed(db, tmp_path).added == 0 and read == [path, path]


@pytest.mark.parametrize(
    "asked", ["a red car on a beach", "two cats in the snow", "castle", "a blue bird above a green tree", "oil painting", "a dog, ink"]
)
def test_without_it_the_world_is_searched_as_if_it_were_not_there(whole: PromptDB, world: PromptDB, asked: str) -> None:
    left_out = Filters(without="general")
    assert keyword(whole, asked, 10, left_out) == keyword(world, asked, 10, Filters())
    assert similar(whole, asked, 10, left_out) == similar(world, asked, 10, Filters())
    assert exemplars(whole, asked, 5, replace(SAFE, without="general")) == exemplars(world, asked, 5)


def test_it_is_found_by_everybody_else(whole: PromptDB) -> None:
    assert {hit.prompt.source for hit in both(whole, "a lighthouse in a storm", 5)} == {SOURCE}
    assert len(whole.part("general")) == len(ROWS)


@pytest.mark.parametrize(
    ("asked", "media"),
    [
        ("a lighthouse at night", "photograph|still|concept art|digital painting|matte painting|fantasy|3D render"),
        ("a sleepy dog in watercolour", "watercolor"),
        ("photo of a chess game", "photo"),
        ("logo with a wolf", "logo"),
        ("low poly mountain", "low poly"),
    ],
)
def test_exemplars_are_in_the_medium_that_was_asked_for(whole: PromptDB, asked: str, media: str) -> None:
    found = exemplars(whole, asked, 5, replace(SAFE, without="miniature"))
    assert found and all(re.search(media, item.prompt.text) for item in found if item.prompt.source == SOURCE)
