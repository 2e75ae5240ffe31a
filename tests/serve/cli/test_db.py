"""The `db` commands as a contract: exactly one JSON document on stdout, a table for people, one line and exit 2 for what they get wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import promptdb_rows
from limner.promptdb.schema import SCHEMA_VERSION
from limner.promptdb.store import PromptDB
from tests.commands import command

ROWS = [
    {"text": "a okapi on a bicycle, oil painting, dramatic lighting", "subject": "a okapi on a bicycle", "source": "lexica"},
    {"text": "a okapi in the rain, oil painting, neon", "source": "lexica"},
    {"text": "a okapi, bloody, oil painting", "source": "lexica", "nsfw": 0.9},
    {"text": "a okapi at the sea, watercolor", "source": "users"},
]


@pytest.fixture
def out(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Path:
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS))
    assert command(capfd, "db", "import", tmp_path / "rows.jsonl", "--out", tmp_path / "out").code == 0
    return tmp_path / "out"


@pytest.mark.parametrize("name", ["import", "search", "modifiers", "stats", "export", "dedupe", "vacuum", "check"])
def test_every_command_has_help_and_json(capfd: pytest.CaptureFixture[str], name: str) -> None:
    result = command(capfd, "db", name, "--help")
    assert result.code == 0 and "--json " in result.out and "--db " in result.out


def test_all_of_them_answer_with_one_document(capfd: pytest.CaptureFixture[str], out: Path, tmp_path: Path) -> None:
    options = ("--out", out, "--json")
    found = command(capfd, "db", "search", "okapi", *options).document
    assert {row["text"] for row in found} == {row["text"] for row in ROWS if row.get("nsfw", 0) < 0.5}
    assert list(found[0]) == ["id", "text", "subject", "negative", "source", "nsfw", "score", "merit", "highlights"]
    start, end = found[0]["highlights"][0]
    assert found[0]["text"][start:end] == "okapi"
    assert command(capfd, "db", "modifiers", "okapi", *options).document == []  # three prompts say nothing
    common = command(capfd, "db", "modifiers", "--kind", "medium", "--limit", 1, *options).document
    assert list(common[0]) == ["modifier", "kind", "count", "share"]
    stats = command(capfd, "db", "stats", *options).document
    assert stats["sources"]["lexica"] == 3 and stats["schema"] == SCHEMA_VERSION
    exported = command(capfd, "db", "export", tmp_path / "x.csv", "--source", "users", *options).document
    assert exported == {"file": str(tmp_path / "x.csv"), "format": "csv", "rows": 1}
    assert command(capfd, "db", "dedupe", "--dry-run", *options).document["merged"] == 0
    assert command(capfd, "db", "vacuum", *options).document["after"] > 0
    checked = command(capfd, "db", "check", *options)
    assert (checked.code, checked.document["ok"], checked.document["problems"]) == (0, True, [])


def test_filters_reach_the_search(capfd: pytest.CaptureFixture[str], out: Path) -> None:
    def texts(*options: object) -> set[str]:
        rows = command(capfd, "db", "search", "okapi", "--by", "words", "--out", out, "--json", *options).document
        return {row["text"].split(",")[0] for row in rows}

    assert texts("--nsfw") >= {"a okapi"}
    assert texts("--source", "users") == {"a okapi at the sea"}
    assert texts("--contains", "oil painting", "--excludes", "neon") == {"a okapi on a bicycle"}
    assert texts("--max-words", "6") == {"a okapi at the sea"}
    assert texts("--min-score", "0") == set()
    assert texts("--diverse", "--limit", "2") <= {"a okapi on a bicycle", "a okapi in the rain", "a okapi at the sea"}


def test_a_person_sees_a_table_with_the_words_in_it(capfd: pytest.CaptureFixture[str], out: Path) -> None:
    result = command(capfd, "db", "search", "okapi bicycle", "--limit", 2, "--out", out)
    assert result.code == 0 and "a okapi on a bicycle" in result.out and result.out.split()[:3] == ["score", "source", "prompt"]


def test_words_that_match_are_marked(out: Path) -> None:
    from io import StringIO

    from rich.console import Console

    from limner.serve.terminal.printing import print_hits

    screen = Console(file=StringIO(), force_terminal=True, width=80, highlight=False)
    print_hits([{"score": 1.0, "source": "x", "text": "a [red] okapi", "highlights": [[8, 13]]}], screen)
    assert "a [red] \x1b[1mokapi\x1b[0m" in screen.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("search", "x", "--by", "magic"), "words, likeness, both"),
        (("search", "x", "--contains", "!!"), "no word"),
        (("modifiers", "x", "--kind", "magic"), "lighting"),
        (("export", "x.xlsx"), "--format"),
        (("export", "x.csv", "--format", "xml"), "parquet"),
        (("import", "absent.csv"), "absent.csv"),
        (("check", "--db", "absent.db"), "absent.db"),
        (("vacuum", "--db", "absent.db"), "absent.db"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = command(capfd, "db", *arguments, "--json")
    assert result.code == 2 and result.out == ""
    assert len(result.err.strip().splitlines()) == 1 and words in result.err


def test_check_ends_with_1_where_something_is_wrong(capfd: pytest.CaptureFixture[str], out: Path) -> None:
    with PromptDB.open(out / "limner.db") as db:
        db.write("INSERT INTO picture (prompt, name, source) VALUES (?, 'x', 1)", [(10**6,)])
    result = command(capfd, "db", "check", "--out", out, "--json")
    assert result.code == 1 and [problem["count"] for problem in result.document["problems"]] == [1, 1]


def test_malformed_rows_are_named_on_stderr(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"text": "a cat"}\n{"text": 5}\n')
    result = command(capfd, "db", "import", tmp_path / "bad.jsonl", "--out", tmp_path / "out")
    assert result.code == 0 and "1 added" in result.out and "1 malformed" in result.out
    assert "line 2: the prompt is not a string" in result.err


def test_pictures_go_out_and_come_in_again(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    promptdb_rows.write(tmp_path / "metadata.parquet", 50)
    assert command(capfd, "db", "import", tmp_path / "metadata.parquet", "--out", tmp_path / "a", "--json").document["pictures"] == 50
    options = ("--pictures", "--out", tmp_path / "a", "--json")
    assert command(capfd, "db", "export", tmp_path / "p.parquet", *options).document["rows"] == 50
    assert command(capfd, "db", "import", tmp_path / "p.parquet", "--out", tmp_path / "b", "--json").document["pictures"] == 50


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.txt", "", "holds no prompts"),
        ("blank.csv", "prompt,seed\n,3\n", "line 2"),
        ("pairs.jsonl", '{"question": "a", "answer": "b"}\n', "line 1: no field"),
        ("captions.csv", "url,caption\nu,a pier\n", "--column"),
        ("list.json", '{"items": [{"id": 1, "meta": null}]}', "no prompt"),
        ("wild.yaml", "place:\n  - beach\n", "--wildcards"),
    ],
)
def test_a_file_in_which_nothing_can_be_read_ends_with_2_in_one_line(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, name: str, content: str, words: str
) -> None:
    (tmp_path / name).write_text(content)
    result = command(capfd, "db", "import", tmp_path / name, "--out", tmp_path / "out", "--json")
    assert result.code == 2 and result.out == ""
    assert len(result.err.strip().splitlines()) == 1 and words in result.err and name in result.err


def test_what_is_read_adds_up_and_an_empty_file_beside_others_is_named(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a pier --ar 3:2\na pier\n--seed 3\n")
    (tmp_path / "none.txt").write_text("\n")
    (tmp_path / "s.csv").write_text('name,prompt,negative_prompt\nInk,"{prompt}, ink",photo\n')
    found = command(capfd, "db", "import", tmp_path / "a.txt", tmp_path / "none.txt", tmp_path / "s.csv", "--out", tmp_path / "o", "--json")
    counts = {name: found.document[name] for name in ("read", "added", "duplicates", "styles", "malformed_rows")}
    assert counts == {"read": 4, "added": 1, "duplicates": 1, "styles": 1, "malformed_rows": 1}
    notes = {Path(row["file"]).name: row["note"] for row in found.document["notes"]}
    assert notes["none.txt"] == "holds no prompts" and "--ar 3:2" in notes["a.txt"]


def test_a_column_of_another_name_is_imported(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_text("url;caption\nu;a pier\n")
    options = ("--column", "caption", "--out", tmp_path / "out")
    result = command(capfd, "db", "import", tmp_path / "captions.csv", *options)
    assert result.code == 0 and "1 row read: 1 added" in result.out
