"""Two processes that would work on the same run: the second is refused in one line, and the first ends as if nothing had happened."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from limner.promptdb.runs import Runs
from limner.promptdb.store import PromptDB
from tests.commands import ROOT, command

PROMPTS = "a red cat\na blue dog\na green boat\na yellow kite\n"
SMALL = ("--steps", 60, "--heldout-seeds", 2, "--json")


@pytest.mark.parametrize("name", ["refine", pytest.param("optimize", marks=pytest.mark.slow)])
def test_a_run_at_work_cannot_be_resumed_beside_it(name: str, tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "prompts.txt").write_text(PROMPTS)
    given = {"refine": ("a red cat", "--budget", 20), "optimize": (tmp_path / "prompts.txt", "--budget", 40, "--iterations", 1)}[name]
    out = tmp_path / "out"
    arguments = [name, *given, "--checkpoint", tiny, "--out", out, *SMALL]
    program = [sys.executable, str(ROOT / "main.py"), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    with PromptDB.open(out / "limner.db") as db:
        deadline = time.monotonic() + 120
        while not Runs(db).latest():
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        [run] = Runs(db).latest()
        second = command(capfd, name, "--resume", run.id, "--out", out, "--json")
        assert first.poll() is None, "it ended before another could come"
        assert second.code == 2 and second.out == ""
        assert second.err == f"limner: another process works on {run.id}; wait for its end, or stop it\n"
        printed, _ = first.communicate(timeout=240)
        assert first.returncode == 0 and Runs(db).get(run.id).status == "done"  # type: ignore[union-attr]
        spent = Runs(db).spent(run.id)
    again = command(capfd, name, "--resume", run.id, "--out", out, "--json")
    assert again.code == 0 and again.out == printed
    assert spent is not None and again.document["used"]["images"] == spent.amounts["images"]
