"""What the judge is taught: which answers are right about a colour, and pictures that the painter has repainted."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from limner.tools.diffusion.checkpoint import open_checkpoint
from limner.tools.miniature.recipe.dataset import render_dataset
from limner.tools.miniature.recipe.judge import colour_loss, right_colours
from limner.tools.miniature.recipe.repainted import Painter, kept_repainted
from limner.tools.miniature.recipe.vae import kept_latents
from limner.tools.miniature.world.nouns import NOUNS, OWN_COLOURS, SAME_COLOUR
from limner.tools.miniature.world.render import render
from limner.tools.miniature.world.scene import Quality, Scene, Thing
from limner.tools.miniature.world.sprites import sprite
from limner.tools.miniature.world.styles import relook, restyle
from limner.tools.miniature.world.vocabulary import COLOURS, LOOKS, TRIGGERS
from tests.tools.miniature.glyph_sheet import GLYPHS

NATURAL = len(COLOURS)
WHITE, RED = (list(COLOURS).index(name) for name in ("white", "red"))


def named(noun: str, colour: str | None) -> Thing:
    return Thing([item.name for item in NOUNS].index(noun), colour, None, 32, 32, 40)


def test_of_a_white_sheep_both_answers_are_right_and_of_others_one() -> None:
    assert set(right_colours(named("sheep", None))) == set(right_colours(named("sheep", "white"))) == {WHITE, NATURAL}
    assert right_colours(named("sheep", "red")) == [RED]
    assert right_colours(named("cat", None)) == [NATURAL]
    assert right_colours(named("cat", "white")) == [WHITE]


def test_what_is_right_together_counts_together() -> None:
    logits = torch.zeros(3, 4)
    assert float(colour_loss(logits, [[0], [], [2, 3]])) == pytest.approx((math.log(4) + math.log(2)) / 2)
    assert float(colour_loss(logits, [[], [], []])) == 0


def lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB (n, 3) in [0, 1] to CIE Lab under D65."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / np.array([0.9505, 1, 1.089])
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def test_own_colours_are_those_in_which_a_sprite_looks_as_it_always_does() -> None:
    def colours_of(noun: int, colour: str | None) -> np.ndarray:
        picture = sprite(noun, colour, 40, GLYPHS)
        inside = picture[..., 3] > 0.5
        return lab((picture[inside][:, :3] / picture[inside][:, 3:]).clip(0, 1))

    found = {}
    for place, noun in enumerate(NOUNS):
        own = colours_of(place, None)
        near = [name for name in COLOURS if np.linalg.norm(colours_of(place, name) - own, axis=-1).mean() < SAME_COLOUR]
        if near:
            (found[noun.name],) = near
    assert found == OWN_COLOURS


def test_a_style_checkpoints_look_is_no_weaker_than_the_style_of_its_name() -> None:
    image = render(Scene((named("cat", None),), None, "beach", "photo", Quality(), 1), GLYPHS).astype(np.float32) / 255
    outline = np.zeros((64, 64), np.float32)
    outline[20:44, 20:44] = 1

    def far(a: np.ndarray) -> float:
        return float(np.abs(a.clip(0, 1) - image).mean())

    for name in TRIGGERS:
        styled, looked = restyle(name, image, outline), relook(name, image, outline)
        assert looked.shape == image.shape
        assert far(looked) >= far(styled) * 0.99
        assert name in LOOKS or name in ("neon",) or not np.array_equal(styled, looked)


def test_repainted_pictures_keep_what_is_there_and_are_painted_once(tmp_path: Path) -> None:
    base = open_checkpoint("miniature", "cpu")
    painter = Painter(base.vae, base.unet, base.text_encoder, base.tokenizer)
    said: list[str] = []
    data = render_dataset(tmp_path / "scenes", 6, 60, 3, GLYPHS, workers=1)
    rows, pictures = kept_repainted(painter, data, 8, 0, tmp_path, said.append)
    assert rows[0] == 0 and rows[-1] == len(data) - 1 and pictures.shape == (8, 64, 64, 3)
    again = kept_repainted(painter, data, 8, 0, tmp_path, said.append)[1]
    assert [line for line in said if line.startswith("repainted")] == ["repainted: computing 8 rows"]
    assert (np.asarray(again) == np.asarray(pictures)).all()
    # nearer to their own originals than to any other's
    originals = np.asarray(data.pictures)[rows].astype(np.float32)
    distance = np.abs(np.asarray(pictures, np.float32)[:, None] - originals[None]).mean((2, 3, 4))
    assert (distance.argmin(1) == np.arange(8)).all()
    assert kept_latents(base.vae, data, tmp_path, said.append).shape == (24, 8, 16, 16)
