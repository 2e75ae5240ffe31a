"""What is exported is imported equal, in every format; and a file appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import promptdb_rows
from limner.promptdb.errors import BadInput
from limner.promptdb.files.export import FORMATS, export_file, picture_rows
from limner.promptdb.files.file_kinds import UNPRINTABLE
from limner.promptdb.files.ingest import import_file
from limner.promptdb.records import Prompt
from limner.promptdb.store import PromptDB

TRICKY = [Prompt('a "cat", oil', "lexica", "a cat", "blurry, text", 0.0), Prompt("two\nlines"), Prompt("réd 😀", nsfw=2.0), Prompt("=1+1")]


@pytest.mark.parametrize("form", FORMATS)
def test_prompts_come_back_with_every_field(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"out.{form}"
    with PromptDB.open(":memory:") as db, PromptDB.open(":memory:") as other:
        db.add_prompts(TRICKY)
        assert export_file(db, path) == 4
        assert import_file(other, path).malformed == []
        assert list(other.prompts()) == TRICKY
        assert export_file(db, path, source="lexica") == 1


@pytest.mark.parametrize("form", FORMATS)
def test_pictures_come_back_with_everything_known_of_them(tmp_path: Path, form: str) -> None:
    promptdb_rows.write(tmp_path / "rows.parquet", 300)
    path = tmp_path / f"out.{form}"
    with PromptDB.open(":memory:") as db, PromptDB.open(":memory:") as other:
        import_file(db, tmp_path / "rows.parquet")
        assert export_file(db, path, pictures=True) == 300
        assert import_file(other, path).pictures == 300
        assert list(picture_rows(other)) == list(picture_rows(db))


texts = st.from_regex(rf"\A(?!\s*\Z)({UNPRINTABLE.replace('[', '[^', 1)})+\Z").filter(str.strip)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    found=st.lists(texts.filter(lambda text: "\r" not in text and max(text) < "\ud800"), min_size=1, max_size=5),
    form=st.sampled_from(FORMATS),
)
def test_any_prompt_comes_back(tmp_path: Path, found: list[str], form: str) -> None:
    with PromptDB.open(":memory:") as db, PromptDB.open(":memory:") as other:
        db.add_prompts(Prompt(text) for text in found)
        export_file(db, tmp_path / f"any.{form}")
        import_file(other, tmp_path / f"any.{form}")
        assert list(other.prompts()) == list(db.prompts())


def test_what_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old")
    with PromptDB.open(":memory:") as db:
        db.add_prompts(TRICKY)

        def broken(*arguments: object) -> object:
            yield from TRICKY[:2]
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(PromptDB, "prompts", broken)
        with pytest.raises(BadInput, match="No space left") as error:
            export_file(db, path)
        assert "out.jsonl" in str(error.value)
    assert path.read_text() == "old" and [file.name for file in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_name_that_says_no_format_is_refused(tmp_path: Path) -> None:
    with PromptDB.open(":memory:") as db, pytest.raises(BadInput, match="--format"):
        export_file(db, tmp_path / "out.xlsx")
