"""Opening a database file: made, found again, brought up to date, or refused in words that a person understands."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from sqlite_utils import Database

from limner.promptdb import schema
from limner.promptdb.errors import BadInput
from limner.promptdb.records import Prompt
from limner.promptdb.search.search import keyword
from limner.promptdb.store import PromptDB
from limner.promptdb.upkeep import check

ROOT = Path(__file__).parents[2]


def test_a_database_is_made_with_its_folders_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "limner.db"
    with PromptDB.open(path) as db:
        assert db.path == path
        db.add_prompts([Prompt("a cat")])
    with PromptDB.open(str(path)) as db:
        assert [prompt.text for prompt in db.prompts()] == ["a cat"]
        assert db.query("PRAGMA journal_mode") == [("wal",)]


def refusal(path: Path | str) -> str:
    with pytest.raises(BadInput) as error:
        PromptDB.open(path, busy_seconds=0.2)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"these are my notes\n" * 100)
    assert "not an SQLite database" in refusal(path)
    assert path.read_bytes() == b"these are my notes\n" * 100
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_the_database_of_another_program_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "places.sqlite"
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE bookmark (url)")
    foreign.close()
    before = path.read_bytes()
    assert "another program" in refusal(path)
    assert path.read_bytes() == before


def test_a_database_of_a_newer_version_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "limner.db"
    PromptDB.open(path).close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    before = path.read_bytes()
    assert "newer version (schema 99" in refusal(path)
    assert path.read_bytes() == before


def test_a_folder_and_a_path_below_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is a folder" in refusal(tmp_path)
    assert "cannot be used" in refusal(tmp_path / "file" / "limner.db")


def test_a_damaged_database_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "limner.db"
    with PromptDB.open(path) as db:
        db.add_prompts(Prompt(f"prompt number {number}") for number in range(3000))
    content = bytearray(path.read_bytes())
    content[8192:-4096] = b"\xa5" * (len(content) - 12288)
    path.write_bytes(content)
    with pytest.raises(BadInput, match="damaged"), PromptDB.open(path) as db:
        list(db.prompts())


def test_an_older_database_gets_what_is_missing_and_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "limner.db"
    with PromptDB.open(path) as db:
        db.add_prompts([Prompt("a cat")])

    def add_column(database) -> None:
        database.execute("ALTER TABLE prompt ADD COLUMN language TEXT NOT NULL DEFAULT 'en'")

    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, add_column))
    monkeypatch.setattr(schema, "SCHEMA_VERSION", schema.SCHEMA_VERSION + 1)
    for _ in range(2):
        with PromptDB.open(path) as db:
            assert db.query("SELECT text, language FROM prompt") == [("a cat", "en")]


def test_a_migration_that_fails_leaves_the_older_database_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "limner.db"
    PromptDB.open(path).close()
    before = schema.MIGRATIONS

    def fail(database) -> None:
        database.execute("DROP TABLE answer")
        raise RuntimeError("power cut")

    with monkeypatch.context() as newer:
        newer.setattr(schema, "MIGRATIONS", (*before, fail))
        newer.setattr(schema, "SCHEMA_VERSION", len(before) + 1)
        with pytest.raises(RuntimeError):
            PromptDB.open(path)
    with PromptDB.open(path) as db:
        assert db.stored_answer("key") is None


def test_what_permissions_forbid_is_refused_in_one_line() -> None:
    """In a process of its own, which gives up root where the tests run as root: nothing is forbidden to root."""
    program = """
import os, sys
from pathlib import Path
from PIL import Image
from limner.promptdb.errors import BadInput
from limner.promptdb.images import ImageStore, read_provenance, write_png
from limner.promptdb.files.ingest import import_file
from limner.promptdb.records import Prompt
from limner.promptdb.search.search import keyword
from limner.promptdb.store import PromptDB
from limner.promptdb.upkeep import check
folder, picture = Path(sys.argv[1]), Image.new("RGB", (4, 4))
PromptDB.open(folder / "old.db").close()
(folder / "secret.txt").write_text("x")
write_png(picture, folder / "secret.png", {})
(folder / "closed").mkdir()
for name, mode in {"secret.txt": 0, "secret.png": 0, "closed": 0, "old.db": 0o444, ".": 0o555}.items():
    (folder / name).chmod(mode)
if os.geteuid() == 0:
    os.setuid(65534)
memory = PromptDB.open(":memory:")
for act in (
    lambda: PromptDB.open(folder / "new.db"),
    lambda: PromptDB.open(folder / "below" / "new.db"),
    lambda: PromptDB.open(folder / "closed" / "new.db"),
    lambda: PromptDB.open(folder / "old.db").add_prompts([Prompt("a cat")]),
    lambda: ImageStore(folder / "images").put(picture),
    lambda: ImageStore(folder / "closed").get("a" * 24),
    lambda: write_png(picture, folder / "new.png", {}),
    lambda: read_provenance(folder / "secret.png"),
    lambda: import_file(memory, folder / "secret.txt"),
):
    try:
        act()
    except BadInput as error:
        assert str(folder) in str(error) and str(error).isprintable(), error
        print("refused")
"""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True, env=environment)
        os.chmod(folder, 0o700)
        os.chmod(Path(folder, "closed"), 0o700)
    if "os.setuid" in done.stderr:
        pytest.skip("this root may not become another user")
    assert done.stdout == "refused\n" * 9, done.stderr


def test_a_database_of_the_schema_before_pictures_keeps_its_prompts_and_finds_old_and_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "limner.db"
    with monkeypatch.context() as older:
        older.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:2])
        older.setattr(schema, "SCHEMA_VERSION", 2)
        with sqlite3.connect(path) as raw:
            database = Database(raw)
            schema.migrate(database, "old")
            row = ("id", "a zebra at dawn", "mine", "", "", None)
            raw.execute("INSERT INTO prompt (id, text, source, subject, negative, nsfw) VALUES (?, ?, ?, ?, ?, ?)", row)
        raw.close()
    with PromptDB.open(path) as db:
        db.add_prompts([Prompt("a zebra at dusk")])
        assert {hit.prompt.text for hit in keyword(db, "zebra")} == {"a zebra at dawn", "a zebra at dusk"}
        assert check(db) == []
