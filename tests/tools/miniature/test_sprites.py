"""Sprites are cut from the glyphs that they are given, and who gives none is told what to install."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from limner.promptdb.errors import BadInput
from limner.tools.miniature.train import train
from limner.tools.miniature.world.nouns import NOUNS
from limner.tools.miniature.world.sprites import EmojiFont, sprite
from tests.tools.miniature.glyph_sheet import GlyphSheet, write


class Bars:
    """For each thing a bar of a width of its own, somewhere on clear ground."""

    def glyph(self, noun: int) -> Image.Image:
        image = Image.new("RGBA", (140, 130), (0, 0, 0, 0))
        ImageDraw.Draw(image).rectangle((3, 5, 3 + noun % 100, 104), fill=(noun, 90, 200, 255))
        return image


def test_a_sprite_is_the_glyph_alone_in_the_middle_of_a_square() -> None:
    picture = sprite(49, None, 100, Bars())
    assert (picture[:, 25:75, 3] == 1).all() and picture[..., 3].sum() == 100 * 50
    assert np.allclose(picture[50, 50, :3] * 255, (49, 90, 200))


def test_a_sheet_gives_back_the_glyphs_that_it_was_made_of(tmp_path: Path) -> None:
    write(tmp_path / "bars.webp", Bars())
    for noun in (0, 17, len(NOUNS) - 1):
        assert (sprite(noun, None, 40, GlyphSheet(tmp_path / "bars.webp")) == sprite(noun, None, 40, Bars())).all()


def test_a_training_without_the_emoji_font_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^training needs the emoji font none\.ttf: apt-get install fonts-noto-color-emoji$"):
        train(out=tmp_path / "out", work=tmp_path / "work", share=0.0003, glyphs=EmojiFont(tmp_path / "none.ttf"), say=lambda text: None)
