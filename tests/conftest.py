"""What all tests share: no settings leak in from the machine, no chat server is ever reached, one tiny checkpoint for whoever needs one.

A slow test has longer than others until it is ended; a skip that nobody foresaw fails the run.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest

from tests.tiny_card import tiny_with_card

pytest_plugins = ["pytester", "tests.unexpected_skips"]
SLOW = 1800.0  # seconds; others have the `timeout` of pyproject.toml


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW))


@pytest.fixture(autouse=True, scope="module")
def cleaning_up_looks_at_what_the_tests_made() -> None:
    """Whoever unloads a checkpoint lets Python look for garbage: a second each time where it looks through all modules of all tests too."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset what would change a run; a test that wants a server names a stub's address itself."""
    for name in list(os.environ):
        if name.startswith(("LIMNER_", "OPENAI_")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def numbers_are_as_python_promises() -> None:
    """A checkpoint opened by an earlier test has made this process flush subnormal numbers to zero, which generated floats may be."""
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random SD 1.x with scorers and a judge on its card."""
    return tiny_with_card(tmp_path_factory.mktemp("checkpoint") / "tiny")
