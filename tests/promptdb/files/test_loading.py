"""Loading into the database: prompts once each, pictures apart, and an import that was ended goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import promptdb_rows
from limner.promptdb.files import ingest, loading, read_parquet, reading
from limner.promptdb.files.ingest import import_file
from limner.promptdb.files.loading import image_keys, image_name
from limner.promptdb.files.text_lines import Notes
from limner.promptdb.library import canonical
from limner.promptdb.records import Prompt, canonical_text, text_id
from limner.promptdb.store import PromptDB

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
NEARLY = st.sampled_from(
    ["a cat", "A  Cat", " a cat ", "a cat\t", 'a "cat"', "a \\cat", "é", "e\u0301", "İ", "a\u00a0cat", "ß", "\x7f", ""]
)


@pytest.fixture
def db():
    with PromptDB.open(":memory:") as opened:
        yield opened


def written(folder: Path, texts: list[str]) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="utf-8")
    return path


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS | NEARLY, max_size=20))
def test_many_texts_at_once_become_what_each_becomes_alone(texts: list[str]) -> None:
    found, ids = canonical(pa.array(texts, pa.string()))
    assert found == [canonical_text(text) for text in texts]
    assert ids == [text_id(text) for text in texts]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXTS | NEARLY, max_size=30))
def test_importing_twice_adds_nothing_and_counts_every_row(tmp_path: Path, texts: list[str]) -> None:
    with PromptDB.open(":memory:") as db:
        path = written(tmp_path, texts)
        first = import_file(db, path)
        kept = list(db.prompts())
        again = import_file(db, path)
        assert (again.added, again.duplicates, again.malformed) == (0, first.added + first.duplicates, first.malformed)
        assert list(db.prompts()) == kept
        assert first.added + first.duplicates + first.malformed_rows == len(texts)
        assert len({prompt.id for prompt in kept}) == len(kept) == first.added


def test_a_prompt_that_differs_in_case_and_blanks_is_one_and_its_pictures_are_two(db: PromptDB, tmp_path: Path) -> None:
    rows = [{"prompt": "A cat", "image_name": "one"}, {"prompt": "a  CAT", "image_name": "two"}, {"prompt": "a cat", "image_name": "one"}]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    report = import_file(db, tmp_path / "rows.jsonl")
    assert (report.added, report.duplicates, report.pictures) == (1, 2, 2)
    assert [prompt.text for prompt in db.prompts()] == ["A cat"]


def test_the_order_of_a_file_is_kept(db: PromptDB, tmp_path: Path) -> None:
    texts = [f"prompt {number * 7919 % 10_007}" for number in range(3000)]
    import_file(db, written(tmp_path, texts))
    assert [prompt.text for prompt in db.prompts()] == texts


def test_what_is_imported_is_found_at_once(db: PromptDB, tmp_path: Path) -> None:
    import_file(db, written(tmp_path, ["a zebra at dawn"]))
    assert db.query("SELECT rowid FROM prompt_fts WHERE prompt_fts MATCH 'zebra'") == [(1,)]


class Killed(BaseException):
    """Stands for kill -9: nothing catches it, and what was not committed is gone."""


@pytest.mark.parametrize("after", [1, 2])
def test_an_import_that_was_ended_goes_on_behind_the_last_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    monkeypatch.setattr(read_parquet.read_parquet, "__defaults__", (*read_parquet.read_parquet.__defaults__[:2], 500, None, None))
    source = tmp_path / "rows.parquet"
    promptdb_rows.write(source, 1800)
    with PromptDB.open(tmp_path / "whole.db") as whole:
        import_file(whole, source)
        expected = list(whole.prompts())
    load, loaded = loading.Loader.load, 0

    def killed(self: loading.Loader, chunk: object) -> object:
        nonlocal loaded
        loaded += 1
        if loaded > after:
            raise Killed
        return load(self, chunk)  # type: ignore[arg-type]

    with monkeypatch.context() as context:
        context.setattr(ingest.Loader, "load", killed)
        with pytest.raises(Killed), PromptDB.open(tmp_path / "limner.db") as db:
            import_file(db, source)
    with PromptDB.open(tmp_path / "limner.db") as db:
        report = import_file(db, source)
        assert report.resumed == 500 * after
        assert list(db.prompts()) == expected and db.stats()["picture"] == 1800
        assert import_file(db, source).resumed == 0


def test_a_file_that_was_changed_since_starts_anew(db: PromptDB, tmp_path: Path) -> None:
    path = written(tmp_path, ["a cat", "a dog"])
    ingest.Loader(db, "prompts", ingest._fingerprint(path, None)).load(
        next(reading.read_file(path, ingest.file_kind(path), Notes()))
    )
    written(tmp_path, ["a bird", "a cat", "a dog", "a fish"])
    report = import_file(db, path)
    assert (report.resumed, report.added) == (0, 2)


def test_names_of_pictures_come_back() -> None:
    names = ["ec9b5e2c-028e-48ac-8857-a52814fd2a06", "x.png", "EC9B5E2C-028E-48AC-8857-A52814FD2A06", "0482ee68-", "é", "-" * 36]
    assert [image_name(key) for key in image_keys(pa.array(names))] == names


def test_the_first_prompt_stays_with_all_its_fields(db: PromptDB, tmp_path: Path) -> None:
    db.add_prompts([Prompt("a cat", "lexica", "cat", "blurry", 0.25)])
    import_file(db, written(tmp_path, ["A CAT"]))
    assert list(db.prompts()) == [Prompt("a cat", "lexica", "cat", "blurry", 0.25)]
