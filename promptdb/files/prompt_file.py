"""Reads the prompts of one file for a batch: one a line, JSONL with pins, or CSV with a header. Nothing is stored.

Prompts that differ only in case and blanks count as one. An unusable line is reported, and reading goes on.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from limner.promptdb.errors import BadInput
from limner.promptdb.files.file_kinds import Malformed, decoded, lines, usable
from limner.promptdb.records import canonical_text, text_id

LOOKED_AT = 8192  # leading bytes that are searched for zero bytes, as git and grep do to recognise binary files

Parse = Callable[[str], "BatchPrompt | None"]


@dataclass(frozen=True, slots=True)
class BatchPrompt:
    """A naive prompt of a batch; `pins` are words that every rewrite must contain."""

    text: str
    pins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PromptFile:
    """`prompts` in the order of the file. `malformed`: (line number from 1, reason)."""

    prompts: tuple[BatchPrompt, ...]
    duplicates: int
    malformed: tuple[tuple[int, str], ...]


def read_prompts(path: Path | str, limit: int | None = None) -> PromptFile:
    """Returns the distinct prompts of a file, at most `limit`.

    `.jsonl` and `.ndjson` contain {prompt, pins}, `.csv` and `.tsv` a column `prompt` (and `pins`, separated by semicolons), anything else
    one prompt a line. Raises BadInput where the file cannot be read or has no prompt.
    """
    path = Path(path).expanduser()
    found: dict[str, BatchPrompt] = {}
    duplicates, malformed = 0, list[tuple[int, str]]()
    try:
        for number, row in _rows(path):
            if isinstance(row, str):
                malformed.append((number, row))
            elif text_id(row.text) in found:
                duplicates += 1
            elif limit is None or len(found) < limit:
                found[text_id(row.text)] = row
            else:
                break
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror})") from error
    if not found:
        reason = f": line {malformed[0][0]}: {malformed[0][1]}" if malformed else ""
        raise BadInput(f"{path} holds no prompts{reason}; give one prompt a line, JSONL or CSV with a header, in UTF-8")
    return PromptFile(tuple(found.values()), duplicates, tuple(malformed))


def distinct(prompts: Iterable[BatchPrompt], limit: int | None = None) -> PromptFile:
    """The distinct ones of prompts that came in no file, at most `limit`, as `read_prompts` returns those of a file.

    Raises BadInput where there is none.
    """
    given = [replace(prompt, text=canonical_text(prompt.text)) for prompt in prompts]
    found = {text_id(prompt.text): prompt for prompt in reversed(given) if prompt.text}
    if not found:
        raise BadInput("there are no prompts to learn on; give at least one")
    return PromptFile(tuple(reversed(found.values()))[:limit], len(given) - len(found), ())


def _rows(path: Path) -> Iterator[tuple[int, BatchPrompt | str]]:
    """Yields line number and prompt, or the reason why the line has none."""
    suffix = path.suffix.lower()
    parse: Parse = _json if suffix in (".jsonl", ".ndjson") else _text
    if suffix in (".csv", ".tsv"):
        parse = _Table("\t" if suffix == ".tsv" else ",")
    with path.open("rb") as file:
        head = file.read(LOOKED_AT)
        if b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise BadInput(f"{path} holds no prompts: it is no text file, it has zero bytes; give one prompt a line, JSONL or CSV")
        file.seek(0)
        for number, line in lines(file):
            try:
                if line is None:
                    raise Malformed("the line is too long for a prompt")
                text = decoded(line, path, number)
                row = parse(text) if text.strip() else None
            except Malformed as error:
                yield number, str(error)
                continue
            if row is not None:
                yield number, row


def _text(line: str) -> BatchPrompt:
    return BatchPrompt(canonical_text(usable(line, "prompt")))


def _json(line: str) -> BatchPrompt:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Malformed("not valid JSON") from error
    if isinstance(row, str):
        row = {"prompt": row}
    if not isinstance(row, dict):
        raise Malformed("neither a JSON object nor a string")
    pins = row.get("pins") or []
    if not isinstance(pins, list):
        raise Malformed("the field 'pins' is not a list")
    return _pinned(row.get("prompt", row.get("text")), pins)


class _Table:
    """Rows of a CSV file, whose first line names the columns. A quoted field may not span several lines."""

    def __init__(self, separator: str) -> None:
        self._separator = separator
        self._columns: list[str] = []

    def __call__(self, line: str) -> BatchPrompt | None:
        try:
            (fields,) = csv.reader([line], delimiter=self._separator, strict=True)
        except (csv.Error, ValueError) as error:
            raise Malformed("not a row of a table") from error
        if not self._columns:
            self._columns = [name.strip().lower() for name in fields]
            if not {"prompt", "text"} & set(self._columns):
                raise BadInput(f"a table of prompts needs a header with a column 'prompt', not {', '.join(self._columns[:5])!r}")
            return None
        row = dict(zip(self._columns, fields, strict=False))
        return _pinned(row.get("prompt", row.get("text")), [pin for pin in row.get("pins", "").split(";") if pin.strip()])


def _pinned(text: object, pins: list[object]) -> BatchPrompt:
    if text is None:
        raise Malformed("no field 'prompt' or 'text'")
    prompt = canonical_text(usable(text, "prompt"))
    words = tuple(canonical_text(usable(pin, "pin")) for pin in pins)
    return BatchPrompt(prompt, words)
