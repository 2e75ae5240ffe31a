"""Images by content, and PNGs that say how they were made."""

from __future__ import annotations

import json
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from limner.promptdb.errors import BadInput
from limner.promptdb.images import ImageStore, drawing_of, image_hash, provenance, read_provenance, write_png
from limner.promptdb.records import Conditioning, Drawing, EffectSpan, SamplerSettings
from limner.promptdb.store import StoredDrawing

DRAWING = Drawing(
    Conditioning("a réd cat 😀", "blurry", spans=(EffectSpan(2, 5, hi="1/3"),)),  # type: ignore[arg-type]
    7,
    SamplerSettings("EulerDiscreteScheduler", 30, 5.5, 512, 768),
    "weights",
)
PROVENANCE = provenance(StoredDrawing(DRAWING, "a" * 24, 8, "cpu"), {"clip": 0.25}, "run-1")


def picture(seed: int = 0, size: tuple[int, int] = (8, 6)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def refusal(act) -> str:
    with pytest.raises(BadInput) as error:
        act()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_image_comes_back_pixel_for_pixel(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "images")
    key = store.put(picture())
    assert len(key) == 24
    assert store.path(key) == tmp_path / "images" / key[:2] / f"{key}.png"
    assert np.array_equal(np.asarray(store.get(key)), np.asarray(picture()))
    assert key in store
    assert "0" * 24 not in store


def test_equal_pixels_are_one_file_and_are_not_written_again(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    first = store.put(picture())
    written = store.path(first).stat().st_mtime_ns
    assert store.put(picture().convert("RGBA")) == first
    assert store.path(first).stat().st_mtime_ns == written
    assert store.put(picture(seed=1)) != first


def test_the_same_bytes_in_another_shape_are_another_image() -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    assert image_hash(Image.fromarray(pixels)) != image_hash(Image.fromarray(pixels.reshape(6, 4, 3)))


@pytest.mark.parametrize("damage", [b"", b"not a picture", None])
def test_a_lost_or_damaged_file_is_told_and_mended_by_putting_the_image_again(tmp_path: Path, damage: bytes | None) -> None:
    store = ImageStore(tmp_path)
    key = store.put(picture())
    if damage is None:
        store.path(key).unlink()
    else:
        store.path(key).write_bytes(damage)
    assert key not in store
    assert "draw it again" in refusal(lambda: store.get(key))
    assert store.put(picture()) == key
    assert np.array_equal(np.asarray(store.get(key)), np.asarray(picture()))


def test_a_truncated_or_exchanged_file_is_not_taken_for_the_image(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    key, other = store.put(picture(size=(64, 64))), store.put(picture(seed=1))
    whole = store.path(key).read_bytes()
    store.path(key).write_bytes(whole[: len(whole) // 2])
    assert key not in store
    store.path(key).write_bytes(store.path(other).read_bytes())
    assert "was changed" in refusal(lambda: store.get(key))


@pytest.mark.parametrize("key", ["../../../etc/passwd", "", "A" * 24, "a" * 23, "a" * 24 + "\n", "/" + "a" * 23])
def test_no_key_leads_out_of_the_folder(tmp_path: Path, key: str) -> None:
    assert "not an image hash" in refusal(lambda: ImageStore(tmp_path).get(key))
    assert key not in ImageStore(tmp_path)


def test_threads_that_put_the_same_image_leave_one_whole_file(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(store.put, [picture(size=(64, 64))] * 32))
    (key,) = keys
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [store.path(key)]
    assert key in store


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refusal(lambda: ImageStore(tmp_path / "file" / "images").put(picture()))
    assert "cannot be written" in refusal(lambda: write_png(picture(), tmp_path / "file" / "x.png", {}))


def test_a_png_tells_how_it_was_made_and_can_be_drawn_again(tmp_path: Path) -> None:
    path = tmp_path / "out" / "after.png"
    write_png(picture(), path, PROVENANCE)
    found = read_provenance(path)
    assert found == PROVENANCE
    assert set(found) == {
        "prompt",
        "negative",
        "seed",
        "settings",
        "checkpoint",
        "scores",
        "run",
        "conditioning",
        "bucket",
        "device",
    }
    assert drawing_of(found) == DRAWING
    assert drawing_of(found).id == DRAWING.id
    assert np.array_equal(np.asarray(Image.open(path)), np.asarray(picture()))


def test_other_tools_find_the_prompt_in_their_own_words(tmp_path: Path) -> None:
    write_png(picture(), tmp_path / "x.png", PROVENANCE, "a réd cat 😀\nSteps: 30\0")
    assert Image.open(tmp_path / "x.png").info["parameters"] == "a réd cat 😀\nSteps: 30 "
    write_png(picture(), tmp_path / "y.png", PROVENANCE)
    assert "parameters" not in Image.open(tmp_path / "y.png").info


@settings(deadline=None, max_examples=50)
@given(text=st.text(max_size=50))
def test_any_prompt_survives_the_png(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("any") / "x.png"
    write_png(picture(), path, {"prompt": text, "negative": text})
    assert read_provenance(path) == {"prompt": text, "negative": text}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    write_png(picture(), path, PROVENANCE)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        write_png(picture(), path, {"scores": {"clip": float("nan")}})
    with pytest.raises(BadInput):
        write_png(Image.new("HSV", (4, 4)), path, PROVENANCE)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, text: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + text + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_the_size_that_a_file_claims_is_never_decoded(tmp_path: Path) -> None:
    text = chunk(b"iTXt", b"limner\0\0\0\0\0" + json.dumps({"seed": 1}).encode())
    (tmp_path / "modest.png").write_bytes(png_of(9000, 9000, text))
    assert read_provenance(tmp_path / "modest.png") == {"seed": 1}
    (tmp_path / "bomb.png").write_bytes(png_of(2**31 - 1, 2**31 - 1, text))
    assert "not a readable PNG" in refusal(lambda: read_provenance(tmp_path / "bomb.png"))


def test_text_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    packed = zlib.compress(b"[" * 50_000_000)
    (tmp_path / "x.png").write_bytes(png_of(8, 8, chunk(b"iTXt", b"limner\0\1\0\0\0" + packed)))
    refusal(lambda: read_provenance(tmp_path / "x.png"))


@pytest.mark.parametrize("text", ["{", "[1]", '"text"', "[" * 100_000, "\x00"])
def test_damaged_provenance_is_refused(tmp_path: Path, text: str) -> None:
    chunks = PngInfo()
    chunks.add_itxt("limner", text)
    picture().save(tmp_path / "x.png", pnginfo=chunks)
    assert "damaged" in refusal(lambda: read_provenance(tmp_path / "x.png"))


def test_a_file_without_provenance_or_that_is_no_png_is_refused(tmp_path: Path) -> None:
    picture().save(tmp_path / "plain.png")
    picture().save(tmp_path / "photo.jpg")
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    assert "does not say how it was made" in refusal(lambda: read_provenance(tmp_path / "plain.png"))
    for name in ("photo.jpg", "text.png", "empty.png"):
        assert "not a readable PNG" in refusal(lambda name=name: read_provenance(tmp_path / name))
    assert "cannot be opened" in refusal(lambda: read_provenance(tmp_path / "missing.png"))
    assert "cannot be opened" in refusal(lambda: read_provenance(tmp_path))


def test_a_png_cut_off_anywhere_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    write_png(picture(), tmp_path / "whole.png", PROVENANCE)
    whole = (tmp_path / "whole.png").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "cut.png").write_bytes(whole[:length])
        try:
            assert read_provenance(tmp_path / "cut.png") == PROVENANCE
        except BadInput as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    "change",
    [
        {"conditioning": None},
        {"conditioning": {"text": 5}},
        {"conditioning": {"text": "a", "spans": [[0, 99, "0", "1", "2"]]}},
        {"conditioning": {"text": "a", "spans": 3}},
        {"seed": "seven"},
        {"settings": {"steps": "20"}},
        {"settings": {"steps": -1}},
        {"settings": {"surprise": 1}},
        {"settings": []},
    ],
)
def test_provenance_that_describes_no_drawing_is_refused(change: dict[str, object]) -> None:
    assert "cannot be redrawn" in refusal(lambda: drawing_of({**PROVENANCE, **change}))
    assert "lacks" in refusal(lambda: drawing_of({key: value for key, value in PROVENANCE.items() if key != next(iter(change))}))
