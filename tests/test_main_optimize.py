"""`optimize` and `runs export` as a person meets them: one JSON document, exit codes, one line for what can be mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import command

PROMPTS = "a red cat\na blue dog\na green boat\nA  Red Cat\na yellow kite\n" + "word " * 2401 + "\n"


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text(PROMPTS)
    return path


def arguments(tiny: Path, prompts: Path, out: Path, *more: object) -> list[object]:
    small = ["--iterations", 2, "--batch-size", 2, "--budget", 60, "--heldout-seeds", 2]
    return ["optimize", prompts, "--checkpoint", tiny, "--out", out, *small, *more]


def test_the_document_the_report_the_rerun_and_the_export(
    capfd: pytest.CaptureFixture[str], tiny: Path, prompts: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = command(capfd, *arguments(tiny, prompts, out, "--json"))
    assert result.code == 0, result.err
    document = result.document
    assert set(document["instruction"]) == {"initial", "best", "id"}
    assert document["chat_model"] == "offline" and isinstance(document["improved"], bool)
    first = document["iterations"][0]["arms"]
    assert {"instruction", "mean", "pulls", "ucb"} <= set(first[0]) and first[0]["pulls"] > 0
    for name in ("heldout", "heldout_initial"):
        for row in document[name].values():
            assert {"before", "after", "delta", "ci95", "n", "p"} <= set(row)
            assert row["n"] == 2
    assert document["used"]["images"] <= 60
    assert any("more than once" in warning for warning in document["warnings"])
    assert any("longer than the model" in warning for warning in document["warnings"])
    assert Path(document["report"]).read_text().lower().startswith("<!doctype html>")

    again = command(capfd, "optimize", "--resume", document["run"], "--out", out, "--json")
    assert again.code == 0 and again.document == document
    exported = command(capfd, "runs", "export", document["run"], "--out", out)
    assert exported.document["instruction"] == document["instruction"]["best" if document["improved"] else "initial"]
    file = tmp_path / "prompt.txt"
    assert command(capfd, "runs", "export", document["run"], "--out", out, "--as", "system-prompt", "--file", file).code == 0
    assert exported.document["instruction"] in file.read_text()
    listed = command(capfd, "runs", "list", "--out", out, "--json").document
    assert [(row["run"], row["command"], row["status"]) for row in listed] == [(document["run"], "optimize", "done")]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--selector", "best"], "there is no selector 'best'"),
        (["--compat", "other"], "'maai' alone"),
        (["--iterations", 0], "--iterations must be at least 1"),
        (["--budget", 10], "raise --budget to"),
        (["--resume", "x"], "either a FILE of prompts or --resume"),
    ],
)
def test_what_a_person_can_mend_is_one_line_and_nothing_is_written(
    capfd: pytest.CaptureFixture[str], tiny: Path, prompts: Path, tmp_path: Path, more: list[object], said: str
) -> None:
    result = command(capfd, *arguments(tiny, prompts, tmp_path / "out", *more))
    assert result.code == 2 and said in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there_or_holds_no_prompt_is_refused(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    binary = tmp_path / "picture.bin"
    binary.write_bytes(bytes(range(256)) * 100)
    for path, said in ((tmp_path / "none.txt", "cannot be read"), (binary, "holds no prompts")):
        result = command(capfd, *arguments(tiny, path, tmp_path / "out"))
        assert result.code == 2 and said in result.err


def test_only_a_finished_optimization_can_be_exported(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = command(capfd, "runs", "export", "x", "--out", tmp_path)
    assert result.code == 2 and "no database" in result.err
