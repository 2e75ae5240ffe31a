from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from limner.tools.diffusion.checkpoint import Checkpoint, open_checkpoint
from tests.tiny_checkpoints import tiny_sd1, tiny_sd2_v


@pytest.fixture(scope="session")
def sd1_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sd1(tmp_path_factory.mktemp("tiny") / "sd1")


@pytest.fixture(scope="session")
def sd2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sd2_v(tmp_path_factory.mktemp("tiny") / "sd2")


@pytest.fixture(scope="session")
def sd1(sd1_folder: Path) -> Checkpoint:
    """Shared: tests that change weights open their own."""
    return open_checkpoint(str(sd1_folder), device="cpu")


@pytest.fixture(scope="session")
def sd2(sd2_folder: Path) -> Checkpoint:
    return open_checkpoint(str(sd2_folder), device="cpu")


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path], Path]:
    """A copy of a checkpoint folder that a test may damage."""

    def copy(folder: Path) -> Path:
        return Path(shutil.copytree(folder, tmp_path / "copy"))

    return copy


@pytest.fixture(scope="session")
def stock() -> Callable[[Path], Any]:
    """A stock pipeline from the same folder, as its documentation says to open one."""
    from diffusers import StableDiffusionPipeline

    opened: dict[Path, Any] = {}

    def pipeline(folder: Path) -> Any:
        if folder not in opened:
            opened[folder] = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
            opened[folder].set_progress_bar_config(disable=True)
            opened[folder].own_config = opened[folder].scheduler.config
        return opened[folder]

    return pipeline
