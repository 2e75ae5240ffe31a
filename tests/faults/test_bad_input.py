"""Whatever a person may get wrong: one clear line on stderr, exit 2, nothing on stdout, nothing half-written."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from PIL import Image

from limner.promptdb.store import PromptDB
from tests.commands import Result, command

SMALL = ("--heldout-seeds", 2, "--search-seeds", 1, "--variants", 1, "--budget", 8)


def refused(result: Result, *words: str) -> None:
    """One line, exit 2, and the line names what was wrong."""
    assert result.code == 2, result.err
    assert result.out == ""
    lines = [line for line in result.err.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("limner: "), result.err
    for word in words:
        assert word in lines[0]


def untouched(folder: Path) -> None:
    assert not folder.exists() or list(folder.rglob("*")) == []


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    """A checkpoint of one's own, to be damaged."""
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


@pytest.mark.parametrize("name", ["no/such/folder", "/no/such/folder", "hub-without-owner-or-folder"])
def test_an_unknown_checkpoint(capfd: pytest.CaptureFixture[str], tmp_path: Path, name: str) -> None:
    for arguments in (["refine", "a cat"], ["generate", "a cat"]):
        refused(command(capfd, *arguments, "--checkpoint", name, "--out", tmp_path / "out"), name)
    untouched(tmp_path / "out")


def test_corrupt_and_truncated_weights(capfd: pytest.CaptureFixture[str], copy: Path, tmp_path: Path) -> None:
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    for broken in (whole[: len(whole) // 2], b"\0" * 64, b""):
        weights.write_bytes(broken)
        refused(command(capfd, "refine", "a cat", "--checkpoint", copy, "--out", tmp_path / "out"), "diffusion_pytorch_model.safetensors")
    untouched(tmp_path / "out")


def test_pickled_weights_are_never_opened(capfd: pytest.CaptureFixture[str], copy: Path, tmp_path: Path) -> None:
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    refused(command(capfd, "generate", "a cat", "--checkpoint", copy, "--out", tmp_path / "out"), "safetensors")
    untouched(tmp_path / "out")


def test_a_broken_scorer_of_the_card(capfd: pytest.CaptureFixture[str], copy: Path, tmp_path: Path) -> None:
    (copy / "scorers" / "likeness" / "model.safetensors").write_bytes(b"\0" * 10)
    refused(command(capfd, "refine", "a cat", "--checkpoint", copy, "--out", tmp_path / "out", *SMALL), "likeness")
    untouched(tmp_path / "out")


@pytest.mark.parametrize("prompt", ["", "   ", "\n\t"])
def test_an_empty_prompt(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, prompt: str) -> None:
    options = ("--checkpoint", tiny, "--out", tmp_path / "out")
    refused(command(capfd, "refine", prompt, *options), "empty")
    refused(command(capfd, "generate", prompt, *options), "empty")
    untouched(tmp_path / "out")


def test_nothing_to_draw(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    refused(command(capfd, "generate", "--checkpoint", tiny, "--out", tmp_path / "out"), "--from")


def test_a_prompt_over_the_encoders_limit_is_refused_and_never_cut_in_silence(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    options = ("--checkpoint", tiny, "--out", tmp_path / "out")
    long = "cat " * 2401
    refused(command(capfd, "refine", long, *options), "tokens", "--truncate")
    refused(command(capfd, "generate", "a cat", long, *options), "tokens", "--truncate")
    refused(command(capfd, "generate", "a cat", "--negative", long, *options), "tokens", "--truncate")
    untouched(tmp_path / "out")
    assert command(capfd, "generate", long, *options, "--truncate").code == 0


def test_unknown_names_are_answered_with_those_there_are(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    options = ("--checkpoint", tiny, "--out", tmp_path / "out")
    refused(command(capfd, "refine", "a cat", *options, "--scorer", "beauty"), "beauty", "liking")
    refused(command(capfd, "refine", "a cat", *options, "--method", "magic"), "magic", "auto", "rewrite")
    refused(command(capfd, "evaluate", "everything", *options), "everything", "miniature", "rewrite")
    untouched(tmp_path / "out")


@pytest.mark.parametrize("method", ["adapter"])
def test_a_method_asked_for_by_name_that_is_not_there(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, method: str) -> None:
    refused(command(capfd, "refine", "a cat", "--checkpoint", tiny, "--out", tmp_path / "out", "--method", method), method)
    untouched(tmp_path / "out")


def test_the_judge_cannot_be_the_objective(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    refused(command(capfd, "refine", "a cat", "--checkpoint", tiny, "--out", tmp_path / "out", "--scorer", "truth"), "truth", "objective")
    untouched(tmp_path / "out")


@pytest.mark.parametrize("budget", [0, -1, 19])
def test_a_budget_that_buys_no_evidence(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, budget: int) -> None:
    refused(command(capfd, "refine", "a cat", "--checkpoint", tiny, "--out", tmp_path / "out", "--budget", budget), "budget")
    untouched(tmp_path / "out")


def test_more_pictures_than_the_budget(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    refused(command(capfd, "generate", "a cat", "--count", 65, "--checkpoint", tiny, "--out", tmp_path / "out"), "budget")
    untouched(tmp_path / "out")


def test_a_folder_that_cannot_be_written(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    refused(command(capfd, "refine", "a cat", "--checkpoint", tiny, "--out", tmp_path / "file" / "runs"), "--out")
    locked = tmp_path / "locked"
    locked.mkdir()
    if os.geteuid() == 0:  # root may write anywhere, so the kernel's answer is taken from a person's account
        monkeypatch.setattr("limner.graph.context.os.access", lambda path, mode: path != locked)
    else:
        locked.chmod(0o500)
    refused(command(capfd, "refine", "a cat", "--checkpoint", tiny, "--out", locked / "runs"), "locked", "--out")
    untouched(locked)


def test_a_database_of_another_kind_or_a_newer_version(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    options = ("--checkpoint", tiny, "--out", tmp_path / "out", *SMALL)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as db:
        db.execute("create table things (id)")
    refused(command(capfd, "refine", "a cat", *options, "--db", other), "other.db", "--db")
    text = tmp_path / "text.db"
    text.write_text("this is no database, however long it may be " * 40)
    refused(command(capfd, "refine", "a cat", *options, "--db", text), "text.db", "--db")
    newer = tmp_path / "newer.db"
    PromptDB.open(newer).close()
    with sqlite3.connect(newer) as db:
        db.execute("pragma user_version = 999")
    refused(command(capfd, "refine", "a cat", *options, "--db", newer), "newer")
    refused(command(capfd, "runs", "list", "--db", newer), "newer")
    untouched(tmp_path / "out")


def test_a_locked_database(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "busy.db"
    PromptDB.open(path).close()
    patient = PromptDB.open

    def impatient(path: Path | str, *, busy_seconds: float = 0.3) -> PromptDB:
        return patient(path, busy_seconds=busy_seconds)

    monkeypatch.setattr(PromptDB, "open", impatient)
    holder = sqlite3.connect(path)
    try:
        holder.execute("begin immediate")
        refused(command(capfd, "refine", "a cat", "--checkpoint", tiny, "--out", tmp_path / "out", "--db", path, *SMALL), "locked")
    finally:
        holder.close()
    untouched(tmp_path / "out")


def test_an_image_that_does_not_say_how_it_was_made(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    options = ("--checkpoint", tiny, "--out", tmp_path / "out")
    plain, text, absent = tmp_path / "plain.png", tmp_path / "text.png", tmp_path / "absent.png"
    Image.new("RGB", (8, 8)).save(plain)
    text.write_text("no picture")
    for path in (plain, text, absent):
        refused(command(capfd, "generate", "--from", path, *options), path.name)
    refused(command(capfd, "generate", "a cat", "--from", plain, *options), "--from")
    untouched(tmp_path / "out")


def test_an_image_of_other_weights(capfd: pytest.CaptureFixture[str], tiny: Path, copy: Path, tmp_path: Path) -> None:
    drawn = command(capfd, "generate", "a cat", "--checkpoint", tiny, "--out", tmp_path / "first", "--json").document
    config = copy / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace("0.012", "0.013"))
    path = drawn["images"][0]["path"]
    refused(command(capfd, "generate", "--from", path, "--checkpoint", copy, "--out", tmp_path / "out"), "weights", "--checkpoint")
    untouched(tmp_path / "out")


def test_images_that_cannot_be_judged(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    Image.new("RGB", (8, 8)).save(tmp_path / "fine.png")
    refused(command(capfd, "score", tmp_path / "absent.png", "a cat", "--checkpoint", tiny), "absent.png")
    refused(command(capfd, "score", tmp_path / "text.png", "a cat", "--checkpoint", tiny), "text.png")
    refused(command(capfd, "score", tmp_path / "fine.png", " ", "--checkpoint", tiny), "empty")


def test_runs_that_are_not_there(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    refused(command(capfd, "runs", "show", "run-9", "--out", tmp_path), "no database")
    refused(command(capfd, "refine", "--resume", "run-9", "--out", tmp_path), "no database")
    untouched(tmp_path)
    PromptDB.open(tmp_path / "limner.db").close()
    refused(command(capfd, "runs", "show", "run-9", "--out", tmp_path), "run-9")
    refused(command(capfd, "refine", "--resume", "run-9", "--out", tmp_path), "run-9")


def test_settings_that_no_checkpoint_can_serve(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    options = ("--checkpoint", tiny, "--out", tmp_path / "out", *SMALL)
    refused(command(capfd, "refine", "a cat", *options, "--device", "quantum"), "quantum")
    refused(command(capfd, "refine", "a cat", *options, "--dtype", "float3"), "float3")
    refused(command(capfd, "refine", "a cat", *options, "--steps", 0), "--steps")
    refused(command(capfd, "refine", "a cat", *options, "--guidance-scale", "nan"), "guidance")
    refused(command(capfd, "refine", "a cat", *options, "--steps", 2000), "steps")
    untouched(tmp_path / "out")


def test_a_chat_server_address_that_is_none(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "not an address")
    refused(command(capfd, "refine", "a cat", "--checkpoint", tiny, "--out", tmp_path / "out", *SMALL), "OPENAI_BASE_URL")
    untouched(tmp_path / "out")


def test_files_that_cannot_be_imported(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    refused(command(capfd, "db", "import", tmp_path / "absent.txt", "--out", tmp_path / "out"), "absent.txt")
    untouched(tmp_path / "out")
