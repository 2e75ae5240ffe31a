"""Reads prompts from row-based files: JSONL, JSON documents, CSV and plain text.

An unusable row is reported by its line (in a JSON document by its position), and reading goes on.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from limner.promptdb.errors import BadInput
from limner.promptdb.files.columns import Chunk, Row, chosen, parsed, schema
from limner.promptdb.files.file_kinds import MAX_LINE, Kind, Malformed, decoded, lines
from limner.promptdb.files.read_generated import infotexts

ROWS = 20_000  # in a chunk
CHARACTERS = 1 << 24  # most characters of the prompts in a chunk
HOPELESS = 1000  # malformed rows without a single prompt, after which the file is rejected
MAX_DOCUMENT = 256 << 20  # bytes of a JSON document, which is read as a whole
OPEN_LINES = 30  # most lines of a quoted field; an open quote after that counts as never closed

Raw = tuple[int, Any]
"""A row before parsing: the line where it begins, and a Malformed or the input of the reader's `parse`."""


def read_rows(file: BinaryIO, path: Path, kind: Kind, skip: int = 0, rows: int = ROWS) -> Iterator[Chunk]:
    """Yields chunks of a decompressed file, from row `skip` on.

    Raises BadInput where the file is not of the kind it seems, or malformed from the start.
    """
    raw: Iterator[Raw]
    parse: Callable[[Any], Row]
    if kind == "json":
        raw, parse = _document_rows(file, path), _json_row
    elif kind == "jsonl":
        raw, parse = _lines(file, path), lambda line: _json_row(_json(line))
    elif kind in ("csv", "tsv"):
        separator = "\t" if kind == "tsv" else ","
        raw, parse = _table_rows(_lines(file, path, blank=True), path, separator), lambda pair: parsed(*pair)
    elif kind == "infotext":
        raw, parse = infotexts(_lines(file, path, blank=True), path.name), lambda row: row
    else:
        raw, parse = _lines(file, path), lambda line: parsed({"text": line}, {"text": "text"})
    yield from _chunks(raw, parse, path, skip, rows)


def _chunks(raw: Iterator[Raw], parse: Callable[[Any], Row], path: Path, skip: int, size: int) -> Iterator[Chunk]:
    import pyarrow as pa

    good: list[Row] = []
    malformed: list[tuple[int, str]] = []
    found = bad = end = characters = 0
    for number, row in raw:
        end += 1
        if end <= skip:
            continue
        try:
            if isinstance(row, Malformed):
                raise row
            good.append(parse(row))
            characters += len(good[-1]["text"])
        except Malformed as error:
            malformed.append((number, str(error)))
            bad += 1
            if not found and not good and bad == HOPELESS:
                line, reason = malformed[0]
                raise BadInput(f"{path} holds no prompts (line {line}: {reason}); give JSONL or one prompt a line in UTF-8") from error
        if len(good) + len(malformed) == size or characters > CHARACTERS:
            found, characters = found + len(good), 0
            yield Chunk(pa.RecordBatch.from_pylist(good, schema=schema()), end, malformed)
            good, malformed = [], []
    if good or malformed:
        yield Chunk(pa.RecordBatch.from_pylist(good, schema=schema()), end, malformed)


def _lines(file: BinaryIO, path: Path, blank: bool = False) -> Iterator[Raw]:
    """Yields lines; blank ones only with `blank`."""
    for number, line in lines(file):
        try:
            if line is None:
                raise Malformed(f"longer than {MAX_LINE} bytes")
            text = decoded(line, path, number)
        except Malformed as error:
            yield number, error
            continue
        if blank or text.strip():
            yield number, text


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Malformed("not valid JSON") from error


def _json_row(row: Any) -> Row:
    if isinstance(row, str):
        row = {"text": row}
    if not isinstance(row, Mapping):
        raise Malformed("neither a JSON object nor a string")
    return parsed(row, chosen(list(row)))


def _document_rows(file: BinaryIO, path: Path) -> Iterator[Raw]:
    """Yields the rows of Lexica's answer (`{"images": [...]}`), DiffusionDB's part (`{"<uuid>.png": {"p": ...}}`), or a list; numbered from
    1.
    """
    content = file.read(MAX_DOCUMENT + 1)
    if len(content) > MAX_DOCUMENT:
        raise BadInput(f"{path} is a JSON document of more than {MAX_DOCUMENT >> 20} MB; save it as JSONL, one row a line")
    try:
        document = json.loads(decoded(content, path, 1))
    except (ValueError, RecursionError, Malformed) as error:
        raise BadInput(f"{path} is not valid JSON ({str(error) or 'nested too deep'}); fetch it again, or save it as JSONL") from error
    if isinstance(document, list):
        rows: Iterable[Any] = document
    elif isinstance(document, Mapping) and isinstance(document.get("images"), list):
        rows = ({**row, "name": row.get("id")} if isinstance(row, Mapping) else row for row in document["images"])
    elif isinstance(document, Mapping) and document and all(isinstance(row, Mapping) for row in document.values()):
        rows = ({**row, "name": name} for name, row in document.items())
    elif isinstance(document, Mapping) and {"text", "prompt", "p"} & set(document):
        rows = [document]
    else:
        raise BadInput(f"{path} holds no list of prompts; give Lexica's or DiffusionDB's JSON, a list, or JSONL")
    yield from enumerate(rows, start=1)


def _table_rows(rows: Iterator[Raw], path: Path, separator: str) -> Iterator[Raw]:
    """Yields rows of a CSV file as (fields by name, our columns), after its header.

    A quoted field may span several lines; a quote that is never closed costs only its own line.
    """
    header: list[str] = []
    columns: dict[str, str] = {}
    waiting: list[Raw] = []
    while True:
        first = waiting.pop(0) if waiting else next(rows, None)
        if first is None:
            return
        number, line = first
        if isinstance(line, Malformed):
            yield number, line
            continue
        if not line.strip():
            continue
        fields = _fields(line, separator)
        taken: list[Raw] = []
        while fields is None and len(taken) < OPEN_LINES:
            following = waiting.pop(0) if waiting else next(rows, None)
            if following is None:
                break
            taken.append(following)
            if isinstance(following[1], Malformed):
                break
            fields = _fields("".join([line, *(text for _, text in taken)]), separator)
        if fields is None or isinstance(fields, Malformed):
            waiting = taken + waiting
            yield number, fields or Malformed("a quote is opened and not closed")
        elif not header:
            header, columns = fields, chosen(fields)
            if "text" not in columns:
                raise BadInput(f"{path} needs a header with a column 'prompt' or 'text', not {', '.join(fields[:5])!r}")
        elif len(fields) != len(header):
            waiting = taken + waiting
            yield number, Malformed(f"{len(fields)} fields where the header has {len(header)}")
        else:
            yield number, (dict(zip(header, fields, strict=True)), columns)


def _fields(record: str, separator: str) -> list[str] | Malformed | None:
    """Returns the fields of a record; None where a quote is still open."""
    try:
        rows = list(csv.reader(io.StringIO(record, newline="\n"), delimiter=separator, strict=True))
    except csv.Error as error:
        return None if "unexpected end" in str(error) else Malformed(f"broken quotes ({error})")
    return rows[0] if len(rows) == 1 else Malformed("more than one row in a line")
