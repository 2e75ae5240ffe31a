"""Sheets show what they say, at the places they say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.tools.miniature.checks.samples import GAP, LABEL, blind_sheets, effect_sheet, sheet
from tests.commands import command
from tests.tools.miniature.glyph_sheet import GLYPHS


def test_a_sheet_has_each_picture_below_its_label() -> None:
    red, blue = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    page = np.asarray(sheet([[("one", red), ("two", None)], [("three", blue)]], zoom=3))
    assert page.shape == (2 * (12 + LABEL + GAP), 2 * (12 + GAP), 3)
    assert (page[LABEL : LABEL + 12, :12] == (255, 0, 0)).all()
    assert (page[LABEL : LABEL + 12, 12 + GAP : 24] == 255).all()
    assert (page[2 * LABEL + 12 + GAP :][:12, :12] == (0, 0, 255)).all()


def test_every_effect_is_on_the_sheet(tmp_path: Path) -> None:
    effect_sheet(tmp_path / "new" / "effects.png", GLYPHS, zoom=1)
    with Image.open(tmp_path / "new" / "effects.png") as page:
        assert page.height == 6 * (64 + LABEL + GAP)
        assert page.width == 20 * (64 + GAP)


def test_blind_sheets_are_numbered_and_tell_nothing(tmp_path: Path) -> None:
    assert blind_sheets("miniature", tmp_path, 5, columns=2, rows=2) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blind_01.png", "blind_02.png", "drawn.jsonl"]
    rows = [json.loads(line) for line in (tmp_path / "drawn.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 5 and all(row["prompt"] and isinstance(row["seed"], int) for row in rows)


def test_an_unknown_checkpoint_is_bad_input(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("grids", "blind"):
        result = command(capfd, "miniature", name, "--checkpoint", str(tmp_path / "none"), "--out", str(tmp_path / "out"))
        assert result.code == 2
        assert len(result.err.strip().splitlines()) == 1
