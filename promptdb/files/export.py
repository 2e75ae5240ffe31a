"""Writes the prompts of the database, or their pictures, to a file that `import_file` reads back: JSONL, CSV or parquet.

The file appears complete or not at all.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from limner.promptdb.errors import BadInput
from limner.promptdb.files.columns import NAMES, schema
from limner.promptdb.files.loading import image_name
from limner.promptdb.store import PromptDB

Format = Literal["jsonl", "csv", "parquet"]
FORMATS: tuple[Format, ...] = ("jsonl", "csv", "parquet")

PAGE = 10_000  # rows read at once

PROMPT_COLUMNS = ("text", "subject", "negative", "source", "nsfw")
PICTURE_COLUMNS = tuple(name for name in NAMES if name != "pins")

Row = dict[str, Any]
Progress = Callable[[int, int], None]


def export_file(
    db: PromptDB,
    path: Path,
    form: Format | None = None,
    source: str | None = None,
    pictures: bool = False,
    progress: Progress = lambda done, total: None,
) -> int:
    """Writes every prompt (or every picture with its data and prompt), of one source or of all, and returns the number of rows.

    `form`: by default from the file name's ending. Raises BadInput where the ending is unknown or the file cannot be written.
    """
    form = form or form_of(path)
    columns, rows = (PICTURE_COLUMNS, picture_rows(db, source)) if pictures else (PROMPT_COLUMNS, prompt_rows(db, source))
    total = db.stats()["picture"] if pictures else db.count_prompts()
    counted = _counting(rows, lambda done: progress(done, total))
    with _appearing(path) as work:
        return {"jsonl": _write_jsonl, "csv": _write_csv, "parquet": _write_parquet}[form](work, columns, counted)


def form_of(path: Path) -> Format:
    """Returns the format that the file name's ending stands for. Raises BadInput for an unknown ending."""
    suffix = path.suffix.lower().lstrip(".")
    for form in FORMATS:
        if suffix == form or (form, suffix) == ("jsonl", "ndjson"):
            return form
    raise BadInput(f"{path} ends in nothing that can be written; name it .jsonl, .csv or .parquet, or say --format")


def prompt_rows(db: PromptDB, source: str | None = None) -> Iterator[Row]:
    """Yields prompts in the order in which they were added."""
    for prompt in db.prompts(source):
        yield {name: getattr(prompt, name) for name in PROMPT_COLUMNS}


def picture_rows(db: PromptDB, source: str | None = None) -> Iterator[Row]:
    """Yields pictures in the order of their prompts, in our columns."""
    where, parameters = ("", []) if source is None else ("c.source = (SELECT number FROM label WHERE text = ?) AND ", [source])
    labels = ", ".join(f"(SELECT text FROM label WHERE number = c.{name})" for name in ("source", "sampler", "author", "model"))
    sql = (
        "SELECT c.prompt, c.name, p.text, p.subject, p.negative, p.nsfw, c.part, c.seed, c.steps, c.cfg, c.width, c.height, c.made, "
        f"c.nsfw, {labels} FROM picture c JOIN prompt p ON p.number = c.prompt WHERE {where}(c.prompt, c.name) > (?, ?) "
        f"ORDER BY c.prompt, c.name LIMIT {PAGE}"
    )
    names = ("text", "subject", "negative", "nsfw", "part", "seed", "steps", "cfg", "width", "height", "made", "image_nsfw")
    last: Sequence[Any] = (0, "")
    while rows := db.query(sql, [*parameters, *last]):
        for _, key, *values in rows:
            yield {"name": image_name(key), **dict(zip((*names, "source", "sampler", "author", "model"), values, strict=True))}
        last = rows[-1][:2]


def _counting(rows: Iterator[Row], tell: Callable[[int], None]) -> Iterator[Row]:
    for done, row in enumerate(rows, start=1):
        if done % PAGE == 0:
            tell(done)
        yield row


def _write_jsonl(path: Path, columns: Sequence[str], rows: Iterator[Row]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps({name: row[name] for name in columns if row[name] not in ("", None)}, ensure_ascii=False) + "\n")
            count += 1
    return count


def _write_csv(path: Path, columns: Sequence[str], rows: Iterator[Row]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow(["" if row[name] is None else row[name] for name in columns])
            count += 1
    return count


def _write_parquet(path: Path, columns: Sequence[str], rows: Iterator[Row]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = pa.schema([schema().field(name) for name in columns])
    count = 0
    with pq.ParquetWriter(path, kinds, compression="zstd") as writer:
        while page := [row for _, row in zip(range(PAGE), rows, strict=False)]:
            writer.write_batch(pa.RecordBatch.from_pylist(page, schema=kinds))
            count += len(page)
    return count


@contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, which replaces `path` on success."""
    work = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield work
        os.replace(work, path)
    except OSError as error:
        raise BadInput(f"{path} cannot be written ({error.strerror or error}); choose another file or free some space") from error
    finally:
        work.unlink(missing_ok=True)
