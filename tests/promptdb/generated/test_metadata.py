"""Texts in PNG, JPEG and WebP files: every form is found, and nothing that a file claims is believed without a bound."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from limner.promptdb.errors import BadInput
from limner.promptdb.generated.metadata import MOST_BYTES, read_texts
from limner.promptdb.generated.pictures import read_picture
from tests.promptdb.generated.pictures_made import SIGNATURE, chunk, exif, jpeg, png, webp

INFO = "夜の灯台, ink\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 77, Size: 256x256"


def written(folder: Path, content: bytes, name: str = "picture") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("form", ["tEXt", "zTXt", "iTXt", "iTXt packed"])
def test_every_kind_of_text_chunk_is_read(tmp_path: Path, form: str) -> None:
    path = written(tmp_path, png({"parameters": INFO}, form))
    assert read_texts(path) == {"parameters": INFO}
    with Image.open(path) as file:  # the picture is one that others read, too
        assert file.info["parameters"].encode("utf-8" if form[0] == "i" else "latin-1").decode() == INFO


@pytest.mark.parametrize("order", ["MM", "II"])
@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + INFO.encode("utf-16-be"),
        b"UNICODE\0" + INFO.encode("utf-16-le"),
        b"UNICODE\0" + INFO.encode("utf-16"),
        b"UNICODE\0" + INFO.encode(),
        b"ASCII\0\0\0" + INFO.encode(),
        b"\0" * 8 + INFO.encode(),
        b"JIS\0\0\0\0\0" + INFO.encode("iso2022_jp"),
    ],
)
def test_user_comments_in_both_byte_orders_and_every_encoding(tmp_path: Path, order: str, comment: bytes) -> None:
    block = exif(comment, order)
    for content in (jpeg(block), webp(block), webp(block, b"Exif\0\0"), png(exif=block)):
        found = read_picture(written(tmp_path, content))
        assert (found.prompt, found.negative, found.seed, found.size) == ("夜の灯台, ink", "blurry", 77, (256, 256))


def test_a_jpeg_and_a_webp_that_pillow_wrote_are_read(tmp_path: Path) -> None:
    block = Image.Exif()
    block.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + INFO.encode("utf-16-be")
    for name in ("a.jpg", "a.webp"):
        Image.new("RGB", (9, 9)).save(tmp_path / name, exif=block)
        assert read_picture(tmp_path / name).seed == 77


def test_cameras_say_nothing(tmp_path: Path) -> None:
    block = exif(b"ASCII\0\0\0Screenshot", "II", {0x010F: "Maker", 0x0110: "Camera 5", 0x010E: "a dog on a beach"})
    for content in (jpeg(block, "holiday"), png(), jpeg()):
        with pytest.raises(BadInput, match="does not say how it was made"):
            read_picture(written(tmp_path, content))


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
def test_a_text_that_unpacks_to_gigabytes_is_refused_before_it_does(tmp_path: Path, kind: bytes) -> None:
    packer = zlib.compressobj()
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    head = b"parameters\0" + (b"\0" if kind == b"zTXt" else b"\1\0\0\0")
    path = written(tmp_path, SIGNATURE + chunk(kind, head + bomb))
    assert path.stat().st_size < 100_000
    with pytest.raises(BadInput, match="unpacks to more than 4 MB"):
        read_texts(path)


@pytest.mark.parametrize(
    "content",
    [
        SIGNATURE + struct.pack(">I4s", 2**32 - 1, b"tEXt") + b"parameters\0x",
        png({"parameters": "x" * (MOST_BYTES + 1)}),
        b"RIFF\xff\xff\xff\xffWEBPEXIF" + struct.pack("<I", 2**32 - 2),
        SIGNATURE + chunk(b"IDAT", b"") * 70_000,
        png(more=chunk(b"zTXt", b"parameters\0\0no zlib")),
        b"GIF89a-----------",
        b"",
    ],
)
def test_claims_beyond_all_bounds_and_damage_are_one_line(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BadInput) as caught:
        read_picture(written(tmp_path, content))
    assert "picture" in str(caught.value) and "\n" not in str(caught.value)


def test_a_picture_cut_off_behind_its_texts_still_tells(tmp_path: Path) -> None:
    whole = png({"parameters": INFO})
    assert read_picture(written(tmp_path, whole[: whole.index(b"IDAT")])).seed == 77


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.png"):
        with pytest.raises(BadInput, match="cannot be read"):
            read_picture(path)


SOUND = (png({"parameters": INFO}, "zTXt"), jpeg(exif(b"UNICODE\0" + b"\0x" * 50)), webp(exif(b"ASCII\0\0\0x", "II")))


@given(st.sampled_from(SOUND), st.data())
def test_damaged_bytes_never_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject) -> None:
    changed = bytearray(content)
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=8)):
        changed[place] = data.draw(st.integers(0, 255))
    path = written(tmp_path_factory.getbasetemp(), bytes(changed[: data.draw(st.integers(0, len(content)))]), "damaged")
    try:
        read_picture(path)
    except BadInput as error:
        assert "\n" not in str(error)
