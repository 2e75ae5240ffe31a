"""`refine --method dpo-diff` and `attack` as a person runs them: documents, reports, resumption, a chat model, a black box, bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from limner.promptdb.runs import Runs
from limner.promptdb.store import PromptDB
from limner.tools.lexicon.sense_check import keeps_sense
from limner.tools.lexicon.wordnet import load
from tests.chat_server import ChatServer, Reply, answer, page, status
from tests.commands import ROOT, Result, command
from tests.tools.diffusion.remote.test_openai import picture
from tests.tools.scoring.tiny_clips import save_tiny_clip

PROMPT = "a big red cat on the dog"
SMALL = ("--heldout-seeds", 3, "--budget", 26)


def dpo(tiny: Path, out: Path, *more: object, prompt: str = PROMPT) -> list[object]:
    return ["refine", prompt, "--method", "dpo-diff", "--checkpoint", tiny, "--out", out, *SMALL, "--json", *more]


def report_of(result: Result) -> str:
    return Path(result.document["report"]).read_text(encoding="utf-8")


def test_refining_by_searched_words_gives_a_document_and_a_report_that_tells_the_search(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    result = command(capfd, *dpo(tiny, tmp_path))
    assert result.code == 0, result.err
    document = result.document
    assert document["method"] == "dpo-diff" and document["result"]["text"] == PROMPT
    assert next(iter(document["scores"])) == "spherical_clip" and {"liking", "likeness", "truth"} < set(document["scores"])
    assert document["used"]["images"] <= 26
    assert document["used"]["unet_rows"] > 0
    page = report_of(result)
    assert "The search for words" in page and "antonym+library" in page and "0 tried" in page
    assert "  best " in result.err
    if not document["improved"]:
        assert document["result"]["negative"] == ""


def test_the_same_run_again_gives_the_same_words(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    found = [command(capfd, *dpo(tiny, tmp_path / name, "--search", "hybrid", "--space", "antonym")).document for name in ("a", "b")]
    assert found[0]["scores"] == found[1]["scores"] and found[0]["used"]["unet_rows"] == found[1]["used"]["unet_rows"]


def asked_for(out: Path) -> set[tuple[str, str]]:
    """(text, negative) of all that was drawn into a folder of runs."""
    with PromptDB.open(out / "limner.db") as db:
        return set(db.query("SELECT DISTINCT c.text, c.negative FROM drawing d JOIN conditioning c ON c.id = d.conditioning"))


def test_an_attack_draws_only_what_keeps_the_meaning_and_calls_a_rise_of_the_loss_a_success(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chat model that offers other things and opposites as synonyms is not believed."""
    lines = {"lines": ["big -> small, large", "cat -> dog, banana", "dog -> cat"]}
    with ChatServer(always=answer(lines)) as server:
        with_chat(monkeypatch, server)
        result = command(capfd, "attack", PROMPT, "--checkpoint", tiny, "--out", tmp_path, *SMALL, "--json")
    assert result.code == 0, result.err
    document = result.document
    loss = document["scores"]["spherical_clip"]
    assert document["improved"] == (loss["ci95"] is not None and loss["ci95"][0] > 0)
    drawn = asked_for(tmp_path)
    assert (PROMPT, "") in drawn and len(drawn) > 1
    for text, negative in drawn:
        changed = [(old, new) for old, new in zip(PROMPT.split(), text.split(), strict=True) if old != new]
        assert negative == "" and all(keeps_sense(old, new, load()) for old, new in changed)
    assert ("Led astray" in report_of(result)) or ("leads it astray" in report_of(result))


def test_a_run_that_is_done_is_told_again_by_its_own_command_alone(capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    document = command(capfd, *dpo(tiny, tmp_path, "--search", "random")).document
    again = command(capfd, "refine", "--resume", document["run"], "--out", tmp_path, "--json")
    assert again.document == document
    assert command(capfd, "attack", "--resume", document["run"], "--out", tmp_path).code == 2


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--space", "nplib"], "antonym"),
        (["--space", "antonym+antonym"], "antonym"),
        (["--search", "magic"], "limner"),
        (["--budget", "7"], "too small"),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, arguments: list[str], word: str
) -> None:
    result = command(capfd, *dpo(tiny, tmp_path / "out"), *arguments)
    assert result.code == 2 and result.out == ""
    lines = result.err.strip().splitlines()
    assert len(lines) == 1 and word in lines[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["refine", "attack"])
@pytest.mark.parametrize(("prompt", "word"), [("", "empty"), (" \n", "empty"), ("word " * 2401, "tokens")])
def test_an_empty_and_an_over_long_prompt(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, name: str, prompt: str, word: str
) -> None:
    method = ("--method", "dpo-diff") if name == "refine" else ()
    result = command(capfd, name, prompt, *method, "--checkpoint", tiny, "--out", tmp_path / "out", *SMALL)
    assert result.code == 2 and word in result.err and len(result.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("prompt", "more"),
    [("...!?", ()), ("red cat", ("--pin", "red", "--pin", "cat", "--space", "antonym")), ("xyzzy", ("--space", "synonym"))],
)
def test_where_there_is_nothing_to_search_the_prompt_comes_back_with_a_word_on_it(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, prompt: str, more: tuple[str, ...]
) -> None:
    result = command(capfd, *dpo(tiny, tmp_path, *more, prompt=prompt))
    assert result.code == 0, result.err
    assert not result.document["improved"] and result.document["result"]["text"] == prompt
    assert "no word of the prompt has a candidate" in result.err


def with_chat(monkeypatch: pytest.MonkeyPatch, server: ChatServer) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("LIMNER_CHAT_MODEL", "stub")


def test_a_chat_models_words_are_searched_and_asked_for_once(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = {"lines": ["big -> small, minute", "red -> zorgon, blue", "cat -> dog"]}
    with ChatServer(always=answer(lines)) as server:
        with_chat(monkeypatch, server)
        arguments = dpo(tiny, tmp_path, "--space", "antonym", "--search", "evolution", "--let-go", "all")
        result = command(capfd, *arguments)
        first = len(server.requests)
        again = command(capfd, *arguments)
        assert len(server.requests) == first
    assert result.code == again.code == 0, result.err
    assert result.document["chat_model"] == "stub" and result.document["used"]["llm_calls"] == first > 0
    assert "zorgon" in report_of(result) or "3 places, 5 words" in report_of(result)


@pytest.mark.parametrize(
    "garbage", [answer("no idea, sorry"), answer({"lines": ["", "->", "moon -> sun"]}), status(500)], ids=["text", "lines", "500"]
)
def test_a_chat_model_that_gives_garbage_leaves_the_words_to_the_file(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, garbage: Reply
) -> None:
    monkeypatch.setattr("limner.tools.http_client.FIRST_WAIT", 0.0)
    with ChatServer(always=garbage) as server:
        with_chat(monkeypatch, server)
        result = command(capfd, *dpo(tiny, tmp_path, "--space", "antonym", "--search", "random"))
    assert result.code == 0, result.err
    assert "The search for words" in report_of(result)


@pytest.fixture
def black_box(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A CLIP to judge the pictures of a black box by; returns where runs go."""
    monkeypatch.setenv("LIMNER_CLIP_DIR", str(save_tiny_clip(tmp_path / "clip")))
    return tmp_path / "out"


def remote(out: Path, *more: object) -> list[object]:
    return ["refine", PROMPT, "--method", "dpo-diff", "--checkpoint", "openai:painter", "--scorer", "spherical_clip", "--out", out, *SMALL,
            "--json", *more]  # fmt: skip


def painted(request: dict[str, object]) -> Reply:
    """Another colour for another text, so that some words are better than others."""
    shade = sum(map(ord, f"{request['prompt']}{request.get('negative_prompt', '')}")) % 256
    return picture((shade, 255 - shade, int(str(request["seed"])) * 40 % 256))


def test_words_are_searched_for_any_image_model_behind_an_endpoint(
    capfd: pytest.CaptureFixture[str], black_box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ChatServer(always=painted) as server:
        monkeypatch.setenv("LIMNER_IMAGES_BASE_URL", server.url)
        result = command(capfd, *remote(black_box))
        assert result.code == 0, result.err
        assert len(server.requests) == result.document["used"]["images"] <= 26
    assert result.document["checkpoint"] == "openai:painter"
    assert any(request.body.get("negative_prompt") for request in server.requests)


def test_an_endpoint_that_goes_away_ends_the_run_which_then_goes_on(
    capfd: pytest.CaptureFixture[str], black_box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limner.tools.http_client.FIRST_WAIT", 0.0)
    with ChatServer(*[painted] * 6, always=status(500)) as server:
        monkeypatch.setenv("LIMNER_IMAGES_BASE_URL", server.url)
        broken = command(capfd, *remote(black_box))
        assert broken.code == 1 and broken.err.strip().splitlines()[-1].startswith("limner: openai:painter")
        server.always = painted
        asked = len(server.requests)
        [run] = command(capfd, "runs", "list", "--out", black_box, "--json").document
        assert run["status"] == "failed"
        result = command(capfd, "refine", "--resume", run["run"], "--out", black_box, "--json")
        assert result.code == 0, result.err
        prompts = [json.dumps(request.body, sort_keys=True) for request in server.requests]
    assert set(prompts[:6]).isdisjoint(prompts[asked:])


@pytest.mark.parametrize("search", ["limner", "evolution", "random"])
def test_an_endpoint_that_refuses_the_prompt_is_told_in_a_warning(
    capfd: pytest.CaptureFixture[str], black_box: Path, monkeypatch: pytest.MonkeyPatch, search: str
) -> None:
    with ChatServer(always=status(400, "content policy violation")) as server:
        monkeypatch.setenv("LIMNER_IMAGES_BASE_URL", server.url)
        result = command(capfd, *remote(black_box, "--search", search))
    assert result.code == 0, result.err
    assert not result.document["improved"] and result.document["result"] == {"text": PROMPT, "negative": ""} | result.document["result"]
    assert "gave nothing for the prompt itself" in result.err and "Traceback" not in result.err


@pytest.mark.parametrize("answer", [status(429), status(400), page()], ids=["429", "400", "page"])
def test_an_endpoint_that_fails_half_way_loses_nothing(
    capfd: pytest.CaptureFixture[str], black_box: Path, monkeypatch: pytest.MonkeyPatch, answer: Reply
) -> None:
    """Refusals are candidates that came to nothing; all else ends the run with one line, and what was drawn is there for the next."""
    monkeypatch.setattr("limner.tools.http_client.FIRST_WAIT", 0.0)
    with ChatServer(*[painted] * 5, always=answer) as server:
        monkeypatch.setenv("LIMNER_IMAGES_BASE_URL", server.url)
        result = command(capfd, *remote(black_box))
    assert result.code == (0 if answer.status == 400 else 1), result.err
    assert "Traceback" not in result.err
    assert len(list((black_box / "images").rglob("*.png"))) == 5
    if result.code:
        assert result.err.strip().splitlines()[-1].startswith("limner: openai:painter")


def test_a_black_box_has_no_gradient_and_no_steps(capfd: pytest.CaptureFixture[str], black_box: Path) -> None:
    for more, word in ((("--search", "hybrid"), "black box"), (("--steps", 4), "--steps")):
        result = command(capfd, *remote(black_box, *more))
        assert result.code == 2 and word in result.err, result.err


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on_and_ends_as_an_undisturbed_one(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    arguments = dpo(tiny, tmp_path / "killed", "--search", "hybrid", "--budget", 60, "--steps", 25)
    program = [sys.executable, str(ROOT / "main.py"), *map(str, arguments)]
    process = subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and not _drawn(tmp_path / "killed" / "limner.db"):
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    [run] = command(capfd, "runs", "list", "--out", tmp_path / "killed", "--json").document
    resumed = command(capfd, "refine", "--resume", run["run"], "--out", tmp_path / "killed", "--json")
    assert resumed.code == 0, resumed.err
    whole = command(capfd, *dpo(tiny, tmp_path / "whole", "--search", "hybrid", "--budget", 60, "--steps", 25))
    assert resumed.document["result"] == whole.document["result"]
    assert resumed.document["scores"] == whole.document["scores"]
    assert resumed.document["used"]["images"] <= whole.document["used"]["images"] + resumed.document["used"]["repeated"]


def _drawn(database: Path) -> float:
    """Pictures that the run in it has paid for."""
    if not database.exists():
        return 0
    with PromptDB.open(database) as db:
        return sum(spent.amounts["images"] for run in Runs(db).latest() if (spent := Runs(db).spent(run.id)))
