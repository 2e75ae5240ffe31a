"""What the tests of tools/diffusion ask for, and how they damage it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning, Drawing, SamplerSettings
from limner.tools.diffusion.checkpoint import Checkpoint, open_checkpoint
from limner.tools.diffusion.sampling.sampler import Sampler

PROMPTS = [
    Conditioning("a cat"),
    Conditioning("the blue dog", "blurry"),
    Conditioning("a photo of a red dog on the cat", "a detailed, sharp photo"),
    Conditioning("", "red"),
]
SEEDS = [0, 1, 7, 2**40]

Copy = Callable[[Path], Path]


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def refusal_of(name: str | Path, **options: Any) -> str:
    with pytest.raises(BadInput) as refusal:
        open_checkpoint(str(name), **{"device": "cpu", **options})
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400
    return str(refusal.value)


def picture(checkpoint: Checkpoint) -> torch.Tensor:
    settings = SamplerSettings(steps=3, width=32, height=32)
    return Sampler(checkpoint).render([Drawing(Conditioning("a red cat"), 1, settings, checkpoint.fingerprint)], 1)


def settings_of(checkpoint: Checkpoint, **changes: Any) -> SamplerSettings:
    return replace(checkpoint.default_settings, **{"steps": 4, **changes})


def drawings_of(checkpoint: Checkpoint, count: int = 4, seeds: Sequence[int] = SEEDS, **changes: Any) -> list[Drawing]:
    settings = settings_of(checkpoint, **changes)
    return [Drawing(PROMPTS[n % 4], seeds[n] if n < len(seeds) else n, settings, checkpoint.fingerprint) for n in range(count)]
