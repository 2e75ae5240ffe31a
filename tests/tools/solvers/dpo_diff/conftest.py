from __future__ import annotations

from pathlib import Path

import pytest

from limner.tools.diffusion.checkpoint import Checkpoint, open_checkpoint
from limner.tools.scoring.clip import ClipEncoder
from tests.tiny_checkpoints import tiny_sd1, tiny_sd2_v
from tests.tools.scoring.tiny_clips import save_tiny_clip


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    """A tiny SD 1.x and a tiny SD 2.x that predicts v."""
    folder = tmp_path_factory.mktemp("tiny")
    return {
        "sd1": open_checkpoint(str(tiny_sd1(folder / "sd1")), device="cpu"),
        "sd2": open_checkpoint(str(tiny_sd2_v(folder / "sd2")), device="cpu"),
    }


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> ClipEncoder:
    return ClipEncoder.open(Path(save_tiny_clip(tmp_path_factory.mktemp("clip"))))
