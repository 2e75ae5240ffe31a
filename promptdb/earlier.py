"""Reads what versions up to schema 4 stored of runs in files, and moves it into the run store.

- `NAME.threads.db` beside the database NAME.db: LangGraph's checkpoints, from which runs and conversations are resumed. Read when the
  database is migrated to schema 5, and removed.
- `images/in-flight/HASH.json` beside the database: drawings that a killed run was making. Read and removed at the same time.
- `OUT/RUN/spent.json`: what a run has spent. Read and removed when the run is resumed, since its folder is not known before.
- `OUT/jobs/RUN/`: a job's record, prompts and events. Read and removed when a server starts with that folder.

A file is removed only after its content is committed, so a kill in between loses nothing.
"""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from limner.promptdb.errors import BadInput
from limner.promptdb.records import content_id


def read_files_beside(db: Database) -> None:
    """Copies checkpoints and notes of drawings in flight into the tables of schema 5. Called in the transaction that makes these tables.

    Raises BadInput where the file of checkpoints is damaged.
    """
    runs = [str(row[0]) for row in db.execute("SELECT id FROM run").fetchall()]
    if not runs:  # a new database, or one of prompts alone
        return
    path = Path(db.execute("PRAGMA database_list").fetchone()[2])
    for run in runs:
        with suppress(FileNotFoundError, ValueError, TypeError):
            ids = json.loads((_notes(path) / f"{content_id(run)}.json").read_text("utf-8"))
            db.conn.executemany("INSERT OR IGNORE INTO in_flight (run, drawing) VALUES (?, ?)", [(run, str(id)) for id in ids])
    threads = _threads(path)
    if not threads.is_file():
        return
    try:
        with closing(sqlite3.connect(threads)) as old:
            for table in ("checkpoints", "writes"):
                known = {row[1] for row in db.execute(f"PRAGMA table_info({table})").fetchall()}
                columns = [row[1] for row in old.execute(f"PRAGMA table_info({table})") if row[1] in known]
                names, marks = ", ".join(columns), ", ".join("?" * len(columns))
                rows = old.execute(f"SELECT {names} FROM {table}") if columns else ()
                db.conn.executemany(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", rows)
    except sqlite3.DatabaseError as error:
        raise BadInput(
            f"{threads} is damaged ({error}), so no run or conversation of {path} could go on; restore a copy of it, or move it away"
        ) from error


def remove_files_beside(path: Path) -> None:
    """Removes the files that `read_files_beside` has read, after the caller has committed what it read."""
    threads = _threads(path)
    for file in (threads, threads.with_name(f"{threads.name}-wal"), threads.with_name(f"{threads.name}-shm")):
        file.unlink(missing_ok=True)
    shutil.rmtree(_notes(path), ignore_errors=True)


def read_spent(folder: Path) -> dict[str, Any] | None:
    """Returns `spent`, `repeated`, `seconds` and `usage` of `spent.json` in a run's folder; None where there is no such file.

    Raises BadInput for a file that does not hold these.
    """
    file = folder / "spent.json"
    try:
        document = json.loads(file.read_text("utf-8"))
        spent = {str(unit): float(amount) for unit, amount in document["spent"].items()}
        usage = {str(name): amount if amount is None else float(amount) for name, amount in document.get("usage", {}).items()}
        return {
            "amounts": {unit: _whole(amount) for unit, amount in spent.items()},
            "repeated": int(document.get("repeated", 0)),
            "seconds": float(document.get("seconds", 0.0)),
            "usage": {name: amount if amount is None or name == "cost_usd" else _whole(amount) for name, amount in usage.items()},
        }
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(f"{file} does not say what the run has spent; remove it to go on as if nothing had been spent") from error


def remove_spent(folder: Path) -> None:
    """Removes `spent.json`, and the lock file of a conversation beside it."""
    for name in ("spent.json", "turn.lock"):
        (folder / name).unlink(missing_ok=True)


def jobs(out: Path) -> Iterator[tuple[Path, Mapping[str, Any], list[Any], list[Any]]]:
    """Yields (folder, record, prompts, events) of every job below `out`, oldest first. A job that cannot be read is logged and
    left there.
    """
    for file in sorted((out / "jobs").glob("*/job.json")):
        try:
            record = json.loads(file.read_text("utf-8"))
            if not isinstance(record, dict) or not record.keys() >= _JOB or record["state"] not in _STATES:
                raise ValueError("job.json does not describe one")
            yield file.parent, record, _lines(file.parent / "prompts.jsonl"), _lines(file.parent / "events.jsonl")
        except (OSError, ValueError) as error:
            logging.getLogger(__name__).warning("no job can be read from %s (%s): start it anew, and remove the folder", file.parent, error)


def remove_job(folder: Path) -> None:
    """Removes a job's folder, and the folder of all jobs with the last of them."""
    shutil.rmtree(folder, ignore_errors=True)
    if not any(folder.parent.glob("*/")):
        shutil.rmtree(folder.parent, ignore_errors=True)


_JOB = {"id", "state", "created", "settings", "learning"}
_STATES = ("waiting", "running", "paused", "stopped", "done", "failed")


def _threads(database: Path) -> Path:
    return database.with_suffix(".threads.db")


def _notes(database: Path) -> Path:
    return database.parent / "images" / "in-flight"


def _whole(amount: float) -> float:
    return int(amount) if amount == int(amount) else amount


def _lines(file: Path) -> list[Any]:
    """The JSON of each line; a last one that a kill cut in half is dropped."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_bytes().split(b"\n")[:-1] if line]
