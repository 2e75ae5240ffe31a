"""Recognises the kind of a file by its first bytes, then its name, and opens it; compressed files are decompressed while reading."""

from __future__ import annotations

import gzip
import io
import json
import re
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

from limner.promptdb.errors import BadInput
from limner.promptdb.files.text_lines import PLAIN, Malformed, TextForm, head_text, text_form
from limner.promptdb.generated.a1111 import holds_infotext

Kind = Literal["parquet", "json", "jsonl", "csv", "tsv", "text", "infotext", "styles", "json styles"]
Packing = Literal["", "gzip", "zstd"]

PEEK = 1 << 16

_MAGIC: dict[bytes, Packing] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_PACKED = (".gz", ".gzip", ".zst", ".zstd")
_SUFFIXES: dict[str, Kind] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".txt": "text", ".text": "text"}
_OTHERS = (".zip", ".7z", ".bz2", ".xz", ".tar", ".xlsx", ".xls", ".pdf", ".png", ".webp", ".jpg", ".db", ".sqlite")
_WILDCARDS = (".yaml", ".yml")

SEPARATORS = (",", ";", "\t", "|")
_LISTS = ("images", "items", "prompts", "data", "results", "rows")
_STYLE_COLUMNS = ["name", "prompt", "negative_prompt"]
_PICTURE_NAME = re.compile(r"\.(?:png|jpe?g|webp|avif|gif)$|^[0-9a-f]{8}-[0-9a-f]{4}-", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FileKind:
    """The format and compression of a file. `name`: the file name without the endings of both, the default source of its prompts. `form`:
    how it holds text. `styles` are tables of A1111's styles, `json styles` lists of those of Fooocus and of prompt styler nodes.
    """

    kind: Kind
    packing: Packing
    name: str
    form: TextForm = PLAIN


@dataclass(frozen=True, slots=True)
class Opened:
    """A decompressed stream, and the file below it."""

    stream: BinaryIO
    below: BinaryIO

    def done(self) -> int:
        """Returns the number of bytes of the file, as stored, that have been read."""
        return self.below.tell()


def file_kind(path: Path, column: str | None = None) -> FileKind:
    """Returns the kind of a file. `column`: the column of its prompts, where its name says nothing.

    Raises BadInput where it cannot be read, or is of a kind without prompts.
    """
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
    if suffix in _WILDCARDS:
        raise BadInput(f"{path} is YAML, which holds wildcards and no prompts; name its folder by --wildcards where prompts use them")
    with unpacked(path, packing) as opened:
        peek = opened.stream.read(PEEK)
    stem = name.stem if suffix in (*_SUFFIXES, ".json", ".parquet") else name.name
    if peek.startswith(b"PAR1"):
        return FileKind("parquet", packing, stem)
    if suffix == ".parquet":
        raise BadInput(f"{path} is no parquet file, whatever its name says; fetch it again")
    form = text_form(peek, whole=len(peek) < PEEK)
    if form is None:
        raise BadInput(f"{path} holds no prompts: it is no text file, it has zero bytes; give one prompt a line, JSONL or CSV")
    return FileKind(_text_kind(head_text(peek, form), suffix, column), packing, stem, form)


def _text_kind(head: str, suffix: str, column: str | None) -> Kind:
    kind = _SUFFIXES.get(suffix) or _by_content(head)
    if suffix == ".json" and kind != "jsonl":
        kind = "json"
    if kind in ("text", "csv", "tsv") and suffix not in (".csv", ".tsv"):
        kind = _table_kind(head, column, prose=bool(suffix)) or ("text" if kind == "text" else kind)
    if kind == "text" and holds_infotext(head):
        return "infotext"
    if kind in ("csv", "tsv") and _are_styles(head):
        return "styles"
    return "json styles" if kind == "json" and _are_json_styles(head) else kind


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


def _by_content(head: str) -> Kind:
    """Returns the kind: JSON by its brackets, else text."""
    text = head.lstrip()
    if text.startswith("["):
        return "jsonl" if is_json(text.split("\n", 1)[0]) and "\n" in text.strip() else "json"
    if text.startswith("{"):
        first = text.split("\n", 1)[0]
        rows = is_json(first) and isinstance(document := json.loads(first), dict) and not _is_document(document)
        return "jsonl" if rows else "json"
    return "text"


def _table_kind(head: str, column: str | None, prose: bool) -> Kind | None:
    """Returns the kind of a table by the names in its first line; None where there are none of prompts. `prose`: whether the file may well
    begin with a prompt, among whose commas "text" may stand.
    """
    first = head.split("\n", 1)[0].strip("\r")
    if re.fullmatch(r"sep=.", first):
        return "csv"
    wanted = {"prompt", "text", *([column.strip().lower()] if column else [])}
    for separator in SEPARATORS:
        sure = wanted - {"text"} if prose and separator == "," else wanted
        if separator in first and sure & {name.strip(' "').lower() for name in first.split(separator)}:
            return "tsv" if separator == "\t" else "csv"
    return None


def _are_styles(head: str) -> bool:
    """Whether a table has A1111's columns of styles, and no pictures' names."""
    first, *rows = head.splitlines()[:50] or [""]
    if [name.strip(' "').lower() for name in first.split(",")] != _STYLE_COLUMNS:
        return False
    return not any(_PICTURE_NAME.search(row.split(",", 1)[0].strip(' "')) for row in rows)


def _are_json_styles(head: str) -> bool:
    """Whether a list begins with an object of a style, and `{prompt}` stands in it or in those behind it."""
    at = head.find("{")
    if at < 0 or head[:at].strip() != "[" or "{prompt}" not in head:
        return False
    try:
        first = json.JSONDecoder().raw_decode(head, at)[0]
    except (ValueError, RecursionError):
        return False
    return {"name", "prompt"} <= set(first) <= set(_STYLE_COLUMNS)


def list_of(document: Mapping[str, object]) -> list[object] | None:
    """Returns the list in which an answer of an API holds its rows (Lexica's images, civitai's items); None where it is a row itself."""
    if {"prompt", "text", "p"} & document.keys():
        return None
    return next((rows for name in _LISTS if isinstance(rows := document.get(name), list)), None)


def _is_document(document: Mapping[str, object]) -> bool:
    """Whether one object holds all rows: an answer of an API, or DiffusionDB's rows by image name."""
    return list_of(document) is not None or (bool(document) and all(isinstance(value, dict) for value in document.values()))


def is_json(text: str) -> bool:
    """Returns whether the whole text is one JSON value."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


MAX_CHARACTERS = 20_000  # of a prompt; no text encoder reads a hundredth of it

UNPRINTABLE = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"  # valid in RE2 too
_UNPRINTABLE = re.compile(UNPRINTABLE + "|[\ud800-\udfff]")


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
