"""The glyphs of all things on one picture, so that a test which renders needs no emoji font.

    python -m tests.tools.miniature.glyph_sheet

draws glyphs.webp anew, from the font; to be done when `tools/miniature/world/nouns.py` gets another thing. The glyphs are those of Noto
Color Emoji (SIL Open Font License 1.1), without loss, so that what tests render is what training renders. The picture holds the names of
the things in the order of its cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import ExifTags, Image

from limner.promptdb.errors import BadInput
from limner.tools.miniature.world.sprites import EMOJI_FONT, Glyphs
from limner.tools.miniature.world.vocabulary import NOUNS

FILE = Path(__file__).with_name("glyphs.webp")
SIDE, COLUMNS = 128, 16  # pixels of a cell, cells of a row
NAMES = ExifTags.Base.ImageDescription


@dataclass(frozen=True)
class GlyphSheet:
    """Glyphs cut from a picture that `write` has made."""

    file: Path = FILE

    def glyph(self, noun: int) -> Image.Image:
        names, sheet = _opened(self.file)
        name = NOUNS[noun].name
        if name not in names:
            raise BadInput(f"{self.file.name} has no glyph of {name!r}: python -m tests.tools.miniature.glyph_sheet")
        return sheet.crop(_cell(names.index(name)))


GLYPHS = GlyphSheet()


def write(file: Path, glyphs: Glyphs) -> None:
    """One glyph a cell, in the order of NOUNS."""
    sheet = Image.new("RGBA", (COLUMNS * SIDE, -(-len(NOUNS) // COLUMNS) * SIDE), (0, 0, 0, 0))
    for place in range(len(NOUNS)):
        glyph = glyphs.glyph(place)
        sheet.paste(glyph.crop(glyph.getbbox()), _cell(place)[:2])
    names = Image.Exif()
    names[NAMES] = ",".join(noun.name for noun in NOUNS)
    sheet.save(file, lossless=True, quality=100, method=6, exif=names)


def _cell(place: int) -> tuple[int, int, int, int]:
    left, top = place % COLUMNS * SIDE, place // COLUMNS * SIDE
    return left, top, left + SIDE, top + SIDE


@lru_cache(maxsize=1)
def _opened(file: Path) -> tuple[list[str], Image.Image]:
    with Image.open(file) as sheet:
        return str(sheet.getexif()[NAMES]).split(","), sheet.convert("RGBA")


if __name__ == "__main__":
    write(FILE, EMOJI_FONT)
