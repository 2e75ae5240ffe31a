"""One training loop for every recipe: seeded by step, resumable after a kill, with progress and an estimate of the time left.

A step's batch depends on (seed, stage, step) alone, so a run that was killed and started again has the same batches. The state is written
every minute, to a second file that is then renamed, so that a kill never leaves a broken file.

Optimizers: AdamW for everything, or Muon for matrices and AdamW for the rest. Muon (Jordan et al. 2024, "Muon: An optimizer for hidden
layers in neural networks") makes every direction of a weight matrix move alike, so that what few pictures ask for, one noun among sixty, is
learned as fast as what all ask for. It is PyTorch's own; a convolution's kernel is treated as the matrix (out, in x height x width).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch


BETAS = (0.9, 0.99)


class Optimizers:
    """Several of PyTorch's optimizers used as one. `shown`: (weight, matrix over the same storage that an optimizer holds)."""

    def __init__(self, parts: list[torch.optim.Optimizer], shown: Sequence[tuple[torch.nn.Parameter, torch.nn.Parameter]] = ()) -> None:
        self.parts, self.shown = parts, shown

    def step(self, learning_rate: float) -> None:
        """Makes one step of all optimizers at that learning rate, from the gradients of the weights."""
        for weight, matrix in self.shown:
            matrix.grad = None if weight.grad is None else weight.grad.reshape(matrix.shape)
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = learning_rate
            part.step()

    def state_dict(self) -> list[dict[str, Any]]:
        """Returns the states of the optimizers, in order."""
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Loads what `state_dict` returned. Raises ValueError for another number of optimizers."""
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)


def adamw(module: torch.nn.Module, weight_decay: float) -> Optimizers:
    """Returns AdamW for all trainable weights of the module."""
    import torch

    weights = [weight for weight in module.parameters() if weight.requires_grad]
    return Optimizers([torch.optim.AdamW(weights, betas=BETAS, weight_decay=weight_decay)])


def muon(module: torch.nn.Module, weight_decay: float, apart: tuple[str, ...] = ()) -> Optimizers:
    """Returns Muon for weights of two or more axes, and AdamW for the others.

    `apart`: parts of names whose weights have AdamW too (a network's first and last layers, embeddings: the paper's own exceptions). Both
    have one learning rate; Muon's updates are scaled to AdamW's size (Liu et al. 2025, "Muon is scalable for LLM training", sec. 2.2).
    """
    import torch

    shown, rest = [], []
    for name, weight in module.named_parameters():
        if not weight.requires_grad:
            continue
        if weight.ndim >= 2 and not any(part in name for part in apart):
            shown.append((weight, torch.nn.Parameter(weight.detach().view(weight.shape[0], -1))))
        else:
            rest.append(weight)
    matrices = torch.optim.Muon([matrix for _, matrix in shown], weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
    return Optimizers([matrices, torch.optim.AdamW(rest, betas=BETAS, weight_decay=weight_decay)], shown)


def write_whole(path: Path, text: str) -> None:
    """Writes a text to a file as a whole: a kill leaves the old file or the new one."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)


def save_whole(state: Mapping[str, Any], path: Path) -> None:
    """Saves a torch state as a whole, in the form that `torch.load(weights_only=True)` reads."""
    import torch

    aside = path.with_suffix(".tmp")
    torch.save(dict(state), aside)
    os.replace(aside, path)


SAVE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """`steps` optimizer updates at peak `learning_rate`: linear warm-up over `warmup` of them, then a cosine down to 5 %.

    `average`: decay of the exponential moving average of the weights, 0 for none. `weight_decay`: of the optimizer.
    """

    steps: int
    learning_rate: float
    warmup: int = 200
    average: float = 0.0
    weight_decay: float = 0.01

    def rate(self, step: int) -> float:
        """Returns the learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def train(
    name: str,
    module: torch.nn.Module,
    loss: Callable[[np.random.Generator], torch.Tensor],
    schedule: Schedule,
    work: Path,
    seed: int,
    say: Callable[[str], None],
    optimizers: Callable[[torch.nn.Module, float], Optimizers] = adamw,
) -> None:
    """Minimizes `loss(rng)` over `module`'s trainable weights; ends with the averaged weights in `module`.

    `work`: folder of the state. `say`: called with lines of progress. `optimizers`: called with the module and the weight decay. A finished
    stage leaves `{work}/{name}.done.pt`, and is only loaded the next time.
    """
    import torch

    device = device_of(module)
    done, part = work / f"{name}.done.pt", work / f"{name}.part.pt"
    if done.is_file():
        module.load_state_dict(torch.load(done, weights_only=True, map_location=device))
        say(f"{name}: already trained")
        return
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    optimizer = optimizers(module, schedule.weight_decay)
    averaged = [weight.detach().clone() for weight in weights] if schedule.average else []
    first = 0
    if part.is_file():
        state = torch.load(part, weights_only=True, map_location=device)
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        averaged, first = state["averaged"], state["step"]
        say(f"{name}: resumed at step {first}")
    started = saved = time.monotonic()
    losses: list[float] = []
    for step in range(first, schedule.steps):
        torch.manual_seed(_mix(seed, name, step))
        value = loss(np.random.default_rng([_mix(seed, name, step)]))
        module.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step(schedule.rate(step))
        if averaged:
            keep = min(schedule.average, (1 + step) / (10 + step))
            torch._foreach_lerp_(averaged, [weight.detach() for weight in weights], 1 - keep)
        losses.append(float(value.detach()))
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(f"{name}: the loss is {losses[-1]} at step {step}")
        now = time.monotonic()
        if now - saved > SAVE_SECONDS:
            save_whole({"module": module.state_dict(), "optimizer": optimizer.state_dict(), "averaged": averaged, "step": step + 1}, part)
            saved = now
            left = (now - started) / (step + 1 - first) * (schedule.steps - step - 1)
            say(f"{name}: step {step + 1} of {schedule.steps}, loss {np.mean(losses[-200:]):.4f}, {left / 60:.0f} min left")
    with torch.no_grad():
        for weight, mean in zip(weights, averaged, strict=False):  # none where nothing is averaged
            weight.copy_(mean)
    save_whole(module.state_dict(), done)
    part.unlink(missing_ok=True)
    say(f"{name}: done, loss {np.mean(losses[-200:]) if losses else float('nan'):.4f}, {(time.monotonic() - started) / 60:.1f} min")


def device_of(module: torch.nn.Module) -> torch.device:
    """Returns the device of the module's weights."""
    return next(module.parameters()).device


def mixed_precision(device: torch.device) -> torch.autocast:
    """Returns an autocast to bf16 where that is safe; a CPU with bf16 trains 1.5 times as fast with it."""
    import torch

    return torch.autocast(device.type, torch.bfloat16)


def _mix(seed: int, name: str, step: int) -> int:
    return int.from_bytes(f"{name}".encode(), "little") % (2**31 - 1) ^ (seed * 1_000_003 + step * 97) % (2**31)
