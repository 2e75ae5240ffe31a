from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.sampler import main


def test_the_benchmark_draws_the_same_pictures_three_ways_and_prints_ratios(sd1_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--checkpoint", str(sd1_folder), "--device", "cpu", "--n", "3", "--steps", "2", "--repeats", "2"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    ways, comparisons = lines[:3], lines[3:]
    assert [line["way"] for line in ways] == ["ours", "one at a time", "best batch"]
    assert all(line["ms_per_image"] > 0 and line["spread"] >= 0 for line in ways)
    assert [line["target"] for line in comparisons] == [1.3, 0.98]
    assert all(line["levels_apart"] <= 1 for line in comparisons)
    assert all(line["pass"] == (line["ratio"] >= line["target"]) for line in comparisons)
    assert code == (0 if all(line["pass"] for line in comparisons) else 1)


def test_a_checkpoint_that_is_not_there_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--checkpoint", str(tmp_path / "nowhere")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "there is no checkpoint folder" in captured.err
