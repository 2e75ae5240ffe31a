"""Opens a database, filled with the prompts that come with the project, so that the first search finds something."""

from __future__ import annotations

import hashlib
from pathlib import Path

from limner.promptdb.files.ingest import ImportReport, import_file
from limner.promptdb.store import PromptDB

FOLDER = Path(__file__).parent / "seed"


def open_database(path: Path) -> PromptDB:
    """Opens the prompt database at `path`, made where it is missing, with the prompts that come with the project in it.

    Raises BadInput where it cannot be used.
    """
    db = PromptDB.open(path)
    try:
        seed(db)
    except BaseException:
        db.close()
        raise
    return db


def seed(db: PromptDB, folder: Path = FOLDER) -> ImportReport:
    """Imports every `*.jsonl` in `folder` that is new or has changed since it was imported; returns one report of all files.

    Files are read only where their sizes or times are not those that were noted at the last import from this folder.
    """
    added = duplicates = 0
    malformed: list[tuple[int, str]] = []
    paths = sorted(folder.glob("*.jsonl"))
    sizes = "\n".join(f"{path.name} {(status := path.stat()).st_size} {status.st_mtime_ns}" for path in paths)
    if db.imported(str(folder)) == sizes:
        return ImportReport()
    for path in paths:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if db.imported(path.name) == digest:
            continue
        report = import_file(db, path)
        db.note_import(path.name, digest)
        added, duplicates = added + report.added, duplicates + report.duplicates
        malformed += [(line, f"{path.name}: {reason}") for line, reason in report.malformed]
    db.note_import(str(folder), sizes)
    return ImportReport(added, duplicates, malformed=malformed, malformed_rows=len(malformed))
