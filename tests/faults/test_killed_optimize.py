"""kill -9, again and again: a learning run ends as if nothing had happened, and pays for little twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from limner.graph.runner import optimize_state, stream_optimize
from tests.doubles import FakeImageModel
from tests.graph.optimize.optimize_stage import taste
from tests.graph.optimize.slow_optimize import slow_optimize_stage

ROOT = Path(__file__).parents[2]


def killed_after(folder: Path, pictures: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = str(ROOT / "tests" / "graph" / "optimize" / "slow_optimize.py")
    process = subprocess.Popen([sys.executable, script, str(folder)], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    for _ in range(pictures):
        if not process.stdout.readline():
            break
    process.send_signal(signal.SIGKILL)
    process.stdout.read()
    process.wait(timeout=30)


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_a_run_killed_again_and_again_ends_as_an_undisturbed_one(tmp_path: Path, kills: int) -> None:
    context, run, start = slow_optimize_stage(tmp_path / "whole", FakeImageModel(taste))
    list(stream_optimize(context, run, start))
    undisturbed, spent = optimize_state(context, run.id), context.evaluator.budget.used()
    rng = random.Random(kills)
    folder = tmp_path / "killed"
    for _ in range(kills):
        killed_after(folder, rng.randint(1, max(2, int(spent["images"]) // kills)))
    model = FakeImageModel(taste)
    context, run, start = slow_optimize_stage(folder, model)
    events = list(stream_optimize(context, run, start))
    used = context.evaluator.budget.used()
    assert events[0]["resumed"]
    assert optimize_state(context, run.id)["outcome"] == undisturbed["outcome"]
    assert used["images"] - used["repeated"] <= spent["images"]
    assert used["repeated"] <= kills * model.bucket
