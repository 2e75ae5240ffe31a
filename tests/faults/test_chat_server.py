"""Refining with a chat server, named by its address alone: its prompts are used, its failures cost no more than its prompts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chat_server import ChatServer, answer, refusal, refused_url, status
from tests.commands import Result, command

VARIANTS = {"variants": [{"positive": "a red cat, sharp", "negative": "blurry"}, {"positive": "a red cat, detailed photo", "negative": ""}]}


def refine(capfd: pytest.CaptureFixture[str], tiny: Path, out: Path) -> Result:
    options = ("--method", "rewrite", "--heldout-seeds", 2, "--budget", 20)
    return command(capfd, "refine", "a red cat", "--checkpoint", tiny, "--out", out, *options, "--json")


def test_the_servers_prompts_are_searched_and_its_name_is_told(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMNER_CHAT_MODEL", "stub-7b")
    with ChatServer(answer(VARIANTS)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        document = refine(capfd, tiny, tmp_path).document
        asked = len(server.requests)
        again = refine(capfd, tiny, tmp_path).document
        assert len(server.requests) == asked == 1  # a stored answer is never asked for again
    assert document["chat_model"] == "stub-7b" and document["used"]["llm_calls"] == 1
    assert again["used"]["llm_calls"] == 0 and again["scores"] == document["scores"]
    shown = command(capfd, "runs", "show", document["run"], "--out", tmp_path, "--json").document
    assert [row["text"] for row in shown["candidates"]] == ["a red cat", "a red cat, sharp", "a red cat, detailed photo"]
    assert "stub-7b" in Path(document["report"]).read_text(encoding="utf-8")


@pytest.mark.parametrize("reply", [refusal(), answer({"variants": []}), answer("no JSON at all")], ids=["refusal", "nothing", "prose"])
def test_an_answer_without_a_prompt_leaves_the_users_own(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reply: object
) -> None:
    with ChatServer(always=reply) as server:  # type: ignore[arg-type]
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        result = refine(capfd, tiny, tmp_path)
    assert result.code == 0 and "no rewritten prompts" in result.err
    assert not result.document["improved"] and result.document["result"]["text"] == "a red cat"


def test_a_server_that_is_away_leaves_the_users_prompt(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", refused_url())
    result = refine(capfd, tiny, tmp_path)
    assert result.code == 0 and "no rewritten prompts" in result.err
    assert result.document["result"]["text"] == "a red cat" and not result.document["improved"]


def test_a_refused_key_is_for_the_person_to_mend(
    capfd: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ChatServer(always=status(401)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        result = refine(capfd, tiny, tmp_path)
    assert result.code == 2 and result.out == ""
    assert "OPENAI_API_KEY" in result.err.splitlines()[-1] and "sk-secret" not in result.err
    (row,) = command(capfd, "runs", "list", "--out", tmp_path, "--json").document
    assert row["status"] == "failed"
