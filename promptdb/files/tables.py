"""Rows of CSV tables, as programs save them: any delimiter, Excel's line `sep=;`, quoted fields over several lines."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from limner.promptdb.errors import BadInput
from limner.promptdb.files.columns import chosen, no_prompts
from limner.promptdb.files.file_kinds import SEPARATORS
from limner.promptdb.files.text_lines import Malformed, Raw

OPEN_LINES = 30  # most lines of a quoted field; an open quote after that counts as never closed

_SEP = re.compile(r"sep=(.)\s*", re.IGNORECASE)

Row = tuple[dict[str, str], dict[str, str]]
"""Fields by name, and the file's columns by ours."""


def table_rows(lines: Iterator[Raw], path: Path, usual: str, column: str | None = None) -> Iterator[tuple[int, Row | Malformed]]:
    """Yields rows with the line where each begins, after the header. `usual`: the separator that is likely.

    A quoted field may span several lines; a quote that is never closed costs only its own line. Raises BadInput where the header names no
    column of prompts.
    """
    separator, header = "", list[str]()
    columns: dict[str, str] = {}
    waiting: list[Raw] = []
    while True:
        first = waiting.pop(0) if waiting else next(lines, None)
        if first is None:
            return
        number, line = first
        if isinstance(line, Malformed):
            yield number, line
            continue
        if not line.strip():
            continue
        if number == 1 and (told := _SEP.fullmatch(line)):
            separator = told[1]
            continue
        if not header:
            separator = separator or _separator(line, usual, column)
        fields, taken = _record(line, separator, lines, waiting)
        if isinstance(fields, Malformed):
            waiting = taken + waiting
            yield number, fields
        elif not header:
            header, columns = fields, chosen(fields, column)
            if "text" not in columns:
                raise BadInput(f"{path} has {no_prompts(fields)}")
        elif isinstance(row := _fitting(fields, header, separator), Malformed):
            waiting = taken + waiting
            yield number, row
        else:
            yield number, (dict(zip(header, row, strict=True)), columns)


def _separator(line: str, usual: str, column: str | None) -> str:
    """Returns the separator that divides the header into most names, one of them a column of prompts; else the usual one."""
    found = {}
    for separator in dict.fromkeys((usual, *SEPARATORS)):
        fields = _fields(line, separator)
        if isinstance(fields, list):
            found[separator] = ("text" in chosen(fields, column), len(fields))
    return max(found, key=lambda separator: found[separator]) if found else usual


def _record(line: str, separator: str, lines: Iterator[Raw], waiting: list[Raw]) -> tuple[list[str] | Malformed, list[Raw]]:
    """Returns the fields of the record that begins with `line`, and the lines behind it that were taken to close its quotes."""
    fields = _fields(line, separator)
    taken: list[Raw] = []
    while fields is None and len(taken) < OPEN_LINES:
        following = waiting.pop(0) if waiting else next(lines, None)
        if following is None:
            break
        taken.append(following)
        if isinstance(following[1], Malformed):
            break
        fields = _fields("".join([line, *(str(text) for _, text in taken)]), separator)
    return fields or Malformed("a quote is opened and not closed"), taken


def _fields(record: str, separator: str) -> list[str] | Malformed | None:
    """Returns the fields of a record; None where a quote is still open."""
    try:
        rows = list(csv.reader(io.StringIO(record, newline="\n"), delimiter=separator, strict=True))
    except csv.Error as error:
        return None if "unexpected end" in str(error) else Malformed(f"broken quotes ({error})")
    return rows[0] if len(rows) == 1 else Malformed("more than one row in a line")


def _fitting(fields: list[str], header: list[str], separator: str) -> list[str] | Malformed:
    """Returns as many fields as the header has: empty ones behind it are dropped, and the fields of a single column are one text."""
    if len(fields) == len(header):
        return fields
    if len(fields) > len(header) and not any(field.strip() for field in fields[len(header) :]):
        return fields[: len(header)]
    if len(header) == 1:
        return [separator.join(fields)]
    return Malformed(f"{len(fields)} fields where the header has {len(header)}")
