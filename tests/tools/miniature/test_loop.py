"""Training goes on after a kill as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from limner.tools import training
from limner.tools.training import Schedule, train

SCHEDULE = Schedule(40, 0.05, warmup=5, average=0.9)


class Killed(BaseException):
    pass


def run(work: Path, kill_at: int | None = None, heard: list[str] | None = None) -> torch.Tensor:
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 1)
    calls = 0

    def loss(rng: np.random.Generator) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == kill_at:
            raise Killed
        points = torch.from_numpy(rng.normal(size=(8, 3))).float()
        return (module(points) - points.sum(1, keepdim=True) + 0.1 * torch.randn(8, 1)).square().mean()

    train("line", module, loss, SCHEDULE, work, 3, (heard if heard is not None else []).append)
    return module.weight.detach().clone()


def test_a_killed_training_ends_in_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SAVE_SECONDS", 0.0)
    for folder in ("whole", "killed"):
        (tmp_path / folder).mkdir()
    whole = run(tmp_path / "whole")
    for kill_at in (13, 9):
        with pytest.raises(Killed):
            run(tmp_path / "killed", kill_at)
    heard: list[str] = []
    assert torch.equal(run(tmp_path / "killed", heard=heard), whole)
    assert "line: resumed at step 20" in heard


def test_a_finished_stage_is_loaded_and_not_trained_again(tmp_path: Path) -> None:
    first = run(tmp_path)
    assert torch.equal(run(tmp_path, kill_at=1), first)
    assert [path.name for path in tmp_path.iterdir()] == ["line.done.pt"]


def test_a_loss_that_is_not_a_number_stops_the_training_with_its_step(tmp_path: Path) -> None:
    module = torch.nn.Linear(1, 1)
    with pytest.raises(FloatingPointError, match="at step 0"):
        train("broken", module, lambda rng: module.weight.sum() * float("nan"), SCHEDULE, tmp_path, 0, lambda text: None)


def test_the_learning_rate_warms_up_and_then_falls() -> None:
    rates = [SCHEDULE.rate(step) for step in range(SCHEDULE.steps)]
    assert rates[:5] == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] < 0.1 * SCHEDULE.learning_rate
