"""The executor's benchmark runs and says what it compares; whether targets are met is no matter of a loaded machine's tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import df_prompt

pytestmark = pytest.mark.filterwarnings("ignore:the embedding has next to no mean")  # as those of untrained encoders


def test_it_prints_one_line_a_comparison(capsys: pytest.CaptureFixture[str], sd1_folder: Path) -> None:
    code = df_prompt.main(["--checkpoint", str(sd1_folder), "--steps", "4", "--seeds", "1", "--repeats", "1"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["comparison"].split(":")[0] for line in lines] == ["trie", "trie", "encode", "encode", "single"]
    assert code == (0 if all(line["pass"] for line in lines) else 1)
    half, quarter = lines[:2]
    assert (half["rows"], half["rows_alone"]) == (2 * (2 + 16 * 2), 2 * 16 * 4)
    assert (quarter["rows"], quarter["ideal"]) == (2 * (3 + 16), round(64 / 19, 3))
    assert lines[2]["distinct"] * 3 <= lines[2]["segments"] and lines[2]["prompts"] == 64


def test_a_checkpoint_that_is_not_there_is_bad_input(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert df_prompt.main(["--checkpoint", str(tmp_path / "none")]) == 2
