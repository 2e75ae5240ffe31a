"""The command line as a contract: names, options, exit codes, and one JSON document on stdout."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from limner.graph.sources import OPTIONS, OTHER_VARIABLES
from limner.serve.cli import exit_codes
from limner.serve.cli.options import SEARCHING
from tests.commands import ROOT, command, process
from tests.test_architecture import LAYERS, sources
from tests.tiny_card import STEPS

HEAVY = (
    *("torch", "diffusers", "transformers", "langgraph", "langchain_core", "numpy", "pydantic", "jinja2", "pyarrow"),
    "limner.promptdb.files.reading",
)


def refine_arguments(tiny: Path, out: Path, *more: object) -> list[object]:
    return ["refine", "a red cat", "--checkpoint", tiny, "--out", out, "--heldout-seeds", 3, "--variants", 2, "--budget", 20, *more]


def test_help_needs_neither_torch_nor_anything_else_that_is_slow() -> None:
    look = f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    code = f"import sys; from limner import main; main.main(['--help']); {look}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "refine" in done.stdout and "Commands:" in done.stdout
    assert done.stderr.strip() == "[]"


def test_the_database_is_searched_without_torch(tmp_path: Path) -> None:
    code = (
        f"import sys; from limner import main; main.main(['db', 'search', 'apple', '--out', {str(tmp_path)!r}]); "
        "print([name for name in ('torch', 'diffusers', 'transformers', 'langgraph') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "apple" in done.stdout
    assert done.stderr.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "path",
    [
        *("refine", "generate", "score", "evaluate", "doctor", "convert", "serve", "mcp"),
        *("db import", "db search", "db stats", "runs list", "runs show", "train miniature", "miniature grids", "miniature prompts"),
    ],
)
def test_every_command_has_help(capfd: pytest.CaptureFixture[str], path: str) -> None:
    result = command(capfd, *path.split(), "--help")
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0].startswith("Usage:") and lines[2].strip()


def test_the_searching_commands_take_all_common_options(capfd: pytest.CaptureFixture[str]) -> None:
    text = command(capfd, "refine", "--help").out
    for name in (*SEARCHING, "json", "method", "resume"):
        assert f"--{name.replace('_', '-')} " in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "nonsense"),
        (["refine", "x", "--no-such-option"], "--no-such-option"),
        (["refine", "x", "--steps", "many"], "--steps"),
        (["score"], "PICTURE"),
        (["score", "a.png"], "there is no file a.png"),
        (["refine", "x", "--heldout-seeds", "1"], "--heldout-seeds must be at least 2"),
        (["refine", "x", "--seed", "-1"], "--seed must be at least 0"),
        (["refine", "x", "--resume", "run"], "either a prompt or --resume"),
        (["refine", "--resume", "run", "--budget", "9", "--pin", "a"], "as it was started: leave out --budget, --pin"),
        (["attack", "--resume", "run", "--search", "random"], "leave out --search"),
        (["optimize", "a.txt", "--resume", "run", "--arms", "2"], "either a FILE of prompts or --resume"),
        (["optimize", "--resume", "run", "--arms", "2"], "leave out --arms"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(capfd: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    result = command(capfd, *arguments)
    assert result.code == 2 and result.out == ""
    assert len(result.err.strip().splitlines()) == 1 and words in result.err


def test_refine_as_json_is_one_document_with_exactly_the_promised_keys(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    result = command(capfd, *refine_arguments(tiny, tmp_path, "--json"))
    assert result.code == 0
    document = result.document
    assert list(document) == [
        *("verdict", "run", "prompt", "typed", "dialect", "notes", "contract", "method", "checkpoint", "chat_model", "result"),
        *("best_tried", "improved", "scores", "used", "images", "report"),
    ]
    assert list(document["result"]) == [
        *("text", "negative", "df_prompt", "typed", "acts", "other_forms", "conditioning_id", "scores"),
    ]
    red = {"kind": "colour", "words": "red cat"}
    assert document["contract"] == {"pins": ["red cat"], "bans": [], "automatic": [red], "let_go": []}
    assert document["notes"] == ["kept by itself: red cat (colour); let go with --let-go"]
    side = "after" if document["improved"] else "before"
    assert document["result"]["scores"] == {name: row[side] for name, row in document["scores"].items()}
    if tried := document["best_tried"]:
        assert not document["improved"] and tried["scores"] == {name: row["after"] for name, row in document["scores"].items()}
    assert document["improved"] is (document["verdict"]["kind"] == "better")
    assert document["verdict"]["n"] == (3 if tried or document["improved"] else 0)
    assert list(document["used"]) == ["images", "unet_rows", "llm_calls", "repeated", "seconds"]
    assert list(document["scores"]) == ["liking", "likeness", "truth"]
    for row in document["scores"].values():
        assert list(row) == ["before", "after", "delta", "ci95", "n"] and row["n"] == 3
    assert document["prompt"] == "a red cat" and document["chat_model"] == "offline"
    assert document["used"]["images"] <= 20
    assert 0 < document["used"]["unet_rows"] <= document["used"]["images"] * 2 * STEPS  # what candidates share is counted once
    assert [len(document["images"][side]) for side in ("before", "after")] == [3, 3]
    assert all(Path(path).is_file() for side in document["images"].values() for path in side)
    assert Path(document["report"]).is_file()

    listed = command(capfd, "runs", "list", "--out", tmp_path, "--json").document
    assert [list(row) for row in listed] == [["run", "command", "status", "started", "prompt"]]
    assert listed[0]["run"] == document["run"] and listed[0]["status"] == "done"
    shown = command(capfd, "runs", "show", document["run"], "--out", tmp_path, "--json").document
    assert shown["result"] == document and shown["settings"]["heldout_seeds"] == 3
    again = command(capfd, "refine", "--resume", document["run"], "--out", tmp_path, "--json")
    assert again.document == document


def test_a_person_sees_the_result_and_where_the_report_is(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    result = command(capfd, *refine_arguments(tiny, tmp_path, "--method", "rewrite"))
    assert result.code == 0
    assert "liking" in result.out and "report.html" in result.out and "offline" in result.out
    assert "drawing the candidates" in result.err and "drawing" not in result.out


def test_generate_draws_and_draws_again_from_the_image_alone(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    options = ("--checkpoint", tiny, "--json")
    document = command(capfd, "generate", "a cat", "a dog", "--count", 2, "--seed", 7, "--out", tmp_path / "a", *options).document
    assert [(row["prompt"], row["seed"]) for row in document["images"]] == [("a cat", 7), ("a cat", 8), ("a dog", 7), ("a dog", 8)]
    assert document["used"]["images"] == 4
    first = document["images"][2]
    again = command(capfd, "generate", "--from", first["path"], "--out", tmp_path / "b", *options).document
    (row,) = again["images"]
    assert {key: row[key] for key in row if key != "path"} == {key: first[key] for key in first if key != "path"}
    assert again["used"]["images"] == 1
    pair = [Image.open(path).convert("RGB") for path in (first["path"], row["path"])]
    assert max(abs(a - b) for a, b in zip(*(image.tobytes() for image in pair), strict=True)) <= 1


def test_score_tells_every_scorers_number(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    document = command(capfd, "score", tmp_path / "red.png", "a red cat", "--checkpoint", tiny, "--json").document
    assert list(document["scores"]) == ["liking", "likeness", "truth"]
    assert all(-1 <= value <= 1 for value in document["scores"].values())


def test_doctor_says_what_is_here_and_what_is_missing(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    document = command(capfd, "doctor", "--checkpoint", tiny, "--json").document
    assert document["checkpoint"]["usable"] and document["checkpoint"]["scorers"]["liking"] == "ready"
    assert document["chat_model"] == "offline" and document["problems"] == []
    broken = command(capfd, "doctor", "--checkpoint", tmp_path / "nothing", "--json")
    assert broken.code == 0 and not broken.document["checkpoint"]["usable"] and broken.document["problems"]


def test_doctor_says_where_each_setting_came_from(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "limner.toml").write_text('db = "mine.db"\nbudget = 100\n', encoding="utf-8")
    monkeypatch.setenv("LIMNER_DB", "other.db")
    document = command(capfd, "doctor", "--checkpoint", tiny, "--json").document
    assert document["settings"] == {
        "checkpoint": {"value": str(tiny), "from": "--checkpoint"},
        "budget": {"value": 100, "from": "limner.toml"},
        "db": {"value": "other.db", "from": "LIMNER_DB", "over": ["limner.toml"]},
    }
    assert document["database"] == "other.db"
    assert "LIMNER_DB" in command(capfd, "doctor", "--checkpoint", tiny).out


def test_a_variable_that_nothing_reads_is_named_with_the_nearest(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMNER_BUGDET", "3")
    monkeypatch.setenv("LIMNER_CHAT_MODEL", "known")
    monkeypatch.setenv("LIMNER_EMPTY", "")
    result = command(capfd, "runs", "list", "--out", tmp_path, "--json")
    assert result.code == 0 and result.document == []
    assert result.err.strip() == "limner: no setting reads the variable LIMNER_BUGDET; did you mean LIMNER_BUDGET?"


def test_every_variable_that_the_code_names_is_known() -> None:
    named = {name for path in sources(*LAYERS) for name in re.findall(r"\bLIMNER_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8"))}
    known = {item.variable for item in OPTIONS.values()}
    assert named - known == set(OTHER_VARIABLES)


def test_prompts_are_imported_found_and_counted(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("a zebra on a bicycle\n\na zebra on a bicycle\n", encoding="utf-8")
    options = ("--out", tmp_path, "--json")
    before = command(capfd, "db", "stats", *options).document["prompt"]
    assert command(capfd, "db", "import", tmp_path / "mine.txt", *options).document == {
        **{"read": 2, "added": 1, "duplicates": 1, "styles": 0, "pictures": 0, "long": 0, "malformed_rows": 0, "resumed": 0},
        **{"malformed": [], "notes": []},
    }
    assert command(capfd, "db", "stats", *options).document["prompt"] == before + 1
    for extra in ((), ("--by", "likeness")):
        found = command(capfd, "db", "search", "zebra bicycle", "--source", "mine", *extra, *options).document
        assert [row["text"] for row in found] == ["a zebra on a bicycle"]


def test_there_are_no_runs_before_the_first(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = command(capfd, "runs", "list", "--out", tmp_path, "--json")
    assert result.document == [] and list(tmp_path.iterdir()) == []


def test_settings_come_from_flags_then_variables_then_the_file(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def refused(*flags: str) -> str:
        return command(capfd, "refine", "x", *flags).err

    (tmp_path / "limner.toml").write_text('budget = 3\nheldout-seeds = 2\nscorer = ["liking"]\n', encoding="utf-8")
    assert "a budget of 3 images" in refused() and "4 for the held-out check" in refused()
    monkeypatch.setenv("LIMNER_BUDGET", "5")
    assert "a budget of 5 images" in refused()
    assert "a budget of 6 images" in refused("--budget", "6")
    (tmp_path / "limner.toml").write_text("bugdet = 3\n", encoding="utf-8")
    assert "no option 'bugdet'; did you mean budget?" in refused()
    (tmp_path / "limner.toml").write_text("heldout-seeds = 2\nheldout_seeds = 3\n", encoding="utf-8")
    assert "sets heldout_seeds twice, as heldout_seeds and as heldout-seeds" in refused()
    (tmp_path / "limner.toml").write_text("budget = \n", encoding="utf-8")
    assert "limner.toml" in refused()


def test_an_unexpected_error_is_exit_1_and_says_what_it_was(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limner.serve.commands.database.count", lambda settings: 1 / 0)
    result = command(capfd, "db", "stats", "--json")
    assert result.code == 1 and result.out == ""
    assert result.err.strip().splitlines()[-1] == "limner: ZeroDivisionError: division by zero"


def test_ctrl_c_in_the_middle_of_a_picture_is_130_and_the_run_goes_on_later(
    tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(item) for item in refine_arguments(tiny, tmp_path, "--steps", 100, "--json")]
    program = [sys.executable, str(ROOT / "main.py"), *arguments]
    running = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    for line in running.stderr:
        if "writing variants:" in line:
            break
    time.sleep(0.1)
    os.kill(running.pid, signal.SIGINT)
    asked = time.monotonic()
    out, err = running.communicate(timeout=60)
    assert time.monotonic() - asked < 8
    assert running.returncode == 130 and out == ""
    assert "refine --resume" in err.strip().splitlines()[-1]
    run = err.strip().split()[-1]
    (row,) = command(capfd, "runs", "list", "--out", tmp_path, "--json").document
    assert row["run"] == run and row["status"] == "interrupted"
    document = command(capfd, "refine", "--resume", run, "--out", tmp_path, "--json").document
    assert document["scores"]["liking"]["n"] == 3 and document["used"]["images"] <= 20


def test_a_reader_that_leaves_early_is_no_crash(tmp_path: Path) -> None:
    script = f"{sys.executable} {ROOT / 'main.py'} db search apple --limit 500 --out {tmp_path} --json | head -c 20"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.stderr == "" and done.stdout.startswith("[")


def test_main_works_from_any_folder(tmp_path: Path) -> None:
    result = process("runs", "list", "--json", cwd=tmp_path)
    assert (result.code, result.document) == (0, [])


def test_names_of_exit_codes() -> None:
    assert (exit_codes.DONE, exit_codes.FAILED, exit_codes.BAD_INPUT, exit_codes.INTERRUPTED) == (0, 1, 2, 130)


def test_version_is_that_of_the_package(capfd: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    result = command(capfd, "--version")
    assert (result.code, result.out) == (0, f"limner {version('limner')}\n")


def test_a_run_is_told_in_plain_words_and_with_verbose_node_by_node(tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = refine_arguments(tiny, tmp_path, "--method", "rewrite")
    plain = command(capfd, *arguments).err
    assert "  writing variants: " in plain and "  checking on fresh seeds: " in plain and "gather" not in plain
    detailed = command(capfd, *arguments, "--verbose").err
    assert "  gather " in detailed and " s)" in detailed and "writing variants:" not in detailed
