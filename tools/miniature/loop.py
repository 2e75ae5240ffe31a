"""One training loop for every stage: seeded by step, resumable after a kill, with progress and an estimate of the time left.

A step's batch depends on (seed, stage, step) alone, so a run that was killed and started again sees the same batches. State goes
to disk every minute, written aside and renamed, so that a kill never leaves a broken file.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tools.miniature.files import save_whole
from tools.miniature.optimizers import Optimizers, adamw

if TYPE_CHECKING:
    import torch

SAVE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """`steps` optimizer updates at peak `learning_rate`: linear warm-up over `warmup` of them, then a cosine down to
    5 %. `average`: decay of the exponential moving average of the weights, 0 for none."""

    steps: int
    learning_rate: float
    warmup: int = 200
    average: float = 0.0
    weight_decay: float = 0.01

    def rate(self, step: int) -> float:
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
    """Minimize `loss(rng)` over `module`'s trainable weights; ends with the averaged weights in `module`. `optimizers` is given the
    module and the weight decay.

    A finished stage leaves `{work}/{name}.done.pt` and is only loaded the next time.
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
    if averaged:
        with torch.no_grad():
            for weight, mean in zip(weights, averaged, strict=True):
                weight.copy_(mean)
    save_whole(module.state_dict(), done)
    part.unlink(missing_ok=True)
    say(f"{name}: done, loss {np.mean(losses[-200:]) if losses else float('nan'):.4f}, {(time.monotonic() - started) / 60:.1f} min")


def device_of(module: torch.nn.Module) -> torch.device:
    return next(module.parameters()).device


def mixed_precision(device: torch.device) -> torch.autocast:
    """bf16 where it is safe; a bf16-capable CPU trains 1.5 times as fast with it."""
    import torch

    return torch.autocast(device.type, torch.bfloat16)


def _mix(seed: int, name: str, step: int) -> int:
    return int.from_bytes(f"{name}".encode(), "little") % (2**31 - 1) ^ (seed * 1_000_003 + step * 97) % (2**31)
