"""Imports files of prompts: reads them (reading.py), loads them chunk by chunk, and reports.

Importing a file again adds nothing; an interrupted import continues where it stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from limner.promptdb.errors import BadInput
from limner.promptdb.files.columns import Chunk
from limner.promptdb.files.file_kinds import FileKind, file_kind, unpacked
from limner.promptdb.files.loading import Loader
from limner.promptdb.files.read_generated import fingerprint, is_picture_file, read_pictures
from limner.promptdb.files.reading import Progress, read_file
from limner.promptdb.files.styles import Style, add_styles, read_styles
from limner.promptdb.files.text_lines import Malformed, Notes
from limner.promptdb.store import PromptDB

LISTED = 1000  # most malformed rows that are listed; all are counted


@dataclass
class ImportReport:
    """The result of an import.

    `added`: new prompts. `duplicates`: rows whose prompt existed. `pictures`: new pictures. `long`: rows whose prompt exceeds the window of
    CLIP's text encoder. `malformed`: (line or row from 1, reason) of the first LISTED rejected rows, `malformed_rows`: their total number.
    `resumed`: rows that an earlier, interrupted import had loaded, which are not counted again. `styles`: styles that were new, which are
    kept as instructions. `notes`: what there is to say about the whole file.
    """

    added: int = 0
    duplicates: int = 0
    pictures: int = 0
    long: int = 0
    malformed: list[tuple[int, str]] = field(default_factory=list)
    malformed_rows: int = 0
    resumed: int = 0
    styles: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def read(self) -> int:
        """How many rows were read: those added, those already there and those refused."""
        return self.added + self.styles + self.duplicates + self.malformed_rows


def import_file(
    db: PromptDB,
    path: Path | str,
    source: str | None = None,
    progress: Progress = lambda done, total: None,
    column: str | None = None,
) -> ImportReport:
    """Adds the prompts of a file to the database; styles are kept as instructions.

    `source`: the prompts' source; by default the row's own `source`, else the file's name without its ending. `column`: the column of the
    prompts, where its name says nothing. Raises BadInput where the file cannot be read, is damaged or of an unknown kind; what was loaded
    before the damage stays.
    """
    path = Path(path).expanduser()
    if is_picture_file(path):
        return import_pictures(db, [path], source or path.resolve().parent.name, progress)
    kind = file_kind(path, column)
    notes = Notes()
    if kind.kind in ("styles", "json styles"):
        report = _import_styles(db, path, kind, notes)
    else:
        loader = Loader(db, source or kind.name, _fingerprint(path, source, column), keep_sources=source is None)
        report = _imported(db, loader, lambda skip: read_file(path, kind, notes, column, skip, progress))
    return replace(report, notes=notes.sentences())


def import_pictures(
    db: PromptDB, paths: Sequence[Path], source: str, progress: Progress = lambda done, total: None
) -> ImportReport:
    """Adds the prompts of pictures that were made elsewhere, by their metadata; no pixel is decoded.

    `source`: the prompts' source. `malformed`: (number of the picture from 1, reason), for those that say no prompt too, so that added,
    duplicates and malformed pictures are all pictures.
    """
    loader = Loader(db, source, fingerprint(paths, source))
    return _imported(db, loader, lambda skip: read_pictures(paths, progress, skip))


def _imported(db: PromptDB, loader: Loader, chunks: Callable[[int], Iterable[Chunk]]) -> ImportReport:
    """Loads the chunks behind the rows that an earlier import has loaded, and counts."""
    report = ImportReport(resumed=loader.position())
    with db.bulk():
        for chunk in chunks(report.resumed):
            loaded = loader.load(chunk)
            report.added, report.duplicates = report.added + loaded.added, report.duplicates + loaded.duplicates
            report.pictures, report.long = report.pictures + loaded.pictures, report.long + loaded.long
            report.malformed += chunk.malformed[: LISTED - len(report.malformed)]
            report.malformed_rows += len(chunk.malformed)
        loader.finish()
    return report


def _import_styles(db: PromptDB, path: Path, kind: FileKind, notes: Notes) -> ImportReport:
    with unpacked(path, kind.packing) as opened:
        rows = list(read_styles(opened.stream, path, kind, notes))
    styles = [row for _, row in rows if isinstance(row, Style)]
    malformed = [(number, str(row)) for number, row in rows if isinstance(row, Malformed)]
    added = add_styles(db, styles)
    return ImportReport(styles=added, duplicates=len(styles) - added, malformed=malformed[:LISTED], malformed_rows=len(malformed))


def _fingerprint(path: Path, source: str | None, column: str | None = None) -> str:
    """Returns an identity of the file without reading all of it; a changed file is imported from the start."""
    try:
        status = path.stat()
        with path.open("rb") as file:
            start = file.read(1 << 16)
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror})") from error
    asked = source if column is None else f"{source}\0{column}"
    facts = f"{path.name}\0{asked}\0{status.st_size}\0{status.st_mtime_ns}\0"
    return hashlib.sha256(facts.encode("utf-8", "surrogateescape") + start).hexdigest()[:24]
