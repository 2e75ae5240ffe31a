"""Pictures with metadata, byte by byte: a pixel or none, and whatever texts a test wants in them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(texts: Mapping[str, str] = {}, form: str = "tEXt", exif: bytes = b"", more: bytes = b"") -> bytes:
    body = SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    for key, text in texts.items():
        word, content = key.encode("latin-1") + b"\0", text.encode()
        if form == "tEXt":
            body += chunk(b"tEXt", word + content)
        elif form == "zTXt":
            body += chunk(b"zTXt", word + b"\0" + zlib.compress(content))
        elif form == "iTXt":
            body += chunk(b"iTXt", word + b"\0\0en\0translated\0" + content)
        else:
            body += chunk(b"iTXt", word + b"\1\0\0\0" + zlib.compress(content))
    body += chunk(b"eXIf", exif) if exif else b""
    return body + more + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")) + chunk(b"IEND", b"")


def exif(comment: bytes = b"", order: str = "MM", plain: Mapping[int, str] = {}) -> bytes:
    """A TIFF block: the texts `plain` by tag in its first directory, the user comment in its EXIF directory."""
    mark = {"MM": ">", "II": "<"}[order]
    entries = [(tag, 2, text.encode() + b"\0") for tag, text in sorted(plain.items())]
    size = 2 + 12 * (len(entries) + 1) + 4
    values, rows = b"", b""
    for tag, kind, value in entries:
        inline = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(mark + "I", 8 + size + len(values))
        values += value if len(value) > 4 else b""
        rows += struct.pack(mark + "HHI", tag, kind, len(value)) + inline
    sub = 8 + size + len(values)
    rows += struct.pack(mark + "HHII", 0x8769, 4, 1, sub)
    first = struct.pack(mark + "H", len(entries) + 1) + rows + struct.pack(mark + "I", 0)
    second = struct.pack(mark + "HHHII", 1, 0x9286, 7, len(comment), sub + 18) + struct.pack(mark + "I", 0)
    return order.encode() + struct.pack(mark + "HI", 42, 8) + first + values + second + comment


def jpeg(exif_block: bytes = b"", comment: str = "") -> bytes:
    body = b"\xff\xd8\xff\xe0" + struct.pack(">H", 16) + b"JFIF\0\1\1\0\0\1\0\1\0\0"
    if exif_block:
        body += b"\xff\xe1" + struct.pack(">H", len(exif_block) + 8) + b"Exif\0\0" + exif_block
    if comment:
        body += b"\xff\xfe" + struct.pack(">H", len(comment.encode()) + 2) + comment.encode()
    return body + b"\xff\xda" + struct.pack(">H", 2) + b"\xff\xd9"


def webp(exif_block: bytes, prefix: bytes = b"") -> bytes:
    content = prefix + exif_block
    body = b"VP8X" + struct.pack("<I", 10) + b"\x08" + bytes(9) + b"VP8L" + struct.pack("<I", 5) + b"\x2f\0\0\0\0\0"
    body += b"EXIF" + struct.pack("<I", len(content)) + content + b"\0" * (len(content) & 1)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body
