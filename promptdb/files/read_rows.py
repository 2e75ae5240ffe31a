"""Reads prompts from row-based files: JSONL, JSON documents, CSV and plain text.

An unusable row is reported by its line (in a JSON document by its position), and reading goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from limner.promptdb.errors import BadInput
from limner.promptdb.files.columns import Chunk, Row, parsed, schema
from limner.promptdb.files.documents import document_rows, json_line, json_row
from limner.promptdb.files.file_kinds import FileKind, usable
from limner.promptdb.files.prompt_flags import may_have_flags, read_flags
from limner.promptdb.files.read_generated import infotexts
from limner.promptdb.files.tables import table_rows
from limner.promptdb.files.text_lines import Malformed, Notes, as_utf8, text_lines
from limner.promptdb.generated.a1111 import is_infotext

ROWS = 20_000  # in a chunk
CHARACTERS = 1 << 24  # most characters of the prompts in a chunk
HOPELESS = 1000  # malformed rows without a single prompt, after which the file is rejected

_COMMENT = re.compile(r"\s*#(?:\s|$)")
_FLAGGED = {name: name for name in ("text", "negative", "seed", "steps", "cfg", "sampler", "width", "height")}


def read_rows(
    file: BinaryIO, path: Path, kind: FileKind, notes: Notes, column: str | None = None, skip: int = 0, rows: int = ROWS
) -> Iterator[Chunk]:
    """Yields chunks of a decompressed file, from row `skip` on.

    `notes`: gets what there is to say about the whole file. `column`: the column of the prompts, where its name says nothing. Raises
    BadInput where the file is not of the kind it seems, or malformed from the start.
    """
    stream = as_utf8(file, kind.form)
    raw: Iterator[tuple[int, Any]]
    parse: Callable[[Any], Row]
    if kind.kind == "json":
        raw, parse = document_rows(stream, path), lambda row: json_row(row, column)
    elif kind.kind == "jsonl":
        raw, parse = text_lines(stream, notes), lambda line: json_row(json_line(line), column)
    elif kind.kind in ("csv", "tsv"):
        lines = text_lines(stream, notes, kind.form.windows, blank=True)
        raw, parse = table_rows(lines, path, "\t" if kind.kind == "tsv" else ",", column), lambda pair: parsed(*pair)
    elif kind.kind == "infotext":
        raw, parse = infotexts(text_lines(stream, notes, blank=True), path.name), lambda row: row
    elif column is not None:
        raise BadInput(f"{path} is plain text, one prompt a line, and has no columns; leave --column out")
    else:
        raw = (row for row in text_lines(stream, notes, kind.form.windows) if not _is_comment(row[1]))
        parse = lambda line: _line(line, notes)  # noqa: E731
    yield from _chunks(raw, parse, path, skip, rows)


def _is_comment(line: str | Malformed) -> bool:
    return isinstance(line, str) and line.lstrip().startswith("#") and _COMMENT.match(line) is not None


def _line(line: str, notes: Notes) -> Row:
    """A line of plain text in our columns, without its flags. Raises Malformed for the settings of a picture."""
    if line.lstrip().startswith("Steps:") and is_infotext(line.strip()):
        raise Malformed("settings of a picture, which is no prompt")
    if not may_have_flags(line):
        return {"text": usable(line, "prompt"), "subject": "", "negative": ""}
    found = read_flags(line)
    for flag in found.left_out:
        notes.add_flag(flag)
    return parsed({"text": found.text, "negative": found.negative, **found.settings}, _FLAGGED)


def _chunks(raw: Iterator[tuple[int, Any]], parse: Callable[[Any], Row], path: Path, skip: int, size: int) -> Iterator[Chunk]:
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
