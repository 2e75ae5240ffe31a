"""Reads what was made elsewhere as rows of prompts with their pictures: files of infotext, pictures, and folders of pictures."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from limner.promptdb.errors import BadInput
from limner.promptdb.files.columns import Chunk, Row, chosen, parsed, schema
from limner.promptdb.files.text_lines import Malformed
from limner.promptdb.generated.a1111 import blocks, is_infotext, read_infotext
from limner.promptdb.generated.metadata import is_picture
from limner.promptdb.generated.pictures import ENDINGS, read_picture
from limner.promptdb.generated.record import Generated

PICTURES = 500
"""Pictures of a chunk."""


def generated_row(found: Generated, name: str) -> Row:
    """Returns a prompt and its picture, called `name`, in our columns. Raises Malformed for a text that cannot be stored."""
    width, height = found.size or (None, None)
    given = {
        "text": found.prompt,
        "negative": found.negative,
        "name": name,
        "seed": found.seed,
        "steps": found.steps,
        "cfg": found.cfg,
        "sampler": f"{found.sampler} {found.schedule}".strip() or None,
        "width": width,
        "height": height,
        "model": found.model or None,
    }
    return parsed(given, chosen(list(given)))


def infotexts(lines: Iterable[tuple[int, Any]], name: str) -> Iterator[tuple[int, Any]]:
    """Yields (number of the first line, row) for each infotext of a file; a Malformed in place of what cannot be used.

    `lines`: numbered, each a text or a Malformed. `name`: of the file, for the names of the pictures.
    """
    damaged: list[tuple[int, Malformed]] = []

    def readable() -> Iterator[tuple[int, str]]:
        for number, line in lines:
            if isinstance(line, Malformed):
                damaged.append((number, line))
            else:
                yield number, line

    for first, text in blocks(readable()):
        if damaged:
            yield damaged[0]
            damaged.clear()
        elif not is_infotext(text):
            yield first, Malformed("no line of settings (Steps: 20, Sampler: ...) follows this text")
        else:
            try:
                yield first, generated_row(read_infotext(text), f"{name}, line {first}")
            except (BadInput, Malformed) as error:
                yield first, Malformed(str(error))
    yield from damaged[:1]


def pictures_in(folder: Path) -> list[Path]:
    """Returns the pictures of a folder and its folders, in the order of their names. Raises BadInput where there is none.

    Hidden files, and folders that are links, are passed by.
    """
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(root) / name for name in files if name.lower().endswith(ENDINGS) and not name.startswith(".")]
    if not found:
        raise BadInput(f"{folder} holds no pictures (PNG, JPEG or WebP)")
    return sorted(found)


def is_picture_file(path: Path) -> bool:
    """Whether a file begins as a picture does; False where it cannot be read."""
    try:
        with path.open("rb") as file:
            return is_picture(file.read(12))
    except OSError:
        return False


def read_pictures(paths: Sequence[Path], progress: Callable[[int, int], None], skip: int = 0) -> Iterator[Chunk]:
    """Yields chunks of the prompts of pictures, from picture `skip` on; a malformed row has the number of its picture, from 1."""
    import pyarrow as pa

    for start in range(skip, len(paths), PICTURES):
        rows: list[Row] = []
        malformed: list[tuple[int, str]] = []
        for number, path in enumerate(paths[start : start + PICTURES], start=start + 1):
            try:
                rows.append(generated_row(read_picture(path), path.name))
            except (BadInput, Malformed) as error:
                malformed.append((number, str(error).removeprefix(str(path)).removeprefix(":").strip()))
        end = min(start + PICTURES, len(paths))
        progress(end, len(paths))
        yield Chunk(pa.RecordBatch.from_pylist(rows, schema=schema()), end, malformed)


def fingerprint(paths: Sequence[Path], source: str | None) -> str:
    """Returns an identity of pictures by their names, sizes and times, so that an import that ended goes on where it was."""
    digest = hashlib.sha256(f"{source}\0".encode("utf-8", "surrogateescape"))
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:24]
