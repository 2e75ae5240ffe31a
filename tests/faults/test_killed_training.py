"""A training that is killed, again and again, ends in the weights of one that was not, and never leaves a broken file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from limner.promptdb.errors import BadInput
from limner.tools.miniature.train import train

SCRIPT = Path(__file__).with_name("slow_training.py")
ROOT = Path(__file__).parents[2]
STAGES = ("vae", "text_encoder.reading", "text_encoder", "unet")


def run(work: Path, kill_at: str = "", stages: Sequence[str] = ("vae", "unet")) -> list[str]:
    """Train `stages`, or all for none, in `work` until a line begins with `kill_at`, then SIGKILL; to the end for ''. Returns the lines."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    said: list[str] = []
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), str(work), *stages],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line.strip())
            if kill_at and line.startswith(kill_at):
                process.send_signal(signal.SIGKILL)
                break
        process.stdout.read()
    assert kill_at or process.returncode == 0
    return said


def readable(work: Path) -> None:
    """Every file that a training would read again can be read."""
    for file in work.glob("*.pt"):
        torch.load(file, weights_only=True)
    for file in work.glob("*.npy"):
        if "." not in file.stem:  # the others are written aside and renamed when they are whole
            np.load(file, mmap_mode="r")


@pytest.mark.slow
def test_a_training_killed_three_times_ends_in_the_same_weights(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(whole)
    for place in ("vae: step 2", "text_encoder.reading: step 1", "unet: step 4"):
        assert any(line.startswith(place) for line in run(killed, place)), place
        readable(killed)
    last = run(killed)
    assert "vae: already trained" in last
    assert any(line.startswith("unet: resumed at step") for line in last)
    for stage in STAGES:
        first, second = (torch.load(work / f"{stage}.done.pt", weights_only=True) for work in (whole, killed))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first), stage
    assert not list(killed.glob("*.part.pt"))


@pytest.mark.slow
def test_the_whole_recipe_killed_twice_ends_in_the_same_checkpoint(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(whole, stages=())
    for place in ("judge.second: step 2", "style.comic: step 1"):
        assert any(line.startswith(place) for line in run(killed, place, stages=())), place
        readable(killed)
    run(killed, stages=())
    files = sorted(path.relative_to(whole / "out") for path in (whole / "out").rglob("*.safetensors"))
    assert len(files) == len({*(killed / "out").rglob("*.safetensors")}) > 10
    for file in files:
        first, second = (load_file(work / "out" / file) for work in (whole, killed))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first), file


def test_a_work_folder_holds_one_training_alone(tmp_path: Path) -> None:
    (tmp_path / "training.json").write_text('{"world": "1", "preset": "cpu", "seed": 0, "share": 1.0}', encoding="utf-8")
    with pytest.raises(BadInput, match=r"holds a training of world 1 \(now \d+\): give another --work, or --restart"):
        train(work=tmp_path, out=tmp_path / "out", say=lambda text: None)
    assert [path.name for path in tmp_path.iterdir()] == ["training.json"]
