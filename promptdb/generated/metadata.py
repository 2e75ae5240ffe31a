"""Finds the texts in a PNG, JPEG or WebP file without decoding a pixel: text chunks, and what EXIF says.

Knows nothing of what the texts mean. What a file claims of itself is believed only within limits: a chunk is skipped or refused by its
size before it is read, and a compressed one is inflated up to MOST_BYTES and no further.
Sources: PNG specification, 11.3.3 (tEXt, zTXt, iTXt, eXIf); EXIF 2.32, 4.6 (IFDs, UserComment); RIFF container of WebP.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from limner.promptdb.errors import BadInput

MOST_BYTES = 4 << 20
"""Bytes of one text, inflated. Graphs of nodes have up to a megabyte."""

MOST_CHUNKS = 1 << 16
MOST_TEXTS = 64
MOST_ENTRIES = 512
"""Entries of one EXIF directory."""

PNG = b"\x89PNG\r\n\x1a\n"
USER_COMMENT, IMAGE_DESCRIPTION, MAKE, MODEL, SOFTWARE, MAKER_NOTE = 0x9286, 0x010E, 0x010F, 0x0110, 0x0131, 0x927C
EXIF_DIRECTORY = 0x8769
EXIF_NAMES = {
    USER_COMMENT: "UserComment",
    IMAGE_DESCRIPTION: "ImageDescription",
    MAKE: "Make",
    MODEL: "Model",
    SOFTWARE: "Software",
    MAKER_NOTE: "MakerNote",
}

Texts = dict[str, str]
"""Keyword, or name of the EXIF tag -> text. Of equal keywords the first holds."""


def read_texts(path: Path) -> Texts:
    """Returns the texts of a picture's metadata; none where it has none.

    Raises BadInput where the file cannot be read, is no PNG, JPEG or WebP, or has a text of more than MOST_BYTES.
    """
    try:
        with path.open("rb") as file:
            return texts_in(file, str(path))
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror or error})") from error


def texts_in(file: BinaryIO, name: str) -> Texts:
    """Returns the same of an open file, called `name` in messages."""
    start = file.read(12)
    if start.startswith(PNG):
        file.seek(len(PNG))
        found = _png(file, name)
    elif start.startswith(b"\xff\xd8"):
        file.seek(2)
        found = _jpeg(file)
    elif start[:4] == b"RIFF" and start[8:] == b"WEBP":
        found = _webp(file, name)
    else:
        raise BadInput(f"{name} is no PNG, JPEG or WebP picture")
    texts: Texts = {}
    for key, text in found:
        if len(texts) >= MOST_TEXTS:
            break
        texts.setdefault(key, text)
    return texts


def is_picture(start: bytes) -> bool:
    """Whether a file that begins with these bytes, 12 at least, is a PNG, JPEG or WebP picture."""
    return start.startswith((PNG, b"\xff\xd8\xff")) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


def _png(file: BinaryIO, name: str) -> Iterator[tuple[str, str]]:
    for _ in range(MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return
        size, kind = struct.unpack(">I4s", head)
        if kind not in (b"tEXt", b"zTXt", b"iTXt", b"eXIf"):
            file.seek(size + 4, 1)
            continue
        content = _taken(file, size, name)
        file.seek(4, 1)  # the checksum
        if kind == b"eXIf":
            yield from exif_texts(content)
        elif content is not None:
            yield from _text_chunk(kind, content, name)
    raise BadInput(f"{name} has more than {MOST_CHUNKS} chunks, as no picture has")


def _taken(file: BinaryIO, size: int, name: str) -> bytes:
    if size > MOST_BYTES:
        raise BadInput(f"{name} has a text of {size} bytes in its metadata; at most {MOST_BYTES >> 20} MB are read")
    return file.read(size)


def _text_chunk(kind: bytes, content: bytes, name: str) -> Iterator[tuple[str, str]]:
    keyword, _, rest = content.partition(b"\0")
    key = keyword[:79].decode("latin-1")
    if kind == b"tEXt":
        # The standard says Latin-1, and many tools write UTF-8, which Latin-1 text with umlauts hardly ever is by chance.
        yield key, _utf8_or_latin1(rest)
    elif kind == b"zTXt":
        yield key, _utf8_or_latin1(inflated(rest[1:], name))
    else:
        packed, rest = rest[:1] == b"\1", rest[2:]
        _, _, rest = rest.partition(b"\0")
        _, _, rest = rest.partition(b"\0")
        yield key, (inflated(rest, name) if packed else rest).decode("utf-8", "replace")


def inflated(content: bytes, name: str) -> bytes:
    """Returns zlib's data, of at most MOST_BYTES. Raises BadInput for more, and for damaged data."""
    unpacker = zlib.decompressobj()
    try:
        found = unpacker.decompress(content, MOST_BYTES + 1)
    except zlib.error as error:
        raise BadInput(f"{name} has a damaged text in its metadata") from error
    if len(found) > MOST_BYTES:
        raise BadInput(f"{name} has a text in its metadata that unpacks to more than {MOST_BYTES >> 20} MB")
    return found


def _utf8_or_latin1(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _jpeg(file: BinaryIO) -> Iterator[tuple[str, str]]:
    for _ in range(MOST_CHUNKS):
        mark = file.read(1)
        while mark and mark != b"\xff":
            return
        while mark == b"\xff":  # markers may be padded
            mark = file.read(1)
        if not mark or mark in (b"\xd9", b"\xda"):  # the end, and where pixels begin
            return
        if mark == b"\x01" or b"\xd0" <= mark <= b"\xd7":
            continue
        size = int.from_bytes(file.read(2), "big") - 2
        if size < 0:
            return
        if mark == b"\xe1":
            content = file.read(size)
            if content.startswith(b"Exif\0\0"):
                yield from exif_texts(content[6:])
        elif mark == b"\xfe":
            yield "Comment", _utf8_or_latin1(file.read(size).rstrip(b"\0"))
        else:
            file.seek(size, 1)


def _webp(file: BinaryIO, name: str) -> Iterator[tuple[str, str]]:
    for _ in range(MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return
        kind, size = struct.unpack("<4sI", head)
        if kind == b"EXIF":
            yield from exif_texts(_taken(file, size, name).removeprefix(b"Exif\0\0"))
            file.seek(size & 1, 1)
        else:
            file.seek(size + (size & 1), 1)


def exif_texts(content: bytes) -> Iterator[tuple[str, str]]:
    """Yields the texts of an EXIF block (a TIFF header and its directories); nothing for what is damaged."""
    order = {b"II": "<", b"MM": ">"}.get(content[:2], "")
    if not order or len(content) < 8:
        return
    first = struct.unpack_from(order + "I", content, 4)[0]
    entries = dict(_entries(content, order, first))
    if (pointer := entries.pop(EXIF_DIRECTORY, None)) is not None and len(pointer) == 4:
        entries |= dict(_entries(content, order, struct.unpack(order + "I", pointer)[0]))
    for tag, name in EXIF_NAMES.items():
        if tag in entries and (text := _comment(entries[tag], order) if tag == USER_COMMENT else _exif_text(entries[tag])):
            yield name, text


def _entries(content: bytes, order: str, offset: int) -> Iterator[tuple[int, bytes]]:
    """Yields (tag, bytes of its value) of a directory, for the tags that are looked for."""
    sizes = {1: 1, 2: 1, 4: 4, 7: 1}  # BYTE, ASCII, LONG, UNDEFINED
    if offset + 2 > len(content):
        return
    count = struct.unpack_from(order + "H", content, offset)[0]
    for number in range(min(count, MOST_ENTRIES)):
        place = offset + 2 + 12 * number
        if place + 12 > len(content):
            return
        tag, kind, length = struct.unpack_from(order + "HHI", content, place)
        if (tag in EXIF_NAMES or tag == EXIF_DIRECTORY) and kind in sizes:
            size = length * sizes[kind]
            start = place + 8 if size <= 4 else struct.unpack_from(order + "I", content, place + 8)[0]
            yield tag, content[start : start + size]


def _exif_text(value: bytes) -> str:
    return _utf8_or_latin1(value.partition(b"\0")[0])


def _comment(value: bytes, order: str) -> str:
    """Returns a user comment: eight bytes that name its encoding, then the text."""
    code, text = value[:8], value[8:]
    if code == b"UNICODE\0":
        return _utf16(text, order)
    if code in (b"ASCII\0\0\0", b"\0" * 8):
        return _utf8_or_latin1(text.rstrip(b"\0"))
    if code == b"JIS\0\0\0\0\0":
        return text.decode("iso2022_jp", "replace")
    return _utf8_or_latin1(value.rstrip(b"\0"))


def _utf16(text: bytes, order: str) -> str:
    """Returns UTF-16 in either byte order, told by a byte order mark, else by where the zero bytes of ASCII letters stand.

    The standard says the order of the file; tools write big-endian in little-endian files, and UTF-8 under this name too.
    """
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        return text.decode("utf-16", "replace").rstrip("\0")
    high, low = text[0::2].count(0), text[1::2].count(0)
    if max(high, low) == 0:
        try:
            return text.decode("utf-8")
        except UnicodeDecodeError:
            pass
    big = order == ">" if high == low else high > low
    return text[: len(text) & ~1].decode("utf-16-be" if big else "utf-16-le", "replace").rstrip("\0")
