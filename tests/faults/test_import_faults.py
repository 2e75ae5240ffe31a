"""Imports that are killed, doubled, starved of disk and fed with rubbish: nothing lost, nothing doubled, one clear message."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import promptdb_rows
from limner.promptdb.files.ingest import import_file
from limner.promptdb.records import Prompt
from limner.promptdb.search.filters import Filters
from limner.promptdb.search.search import both, keyword
from limner.promptdb.store import PromptDB
from limner.promptdb.upkeep import check
from tests.commands import ROOT, command, process
from tests.prompt_samples import OWN, SAMPLES, prompts

ROWS = 120_000


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "metadata.parquet"
    promptdb_rows.write(path, ROWS)
    return path


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """What one import of the file leaves."""
    with PromptDB.open(tmp_path_factory.mktemp("whole") / "limner.db") as db:
        import_file(db, source)
        return contents(db)


def contents(db: PromptDB) -> dict[str, int]:
    sums = db.query("SELECT count(*), count(DISTINCT id), total(length(text)) FROM prompt WHERE source = 'metadata'")[0]
    pictures = db.query("SELECT count(*), count(DISTINCT name), total(seed) FROM picture")[0]
    words = db.query("SELECT count(*) FROM prompt_fts WHERE prompt_fts MATCH 'castle'")[0]
    return dict(zip(("prompts", "ids", "length", "pictures", "names", "seeds", "castles"), (*sums, *pictures, *words), strict=True))


def started(source: Path, db: Path) -> subprocess.Popen[bytes]:
    program = "import sys; from limner.promptdb.store import PromptDB; from limner.promptdb.files.ingest import import_file\n"
    program += "with PromptDB.open(sys.argv[2]) as db: import_file(db, sys.argv[1])"
    return subprocess.Popen([sys.executable, "-c", program, str(source), str(db)], env={**os.environ, "PYTHONPATH": str(ROOT)})


@pytest.mark.parametrize("chunks", [1, 2])
def test_an_import_killed_in_the_middle_and_started_again_ends_like_an_undisturbed_one(
    source: Path, undisturbed: dict[str, int], tmp_path: Path, chunks: int
) -> None:
    path = tmp_path / "limner.db"
    running = started(source, path)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if path.exists() and loaded(path) >= chunks:
            break
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL, "the import ended before it was killed"
    with PromptDB.open(path) as db:
        between = contents(db)
        assert 0 < between["prompts"] < undisturbed["prompts"] and check(db) == []
        report = import_file(db, source)
        assert report.resumed > 0
        assert contents(db) == undisturbed
        assert check(db) == []


def loaded(path: Path) -> int:
    """Chunks that an import under way has committed."""
    with PromptDB.open(path) as db:
        rows = db.query("SELECT rows FROM reading")
        return rows[0][0] // 50_000 if rows else 0


def test_two_imports_of_the_same_file_at_once_leave_every_row_once(source: Path, undisturbed: dict[str, int], tmp_path: Path) -> None:
    running = [started(source, tmp_path / "limner.db") for _ in range(2)]
    assert [one.wait(timeout=300) for one in running] == [0, 0]
    with PromptDB.open(tmp_path / "limner.db") as db:
        assert contents(db) == undisturbed
        assert check(db) == [] and db.query("SELECT * FROM reading") == []


def test_an_import_lets_others_write_and_search_meanwhile(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "limner.db"
    running = started(source, path)
    written = 0
    with PromptDB.open(path) as db:
        while running.poll() is None:
            assert db.add_prompts([Prompt(f"a zebra of mine, number {written}")]) == (1, 0)
            written += 1
            assert keyword(db, "zebra mine", 1)
    assert running.returncode == 0 and written > 3
    with PromptDB.open(path) as db:
        assert db.query("SELECT count(*) FROM prompt WHERE source = 'user'") == [(written,)] and check(db) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    if mount is None or subprocess.run([mount, *options], capture_output=True).returncode:
        pytest.skip("this user may not mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_leaves_a_sound_database(
    capfd: pytest.CaptureFixture[str], source: Path, small_disk: Path, tmp_path: Path
) -> None:
    result = command(capfd, "db", "import", source, "--db", small_disk / "limner.db", "--json")
    assert result.code == 2 and result.out == ""
    lines = result.err.strip().splitlines()
    assert len(lines) == 1 and "limner.db" in lines[0] and "space" in lines[0]
    moved = tmp_path / "roomy"
    shutil.copytree(small_disk, moved)
    with PromptDB.open(moved / "limner.db") as db:
        assert check(db) == []


def test_the_database_says_when_it_cannot_grow(tmp_path: Path, source: Path) -> None:
    """The same, where no small file system can be had: SQLite's own limit on pages gives the same error."""
    with PromptDB.open(tmp_path / "limner.db") as db:
        db.query("PRAGMA max_page_count = 2000")
        with pytest.raises(ValueError, match="no space is left") as error:
            import_file(db, source)
        assert "\n" not in str(error.value)
        assert check(db) == [] and db.query("SELECT count(*) FROM picture") == [(0,)]


def test_a_file_of_rubbish_never_ends_in_a_traceback(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    contents = {
        "ten_megabytes.txt": b"x" * 10_000_000 + b"\na cat\n",
        "controls.csv": b'prompt\n"a \x00 cat"\n\x1b[31mred\na dog\n',
        "latin.jsonl": b'{"text": "caf\xe9"}\n"a cat"\n',
        "open.csv": b'prompt,n\n"a cat,1\n' + b"a dog,2\n" * 100,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        result = command(capfd, "db", "import", tmp_path / name, "--out", tmp_path / "out", "--json")
        assert (
            result.code == 0 and result.document["malformed_rows"] >= 1 and result.document["added"] + result.document["duplicates"] >= 1
        ), name
    for name, content in {
        "cut.parquet": b"PAR1" + b"\0" * 100,
        "cut.csv.gz": b"\x1f\x8b\x08\x00\x00",
        "cut.zst": b"\x28\xb5\x2f\xfd\x00",
    }.items():
        (tmp_path / name).write_bytes(content)
        result = command(capfd, "db", "import", tmp_path / name, "--out", tmp_path / "out", "--json")
        assert result.code == 2 and result.out == "" and len(result.err.strip().splitlines()) == 1 and name in result.err


OPERATORS = st.lists(
    st.sampled_from(
        ["AND", "OR", "NOT", "NEAR(", ")", "(", '"', "*", "^", "-", ":", "{", "}", "+", "text:", "😀", "cat", "'", ";", "\x00", "é"]
    )
    | st.text(st.characters(exclude_categories=()), max_size=5),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(words=OPERATORS, separator=st.sampled_from([" ", ""]))
def test_no_query_is_an_error(words: list[str], separator: str) -> None:
    query = separator.join(words)
    with PromptDB.open(":memory:") as db:
        db.add_prompts([Prompt("a cat, 8k"), Prompt("text NEAR AND")])
        both(db, query, filters=Filters())
        keyword(db, f"{query} cat")
        assert db.count_prompts() == 2


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.stem)
def test_every_prompt_that_people_write_is_imported(tmp_path: Path, file: Path) -> None:
    with PromptDB.open(tmp_path / "limner.db") as db:
        found = import_file(db, file)
        assert found.added + found.duplicates == len(prompts(file)) and found.malformed_rows == 0


def test_what_was_imported_is_found(tmp_path: Path) -> None:
    with PromptDB.open(tmp_path / "limner.db") as db:
        for file in sorted(OWN.glob("*.txt")):
            import_file(db, file)
        tigers = [line for file in OWN.glob("*.txt") for line in prompts(file) if "tiger" in line]
        assert sorted(hit.prompt.text for hit in keyword(db, "tiger", 20)) == sorted(tigers)
        found = [hit.prompt.text for hit in both(db, "castle at night", 20, Filters())]
        assert found[0] == "A castle at night" and sum("castle" in text for text in found) == 3


def test_an_interrupted_import_says_so_and_goes_on(source: Path, tmp_path: Path) -> None:
    running = subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), "db", "import", str(source), "--out", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a shell may have us ignore it
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not ((tmp_path / "limner.db").exists() and loaded(tmp_path / "limner.db") >= 1):
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130 and out == "" and len(err.strip().splitlines()) == 1, err
    document = process("db", "import", source, "--out", tmp_path, "--json").document
    assert document["resumed"] >= 50_000
    with PromptDB.open(tmp_path / "limner.db") as db:
        assert db.query("SELECT count(*) FROM picture") == [(ROWS,)]
