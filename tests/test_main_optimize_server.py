"""`optimize` with a chat server that is asked several questions at once, as a person starts it: a process with the default settings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from limner.agents.llm.settings import DEFAULT_PARALLEL
from limner.promptdb.runs import Runs
from limner.promptdb.store import PromptDB
from tests.chat_server import ChatServer, Reply
from tests.commands import ROOT, process
from tests.hidden_rule import reply

LATENCY = 0.3  # seconds an answer
PROMPTS = "a red cat\na blue dog\na green boat\na yellow car\na red bird\na blue fish\na green tree\na yellow house\n"
SMALL = ["--iterations", 1, "--batch-size", 4, "--budget", 48, "--search-seeds", 1, "--heldout-seeds", 2]


def slowly(body: dict[str, Any]) -> Reply:
    return replace(reply(body), delay=LATENCY)


def environment(server: ChatServer) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENAI_BASE_URL": server.url, "LIMNER_CHAT_MODEL": "stub"}


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text(PROMPTS)
    return path


@pytest.mark.slow
def test_questions_at_once_are_all_counted_and_none_is_asked_again(prompts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with ChatServer(always=slowly) as server:
        result = process("optimize", prompts, "--out", out, *SMALL, "--json", env=environment(server))
        assert result.code == 0, result.err
        document, asked = result.document, len(server.requests)
        assert document["chat_model"] == "stub"
        assert document["used"]["llm_calls"] == asked
        assert server.most_at_once == DEFAULT_PARALLEL
        with PromptDB.open(out / "limner.db") as db:
            spent = Runs(db).spent(document["run"])
        assert spent and spent.amounts["llm_calls"] == spent.usage["calls"] == asked
        assert (spent.usage["prompt_tokens"], spent.usage["completion_tokens"]) == (11 * asked, 7 * asked)
        again = process("optimize", "--resume", document["run"], "--out", out, "--json", env=environment(server))
        assert again.code == 0 and again.document == document
        assert len(server.requests) == asked


@pytest.mark.slow
def test_a_run_killed_while_it_waits_asks_again_only_what_was_on_its_way(prompts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with ChatServer(always=slowly) as server:
        program = [sys.executable, str(ROOT / "main.py"), "optimize", prompts, "--out", out, *SMALL, "--json"]
        killed = subprocess.Popen([str(item) for item in program], cwd=ROOT, env=environment(server), stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while killed.poll() is None and len(server.requests) < DEFAULT_PARALLEL + 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        killed.kill()
        killed.communicate()
        assert killed.returncode == -signal.SIGKILL
        before = len(server.requests)
        with PromptDB.open(out / "limner.db") as db:
            [run] = Runs(db).latest()
        resumed = process("optimize", "--resume", run.id, "--out", out, "--json", env=environment(server))
        assert resumed.code == 0, resumed.err
        again = Counter(json.dumps(request.body, sort_keys=True) for request in server.requests)
        on_their_way = sum(count - 1 for count in again.values())
        assert max(again.values()) <= 2 and on_their_way <= DEFAULT_PARALLEL < before
        # A call is paid for before it is sent, so a kill may leave some that no server has seen.
        assert 0 <= resumed.document["used"]["llm_calls"] - len(server.requests) <= DEFAULT_PARALLEL
