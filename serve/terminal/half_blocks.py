"""Pictures in a terminal: two pixels a character, the upper half block in one colour on a background of the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

WIDTH = 32  # characters, and pixels, across one picture
BLOCK = "▀"
RESET = "\x1b[0m"


def half_blocks(image: Image.Image, width: int = WIDTH) -> list[str]:
    """Returns `image` as lines of `width` characters in 24-bit colour; a character is twice as high as wide, so its shape stays."""
    height = max(2, 2 * round(image.height * width / image.width / 2))
    pixels = image.convert("RGB").resize((width, height), Image.Resampling.BOX).load()
    assert pixels is not None
    lines = []
    for y in range(0, height, 2):
        cells = []
        for x in range(width):
            upper, lower = pixels[x, y], pixels[x, y + 1]
            cells.append(f"\x1b[38;2;{_numbers(upper)};48;2;{_numbers(lower)}m{BLOCK}")
        lines.append("".join(cells) + RESET)
    return lines


def beside(pictures: Sequence[Sequence[str]], gap: int = 2) -> list[str]:
    """Returns pictures of equal height side by side."""
    return [(" " * gap).join(rows) for rows in zip(*pictures, strict=True)] if pictures else []


def _numbers(pixel: Any) -> str:
    return ";".join(str(value) for value in pixel)
