"""Reads parquet tables of prompts, such as DiffusionDB's `metadata.parquet`, in batches and column by column.

Unusable rows are found by arrow's vectorised operations and reported by their number, from 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from limner.promptdb.errors import BadInput
from limner.promptdb.files.columns import NAMES, SAMPLERS, Chunk, chosen, no_prompts, parsed, schema
from limner.promptdb.files.file_kinds import MAX_CHARACTERS, UNPRINTABLE
from limner.promptdb.files.text_lines import Malformed

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 50_000  # in a chunk

Progress = Callable[[int, int], None]
"""Called with how much of how much has been read, in any unit."""


def read_parquet(
    path: Path,
    progress: Progress = lambda done, total: None,
    skip: int = 0,
    rows: int = ROWS,
    name: Path | None = None,
    column: str | None = None,
) -> Iterator[Chunk]:
    """Yields chunks of the table at `path`, from row `skip` on; messages call it `name`. `column`: the column of the prompts, where its
    name says nothing.

    Raises BadInput where it is damaged or has no column of prompts.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            columns = chosen(file.schema_arrow.names, column)
            if "text" not in columns:
                raise BadInput(f"{name or path} has {no_prompts(file.schema_arrow.names)}")
            total, done = file.metadata.num_rows, 0
            for batch in file.iter_batches(rows, columns=[*dict.fromkeys(columns.values())]):
                start, done = done, done + batch.num_rows
                progress(done, total)
                if done > skip:
                    cut = max(0, skip - start)
                    yield _chunk(batch.slice(cut), columns, start + cut)
    except (pa.ArrowException, OSError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(f"{name or path} is damaged or cut off and cannot be read as parquet ({said}); fetch it again") from error


def _chunk(batch: pa.RecordBatch, names: dict[str, str], start: int) -> Chunk:
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {ours: batch.column(batch.schema.get_field_index(theirs)) for ours, theirs in names.items()}
    malformed: list[tuple[int, str]] = []
    try:
        for column in columns.values():
            column.validate(full=True)
        canonical = _canonical(columns)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return _by_rows(columns, start)  # invalid UTF-8 or columns of another type: check row by row
    usable = _usable(canonical)
    if not pc.all(usable).as_py():
        for place in pc.indices_nonzero(pc.invert(usable)).to_pylist():
            try:
                parsed({name: canonical.column(name)[place].as_py() for name in ("text", "subject", "negative", "nsfw")}, _SAME)
            except Malformed as error:
                malformed.append((start + place + 1, str(error)))
        canonical = canonical.filter(usable)
    return Chunk(canonical, start + batch.num_rows, malformed)


_SAME = {name: name for name in (*NAMES, "plain")}


def _canonical(columns: dict[str, pa.Array]) -> pa.RecordBatch:
    """Returns the columns in the order and types of `schema()`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    count = len(columns["text"])
    arrays = []
    for field in schema():
        column = columns.get(field.name)
        if column is None:
            arrays.append(pa.nulls(count, field.type))
            continue
        if field.name == "sampler" and pa.types.is_integer(column.type):
            numbers = pc.if_else(pc.less(column, len(SAMPLERS)), column, None).fill_null(0)
            column = pc.take(pa.array([None, *SAMPLERS[1:]]), numbers)
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("s", column.type.tz), safe=False)
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_finite(column), column, None)
        if field.name == "pins" and pa.types.is_string(column.type):
            column = pc.split_pattern(column, ";")
        column = column.cast(field.type)
        if pa.types.is_string(field.type):
            column = pc.utf8_trim_whitespace(column)
        arrays.append(column)
    return pa.record_batch(arrays, schema=schema())


def _usable(rows: pa.RecordBatch) -> pa.Array:
    import pyarrow.compute as pc

    text = rows.column("text")
    fine = pc.and_(pc.greater(pc.utf8_length(text), 0), pc.less_equal(pc.utf8_length(text), MAX_CHARACTERS))
    fine = pc.fill_null(pc.and_not(fine, pc.match_substring_regex(text, UNPRINTABLE)), False)
    for name in ("subject", "negative", "source"):
        column = rows.column(name)
        if column.null_count < len(column):
            odd = pc.or_(pc.match_substring_regex(column, UNPRINTABLE), pc.greater(pc.utf8_length(column), MAX_CHARACTERS))
            fine = pc.and_not(fine, pc.fill_null(odd, False))
    return fine


def _by_rows(columns: dict[str, pa.Array], start: int) -> Chunk:
    import pyarrow as pa

    good, malformed = [], []
    for place in range(len(columns["text"])):
        try:
            row = {name: _value(column, place) for name, column in columns.items()}
            good.append(parsed(row, _SAME))
        except Malformed as error:
            malformed.append((start + place + 1, str(error)))
    return Chunk(pa.RecordBatch.from_pylist(good, schema=schema()), start + len(columns["text"]), malformed)


def _value(column: pa.Array, place: int) -> object:
    try:
        value = column[place].as_py()
    except UnicodeDecodeError as error:
        raise Malformed(f"not valid UTF-8 at byte {error.start + 1}") from error
    return value.isoformat() if hasattr(value, "isoformat") else value
