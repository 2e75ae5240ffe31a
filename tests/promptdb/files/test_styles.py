"""Styles of other programs: kept as instructions and suffixes, never as prompts."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from limner.agents.instruction_directives import read as directives
from limner.promptdb.errors import BadInput
from limner.promptdb.files.ingest import import_file
from limner.promptdb.files.prompt_file import read_prompts
from limner.promptdb.files.styles import Style, stored_styles, style_named
from limner.promptdb.store import PromptDB

ROWS = [
    {"name": "Etching", "prompt": "{prompt}, (etching:1.2), fine lines", "negative_prompt": "photo, colour"},
    {"name": "Plaster", "prompt": "plaster cast, side light", "negative_prompt": ""},
    {"name": "Poster of", "prompt": "poster of {prompt}, flat", "negative_prompt": ""},
    {"name": "No text", "prompt": "", "negative_prompt": "text, logo"},
]


@pytest.fixture
def db():
    with PromptDB.open(":memory:") as opened:
        yield opened


@pytest.mark.parametrize("form", ["csv", "json"])
def test_styles_become_instructions_and_no_prompts(db: PromptDB, tmp_path: Path, form: str) -> None:
    path = tmp_path / f"mine.{form}"
    if form == "json":
        path.write_text(json.dumps(ROWS, indent=2))
    else:
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.DictWriter(file, list(ROWS[0]))
            writer.writeheader()
            writer.writerows([*ROWS, {"name": "--- divider ---", "prompt": "", "negative_prompt": ""}])
    report = import_file(db, path)
    assert (report.styles, report.added, report.read) == (4, 0, 5 if form == "csv" else 4) and db.count_prompts() == 0
    assert [style.name for style in stored_styles(db)] == ["Etching", "No text", "Plaster", "Poster of"]
    again = import_file(db, path)
    assert (again.styles, again.duplicates) == (0, 4)
    with pytest.raises(BadInput, match="styles, not prompts"):
        read_prompts(path)


def test_the_words_of_a_style_are_directives_that_rules_follow(db: PromptDB, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(json.dumps(ROWS))
    import_file(db, tmp_path / "s.json")
    style = style_named(db, " etching ")
    assert style == Style("Etching", ROWS[0]["prompt"], ROWS[0]["negative_prompt"]) and style_named(db, "absent") is None
    found = directives(style.instruction().text)
    assert (found.add, found.negate) == (("etching", "fine lines"), ("photo", "colour"))


def test_only_a_style_that_stands_behind_a_prompt_is_a_suffix() -> None:
    suffixes = [Style(row["name"], row["prompt"], row["negative_prompt"]).suffix() for row in ROWS]
    assert suffixes == ["etching, fine lines", "plaster cast, side light", "", ""]


def test_a_table_of_pictures_with_the_same_columns_is_no_list_of_styles(db: PromptDB, tmp_path: Path) -> None:
    (tmp_path / "pictures.csv").write_text("name,prompt,negative_prompt\n0001.png,a pier,blurry\n0002.png,a mill,\n")
    report = import_file(db, tmp_path / "pictures.csv")
    assert (report.added, report.pictures, report.styles) == (2, 2, 0)
