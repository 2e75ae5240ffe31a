"""Reads prompts out of files into the database, and back into rows for a file.

JSONL (one object or string a line) and plain text (one prompt a line), UTF-8, read as a stream: a file may be larger than
memory. A line that cannot be used is reported and the import goes on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from promptdb.errors import BadInput
from promptdb.lines import MAX_LINE, Malformed, decoded, lines, usable
from promptdb.records import Prompt
from promptdb.store import PromptDB

HOPELESS = 1000  # so many malformed lines and not one prompt: the wrong kind of file

JSONL_SUFFIXES = (".jsonl", ".ndjson")
NOT_YET = (".parquet", ".csv", ".tsv", ".json", ".gz", ".zip", ".zst", ".xlsx")


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of a file's lines. `malformed`: (line number from 1, reason) of each that was left out."""

    added: int
    duplicates: int
    malformed: list[tuple[int, str]] = field(default_factory=list)


def import_file(db: PromptDB, path: Path | str, source: str | None = None) -> ImportReport:
    """Add the prompts of a file. `.jsonl` and `.ndjson` are JSONL, anything else is plain text.

    source: what the prompts are filed under; without it the row's own `source`, else the file's name without its ending.
    Raises BadInput where the file cannot be read or is of another kind.
    """
    path = Path(path).expanduser()
    suffix = path.suffix.lower()
    if suffix in NOT_YET:
        raise BadInput(f"{path}: files ending in {suffix} cannot be imported; save it as .jsonl or .txt")
    parse = _jsonl_row if suffix in JSONL_SUFFIXES else _text_row
    malformed: list[tuple[int, str]] = []
    try:
        with path.open("rb") as file:
            added, duplicates = db.add_prompts(_prompts(file, path, parse, source, malformed))
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror})") from error
    return ImportReport(added, duplicates, malformed)


def export_rows(db: PromptDB, source: str | None = None) -> Iterator[dict[str, Any]]:
    """Every prompt as a JSON-able row that `import_file` reads back, in the order in which they were added; empty fields are left out."""
    for prompt in db.prompts(source):
        row = {"text": prompt.text, "subject": prompt.subject, "negative": prompt.negative, "source": prompt.source, "nsfw": prompt.nsfw}
        yield {key: value for key, value in row.items() if value not in ("", None)}


def _prompts(
    file: BinaryIO, path: Path, parse: Callable[[str, str], Prompt], source: str | None, malformed: list[tuple[int, str]]
) -> Iterator[Prompt]:
    found = 0
    for number, line in lines(file):
        try:
            if line is None:
                raise Malformed(f"longer than {MAX_LINE} bytes")
            text = decoded(line, path, number)
            if not text.strip():
                continue
            prompt = parse(text, path.stem)
        except Malformed as error:
            malformed.append((number, str(error)))
            if not found and len(malformed) == HOPELESS:
                first, reason = malformed[0]
                raise BadInput(f"{path} holds no prompts (line {first}: {reason}); give JSONL or one prompt a line in UTF-8") from error
            continue
        found += 1
        yield prompt if source is None else Prompt(prompt.text, source, prompt.subject, prompt.negative, prompt.nsfw)


def _text_row(line: str, source: str) -> Prompt:
    return Prompt(usable(line, "prompt"), source)


def _jsonl_row(line: str, source: str) -> Prompt:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Malformed("not valid JSON") from error
    if isinstance(row, str):
        row = {"text": row}
    if not isinstance(row, dict):
        raise Malformed("neither a JSON object nor a string")
    text = row.get("text", row.get("prompt"))
    if text is None:
        raise Malformed("no field 'text' or 'prompt'")
    negative = row.get("negative", row.get("negative_prompt"))
    return Prompt(
        text=usable(text, "prompt"),
        source=usable(row.get("source") or source, "source"),
        subject=usable(row.get("subject") or "", "subject", empty=True),
        negative=usable(negative or "", "negative", empty=True),
        nsfw=_number(row.get("nsfw")),
    )


def _number(value: object) -> float | None:
    if value is None:
        return None
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        number = math.nan
    if not math.isfinite(number):
        raise Malformed("the field 'nsfw' is not a finite number")
    return number
