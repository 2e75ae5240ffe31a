"""`convert` as a person or a program calls it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.commands import ROOT, command

PROMPT = "a cat, [sharp focus:0-0.5:0.75]"


def test_the_prompt_is_on_stdout_and_what_to_know_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    result = command(capfd, "convert", PROMPT, "--to", "a1111", "--steps", 20, "--negative", "[blurry:0.5-1:1]")
    assert (result.code, result.out) == (0, "a cat, [(sharp focus:0.75):10]\nNegative prompt: [blurry::10]\n")
    assert result.err.splitlines()[0] == "df -> a1111: exact"


def test_with_json_there_is_one_document_with_these_keys(capfd: pytest.CaptureFixture[str]) -> None:
    document = command(capfd, "convert", PROMPT, "--to", "a1111", "--json").document
    assert list(document) == ["from", "to", "steps", "output", "negative", "fidelity", "reasons", "df_prompt"]
    assert (document["from"], document["output"], document["fidelity"]) == ("df", "a cat, [(sharp focus:0.75):0.5]", "off-by-one")
    assert all(row["level"] and row["why"] for row in document["reasons"])
    assert document["df_prompt"]["text"] == "a cat, sharp focus"


@pytest.mark.parametrize("to", ["a1111", "comfyui", "compel", "df"])
def test_every_dialect_can_be_written_for_known_steps(capfd: pytest.CaptureFixture[str], to: str) -> None:
    result = command(capfd, "convert", PROMPT, "--to", to, "--steps", 20, "--json")
    assert result.code == 0 and result.document["output"]


def test_steps_come_from_the_environment_as_everywhere(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_STEPS", "30")
    assert command(capfd, "convert", PROMPT, "--to", "a1111").out == "a cat, [(sharp focus:0.75):15]\n"


@pytest.mark.parametrize("more", [[], ["--json"]])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a [x:1-0.5:1]", "--to", "a1111"], "character 6: the range '1-0.5' is reversed"),
        (["a [x:0-1:nan]", "--to", "a1111"], "character 10"),
        (["a ] b", "--to", "a1111", "--from", "df"], "closes nothing"),
        (["a [cat:5]", "--to", "df"], "--steps"),
        (["[x:0-1:2] (cat:1.2)", "--to", "df"], "--dialect df or a1111"),
        (["a [b|c]", "--to", "df"], "no counterpart"),
        (["a", "--to", "midjourney"], "midjourney"),
        (["", "--to", "df"], "empty"),
        (["a"], "--to"),
        (["a", "--to", "df", "--steps", "0"], "--steps must be at least 1"),
        (["a", "--to", "df", "--steps", "1001"], "between 1 and 1000"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(capfd: pytest.CaptureFixture[str], arguments: list[str], words: str, more: list[str]) -> None:
    result = command(capfd, "convert", *arguments, *more)
    assert (result.code, result.out) == (2, "")
    assert len(result.err.strip().splitlines()) == 1 and words in result.err


def test_stray_brackets_are_text_where_that_is_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    result = command(capfd, "convert", "party ] static [ shape", "--to", "df", "--lenient")
    assert (result.code, result.out) == (0, "party \\] static \\[ shape\n")


def test_converting_loads_nothing_heavy() -> None:
    code = (
        "import sys, main; main.main(['convert', 'a [x:0-0.5:2]', '--to', 'comfyui', '--steps', '9']); "
        "print([name for name in ('torch', 'diffusers', 'numpy', 'langgraph', 'PIL') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "KSamplerAdvanced" in done.stdout
    assert done.stderr.strip().splitlines()[-1] == "[]"
