"""Importing prompts: what is usable is kept, what is not is reported by line, and nothing stops the import."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limner.promptdb.errors import BadInput
from limner.promptdb.files.file_kinds import MAX_CHARACTERS
from limner.promptdb.files.ingest import import_file
from limner.promptdb.records import Prompt
from limner.promptdb.seed import seed
from limner.promptdb.store import PromptDB


@pytest.fixture
def db():
    with PromptDB.open(":memory:") as opened:
        yield opened


def jsonl(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_plain_text_is_one_prompt_a_line(db: PromptDB, tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes("\ufeffa cat\r\n\r\n  a  dog \na réd fox\u2028at night\nA CAT".encode())
    report = import_file(db, path)
    assert (report.added, report.duplicates, report.malformed) == (3, 1, [])
    assert list(db.prompts()) == [Prompt(text, source="mine") for text in ("a cat", "a  dog", "a réd fox\u2028at night")]


def test_a_row_of_jsonl_carries_every_field_under_either_name(db: PromptDB, tmp_path: Path) -> None:
    rows = [
        {"text": "a cat, oil", "subject": "a cat", "negative": "blurry", "source": "lexica", "nsfw": 0.5, "likes": 3},
        {"prompt": "a dog", "negative_prompt": "text", "nsfw": True, "subject": None},
        "a bird",
    ]
    assert import_file(db, jsonl(tmp_path / "rows.jsonl", rows)).added == 3
    assert list(db.prompts()) == [
        Prompt("a cat, oil", "lexica", "a cat", "blurry", 0.5),
        Prompt("a dog", "rows", "", "text", 1.0),
        Prompt("a bird", "rows"),
    ]


def test_a_named_source_wins(db: PromptDB, tmp_path: Path) -> None:
    import_file(db, jsonl(tmp_path / "rows.jsonl", [{"text": "a cat", "source": "lexica"}]), source="mine")
    assert [prompt.source for prompt in db.prompts()] == ["mine"]


def test_what_cannot_be_used_is_reported_by_line_and_the_rest_is_kept(db: PromptDB, tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    bad = {
        b'{"text": "a cat"': "JSON",
        b"[1, 2]": "object",
        b"{}": "text",
        b'{"text": ""}': "empty",
        b'{"text": 5}': "not a string",
        b'{"text": "a", "subject": ["b"]}': "subject",
        b'{"text": "a", "nsfw": "yes"}': "nsfw",
        b'{"text": "a", "nsfw": NaN}': "nsfw",
        b'{"text": "a", "nsfw": 1' + b"0" * 400 + b"}": "nsfw",
        b'{"text": ' + b"1" * 5000 + b"}": "JSON",
        b'{"text": "bell \\u0007"}': "U+0007",
        b'{"text": "escape \x1b[31m"}': "JSON",
        b'{"text": "half \\ud800"}': "U+D800",
        b'{"text": "caf\xe9"}': "UTF-8",
        b"[" * 100_000: "JSON",
    }
    path.write_bytes(b'{"text": "first"}\n' + b"\n".join(bad) + b'\n\n{"text": "last"}\n')
    report = import_file(db, path)
    assert report.added == 2
    assert [line for line, _ in report.malformed] == list(range(2, 2 + len(bad)))
    for (_, reason), part in zip(report.malformed, bad.values(), strict=True):
        assert part in reason
        assert reason.isprintable()
    assert [prompt.text for prompt in db.prompts()] == ["first", "last"]


@pytest.mark.parametrize("ending", ["txt", "jsonl"])
def test_a_prompt_of_ten_megabytes_is_reported_and_the_next_is_kept(db: PromptDB, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"long.{ending}"
    row = (lambda text: json.dumps({"text": text})) if ending == "jsonl" else str
    path.write_text("\n".join(map(row, ["x" * 10_000_000, "y" * (MAX_CHARACTERS + 1), "z" * MAX_CHARACTERS, "a cat"])))
    report = import_file(db, path)
    assert report.added == 2
    assert [(line, "longer than" in reason) for line, reason in report.malformed] == [(1, True), (2, True)]


def test_the_longest_prompt_fits_a_line_with_every_character_escaped(db: PromptDB, tmp_path: Path) -> None:
    fields = {name: "😀" * MAX_CHARACTERS for name in ("text", "subject", "negative")}
    assert import_file(db, jsonl(tmp_path / "rows.jsonl", [fields])).added == 1


def test_control_characters_in_plain_text_are_reported(db: PromptDB, tmp_path: Path) -> None:
    (tmp_path / "odd.txt").write_bytes(b"a\x00cat\n\x1b]0;title\x07\na\tdog\n\x7f\n")
    report = import_file(db, tmp_path / "odd.txt")
    assert (report.added, [line for line, _ in report.malformed]) == (1, [1, 2, 4])


def test_importing_again_adds_nothing(db: PromptDB, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "rows.jsonl", [f"prompt {number}" for number in range(2500)])
    assert import_file(db, path).added == 2500
    again = import_file(db, path)
    assert (again.added, again.duplicates) == (0, 2500)


def test_a_file_of_another_kind_is_refused_in_one_line(db: PromptDB, tmp_path: Path) -> None:
    (tmp_path / "picture.bin").write_bytes(b"\x89PNG\xff\x00\n" * 5000)
    (tmp_path / "table.csv").write_text("title,likes\na cat,3\n")
    (tmp_path / "pictures.zip").write_bytes(b"PK")
    (tmp_path / "folder").mkdir()
    signs = {
        "picture.bin": "holds no prompts",
        "table.csv": "no column 'prompt' or 'text', only title, likes; say which one holds the prompts: --column NAME",
        "pictures.zip": "cannot be imported",
        "folder": "read",
        "none.txt": "read",
    }
    for name, sign in signs.items():
        with pytest.raises(BadInput, match=sign) as error:
            import_file(db, tmp_path / name)
        assert "\n" not in str(error.value)
        assert name in str(error.value)
    assert db.count_prompts() == 0


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), ending=st.sampled_from(["txt", "jsonl"]))
def test_any_bytes_are_imported_or_reported(db: PromptDB, tmp_path: Path, content: bytes, ending: str) -> None:
    path = tmp_path / f"any.{ending}"
    path.write_bytes(content)
    try:
        report = import_file(db, path)
    except BadInput as error:
        assert path.name in str(error) and "\n" not in str(error)
        assert content.startswith((b"PAR1", b"\x1f\x8b", b"\x28\xb5\x2f\xfd")) or b"\0" in content
    else:
        lines = [line for line in re.split(b"[\r\n]", content) if line]
        assert report.added + report.duplicates + len(report.malformed) <= len(lines)


def test_the_seed_is_loaded_once_and_again_only_where_it_changed(db: PromptDB, tmp_path: Path) -> None:
    first = jsonl(tmp_path / "world.jsonl", [{"text": "a red apple", "subject": "apple", "negative": "", "source": "miniature"}])
    (tmp_path / "README.md").write_text("no prompts")
    assert seed(db, tmp_path).added == 1
    assert (seed(db, tmp_path).added, seed(db, tmp_path).duplicates) == (0, 0)
    jsonl(first, [{"text": "a red apple"}, {"text": "a blue apple"}])
    assert seed(db, tmp_path).added == 1
    assert next(db.prompts()) == Prompt("a red apple", "miniature", "apple")


def test_the_seed_that_is_shipped_has_no_malformed_line(db: PromptDB) -> None:
    assert seed(db).malformed == []
    assert seed(db).added == 0
