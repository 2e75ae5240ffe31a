"""Recognises the kind of a file by its first bytes, then its name, and opens it; compressed files are decompressed while reading.

Lines of text files of any size are read one at a time, decoded and checked, and rejected with a reason.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

from limner.promptdb.errors import BadInput
from limner.promptdb.generated.a1111 import holds_infotext

Kind = Literal["parquet", "json", "jsonl", "csv", "tsv", "text", "infotext"]
Packing = Literal["", "gzip", "zstd"]

PEEK = 1 << 16

_MAGIC: dict[bytes, Packing] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_PACKED = (".gz", ".gzip", ".zst", ".zstd")
_SUFFIXES: dict[str, Kind] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".txt": "text", ".text": "text"}
_OTHERS = (".zip", ".7z", ".bz2", ".xz", ".tar", ".xlsx", ".xls", ".pdf", ".png", ".webp", ".jpg", ".db", ".sqlite")


@dataclass(frozen=True, slots=True)
class FileKind:
    """The format and compression of a file. `name`: the file name without the endings of both, the default source of its prompts."""

    kind: Kind
    packing: Packing
    name: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A decompressed stream, and the file below it."""

    stream: BinaryIO
    below: BinaryIO

    def done(self) -> int:
        """Returns the number of bytes of the file, as stored, that have been read."""
        return self.below.tell()


def file_kind(path: Path) -> FileKind:
    """Returns the kind of a file. Raises BadInput where it cannot be read, or is of a kind without prompts."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror})") from error
    packing: Packing = next((packing for magic, packing in _MAGIC.items() if start.startswith(magic)), "")
    name = path.with_suffix("") if packing and path.suffix.lower() in _PACKED else path
    suffix = name.suffix.lower()
    if suffix in _OTHERS:
        raise BadInput(f"{path}: files ending in {suffix} cannot be imported; give parquet, JSON, JSONL, CSV, text or pictures")
    with unpacked(path, packing) as opened:
        peek = opened.stream.read(PEEK)
    stem = name.stem if suffix in (*_SUFFIXES, ".json", ".parquet") else name.name
    if peek.startswith(b"PAR1"):
        return FileKind("parquet", packing, stem)
    if suffix == ".parquet":
        raise BadInput(f"{path} is no parquet file, whatever its name says; fetch it again")
    kind = _SUFFIXES.get(suffix) or _by_content(peek)
    if kind == "text" and holds_infotext(peek.decode("utf-8-sig", "ignore")):
        kind = "infotext"
    return FileKind("json" if suffix == ".json" and kind != "jsonl" else kind, packing, stem)


@contextmanager
def unpacked(path: Path, packing: Packing) -> Iterator[Opened]:
    """Opens the file as a stream of its decompressed bytes. Raises BadInput where it cannot be read or is damaged."""
    try:
        with path.open("rb") as below:
            if packing == "gzip":
                yield Opened(cast(BinaryIO, gzip.GzipFile(fileobj=below)), below)
            elif packing == "zstd":
                import pyarrow as pa

                # CompressedInputStream ends silently where a file is truncated, so its end is checked separately.
                yield Opened(cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, pa.CompressedInputStream(below, "zstd")))), below)
            else:
                yield Opened(below, below)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadInput(f"{path} is cut off or damaged ({error}); fetch it again, what was read of it is kept") from error
    except OSError as error:
        said = error.strerror or str(error)
        raise BadInput(f"{path} cannot be read ({said}); fetch it again, what was read of it is kept") from error


@contextmanager
def unpacked_file(path: Path, packing: Packing) -> Iterator[Path]:
    """Yields a path that supports random access: the file itself, or a temporary decompressed copy."""
    if not packing:
        yield path
        return
    with tempfile.NamedTemporaryFile(suffix=".parquet") as copy:
        with unpacked(path, packing) as opened:
            while part := opened.stream.read(1 << 20):
                copy.write(part)
        copy.flush()
        yield Path(copy.name)


def _by_content(peek: bytes) -> Kind:
    """Returns the kind: JSON by its brackets, a table by the names in its first line, else text."""
    text = peek.decode("utf-8-sig", "ignore").lstrip()
    if text.startswith("["):
        return "jsonl" if _is_json(text.split("\n", 1)[0]) and "\n" in text.strip() else "json"
    if text.startswith("{"):
        first = text.split("\n", 1)[0]
        rows = _is_json(first) and isinstance(document := json.loads(first), dict) and not _is_document(document)
        return "jsonl" if rows else "json"
    names = text.split("\n", 1)[0].lower()
    for separator, kind in (("\t", "tsv"), (",", "csv")):
        if separator in names and {"prompt", "text"} & {name.strip(' "\r') for name in names.split(separator)}:
            return cast(Kind, kind)
    return "text"


def _is_document(document: dict[str, object]) -> bool:
    """Whether one object holds all rows: Lexica's list of images, or DiffusionDB's rows by image name."""
    return isinstance(document.get("images"), list) or (bool(document) and all(isinstance(value, dict) for value in document.values()))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


MAX_CHARACTERS = 20_000  # of a prompt; no text encoder reads a hundredth of it
MAX_LINE = 1 << 20  # bytes: fits the longest prompt, subject and negative with every character escaped

UNPRINTABLE = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"  # valid in RE2 too
_UNPRINTABLE = re.compile(UNPRINTABLE + "|[\ud800-\udfff]")


class Malformed(Exception):
    """A row cannot be used; the message is the reason."""


def lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Yields numbered lines; None for a line longer than MAX_LINE, which is skipped without being held in memory."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) <= MAX_LINE:
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE)
        yield number, None


def decoded(line: bytes, path: Path, number: int) -> str:
    """Returns a line decoded from UTF-8, without a byte order mark. Raises Malformed for invalid bytes, BadInput for UTF-16."""
    if number == 1:
        if line.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise BadInput(f"{path} is UTF-16; save it as UTF-8")
        line = line.removeprefix(b"\xef\xbb\xbf")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"not valid UTF-8 at byte {error.start + 1}") from error


def usable(value: object, name: str, empty: bool = False) -> str:
    """Returns a stripped text field. Raises Malformed where it is no text, too long, empty unless `empty`, or has control characters."""
    if not isinstance(value, str):
        raise Malformed(f"the {name} is not a string")
    value = value.strip()
    if len(value) > MAX_CHARACTERS:
        raise Malformed(f"the {name} is longer than {MAX_CHARACTERS} characters")
    if not empty and not value:
        raise Malformed(f"the {name} is empty")
    if odd := _UNPRINTABLE.search(value):
        raise Malformed(f"the {name} has the control character U+{ord(odd[0]):04X} at position {odd.start() + 1}")
    return value
