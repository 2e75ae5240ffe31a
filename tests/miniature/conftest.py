"""Marks for tests of the world: some need the emoji font, which is needed for training alone."""

from __future__ import annotations

import pytest

from tools.miniature.sprites import FONT


@pytest.fixture
def emoji_font() -> None:
    if not FONT.is_file():
        pytest.skip("needs Debian's fonts-noto-color-emoji")
