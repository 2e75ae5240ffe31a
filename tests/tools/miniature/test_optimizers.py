"""Muon moves matrices along every direction alike; a killed training with it goes on as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from limner.tools import training
from limner.tools.training import Optimizers, Schedule, adamw, muon, train


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.SiLU(), nn.Flatten(), nn.Linear(6 * 16, 4))


def test_a_step_of_muon_moves_a_kernel_along_all_its_directions_alike() -> None:
    module = network()
    before = module[0].weight.detach().clone()
    optimizers = muon(module, weight_decay=0.0)
    module(torch.randn(8, 2, 4, 4)).square().mean().backward()
    optimizers.step(0.01)
    moved = torch.linalg.svdvals((module[0].weight.detach() - before).flatten(1))
    gradient = torch.linalg.svdvals(module[0].weight.grad.flatten(1))
    assert gradient.max() > 3 * gradient.min()
    assert moved.max() < 2 * moved.min()


def test_layers_named_apart_and_biases_go_to_adamw() -> None:
    module = network()
    matrices, rest = muon(module, 0.01, apart=("3.",)).parts
    held = [len(group["params"]) for part in (matrices, rest) for group in part.param_groups]
    assert (type(matrices).__name__, type(rest).__name__, held) == ("Muon", "AdamW", [1, 3])


def trained(work: Path, make: str, kill_at: int | None = None) -> torch.Tensor:
    module, calls = network(), 0

    def loss(rng: np.random.Generator) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == kill_at:
            raise KeyboardInterrupt
        pictures = torch.from_numpy(rng.normal(size=(8, 2, 4, 4))).float()
        return (module(pictures) - pictures.mean((2, 3)).repeat(1, 2)).square().mean()

    def optimizers(module: nn.Module, weight_decay: float) -> Optimizers:
        return muon(module, weight_decay) if make == "muon" else adamw(module, weight_decay)

    train("net", module, loss, Schedule(20, 0.02, warmup=2, average=0.9), work, 1, lambda text: None, optimizers)
    return torch.cat([weight.detach().flatten() for weight in module.parameters()])


@pytest.mark.parametrize("make", ["muon", "adamw"])
def test_a_killed_training_ends_in_the_same_weights(tmp_path: Path, make: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SAVE_SECONDS", 0.0)
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole = trained(tmp_path / "whole", make)
    for kill_at in (8, 5):
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "cut", make, kill_at)
    assert torch.equal(trained(tmp_path / "cut", make), whole)
