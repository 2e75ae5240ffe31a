"""The one reader of files of prompts: recognises the format, reads it as a stream, and yields it chunk by chunk. Stores nothing.

Reads DiffusionDB's parquet and per-part JSON, answers of Lexica and civitai, Promptist's pairs, chats, JSONL, CSV and plain text, each
plain or compressed by gzip or zstd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from limner.promptdb.errors import BadInput
from limner.promptdb.files.columns import Chunk
from limner.promptdb.files.file_kinds import FileKind, unpacked, unpacked_file
from limner.promptdb.files.read_parquet import read_parquet
from limner.promptdb.files.read_rows import read_rows
from limner.promptdb.files.text_lines import Notes

Progress = Callable[[int, int], None]
"""Called with how much of how much has been read, in bytes or rows."""


def read_file(
    path: Path,
    kind: FileKind,
    notes: Notes,
    column: str | None = None,
    skip: int = 0,
    progress: Progress = lambda done, total: None,
    rows: int | None = None,
) -> Iterator[Chunk]:
    """Yields chunks of the prompts of a file, from row `skip` on.

    `kind`: from `file_kind`. `notes`: gets what there is to say about the whole file. `column`: the column of the prompts, where its name
    says nothing. `rows`: most rows of a chunk. Raises BadInput where the file is damaged, holds styles, or has no column of prompts.
    """
    if kind.kind in ("styles", "json styles"):
        raise BadInput(f"{path} holds styles, not prompts; db import keeps them as instructions and suffixes")
    size = {} if rows is None else {"rows": rows}
    if kind.kind == "parquet":
        with unpacked_file(path, kind.packing) as whole:
            yield from read_parquet(whole, progress, skip, name=path, column=column, **size)
        return
    total = path.stat().st_size
    with unpacked(path, kind.packing) as opened:
        for chunk in read_rows(opened.stream, path, kind, notes, column, skip, **size):
            progress(opened.done(), total)
            yield chunk


def nothing_read(path: Path, malformed: tuple[int, str] | None, pictures: bool = False) -> BadInput:
    """Returns the error of a file without a single prompt, or with `pictures` of a picture or a folder of them. `malformed`: the first row
    that was refused, with its reason."""
    if pictures:
        return BadInput(f"{path} holds no prompts{f': {malformed[1]}' if malformed else ''}")
    reason = f": line {malformed[0]}: {malformed[1]}" if malformed else ""
    return BadInput(f"{path} holds no prompts{reason}; give one prompt a line, JSONL or CSV, or name the column of its prompts by --column")
