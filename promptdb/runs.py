"""The run store: everything about each run, in the one database that all commands and servers share.

A run is a row of `run`: command, prompt, settings, status, result. Beside it, under the run's id: what was spent (`spent`), drawings that
are being made (`in_flight`), numbered events (`event`), and values for resuming the run (`memo`). A conversation is a run whose id is its
thread's; a job of the server is an `optimize` run with the memo `job`. A process that works on a run holds a file lock. Knows nothing of
what a run does.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from limner.promptdb.errors import BadInput, Busy
from limner.promptdb.records import Run, RunStatus
from limner.promptdb.store import PromptDB

LOCKS = "locks"
_PAGE = 500  # events read at a time


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run has spent in all its processes.

    `amounts`: by unit of the Budget. `repeated`: drawings made again because a kill lost them. `seconds`: of work. `usage`: the chat
    model's, by field of `Usage`.
    """

    amounts: Mapping[str, float] = field(default_factory=dict)
    repeated: int = 0
    seconds: float = 0.0
    usage: Mapping[str, float | None] = field(default_factory=dict)


class Runs:
    """The runs of a database. Any thread may use it, and any number of processes the same database."""

    def __init__(self, db: PromptDB) -> None:
        self._db = db

    def start(self, run: Run) -> None:
        """Stores a run with its status; an empty `started` becomes the present time. Of a run that is stored already, status and settings
        change.
        """
        row = (run.id, run.command, run.prompt, json.dumps(dict(run.settings)), run.status, run.started or _now())
        self._db.write(
            "INSERT INTO run (id, command, prompt, settings, status, started) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET status = excluded.status, settings = excluded.settings, error = ''",
            [row],
        )

    def get(self, id: str) -> Run | None:
        """Returns the run of that id; None where there is none."""
        rows = self._db.query(f"SELECT {_RUN} FROM run r WHERE id = ?", [id])
        return _run(*rows[0]) if rows else None

    def latest(self, limit: int = 50) -> list[Run]:
        """Returns the newest `limit` runs, newest first."""
        return [_run(*row) for row in self._db.query(f"SELECT {_RUN} FROM run r ORDER BY started DESC, number DESC LIMIT ?", [limit])]

    def result(self, id: str) -> dict[str, Any] | None:
        """Returns the result that `finish` stored last; None before that and for an unknown run."""
        rows = self._db.query("SELECT result FROM run WHERE id = ?", [id])
        return json.loads(rows[0][0]) if rows and rows[0][0] is not None else None

    def set_status(self, id: str, status: RunStatus, error: str = "") -> None:
        """Changes the status of a run. `error`: why it failed or is paused. Raises BadInput for an unknown run."""
        self._changed(id, self._db.write("UPDATE run SET status = ?, error = ? WHERE id = ?", [(status, error, id)]))

    def finish(self, id: str, status: RunStatus, result: Mapping[str, Any]) -> None:
        """Changes the status of a run and stores its result. Raises BadInput for an unknown run."""
        sql = "UPDATE run SET status = ?, error = '', result = ? WHERE id = ?"
        self._changed(id, self._db.write(sql, [(status, json.dumps(dict(result)), id)]))

    def spent(self, run: str) -> Spent | None:
        """Returns what the run has spent; None where it has spent nothing yet."""
        rows = self._db.query("SELECT amounts, repeated, seconds, usage FROM spent WHERE run = ?", [run])
        return Spent(json.loads(rows[0][0]), rows[0][1], rows[0][2], json.loads(rows[0][3])) if rows else None

    def record_spent(self, run: str, spent: Spent) -> None:
        """Stores what the run has spent, in place of what was stored before."""
        row = (run, json.dumps(dict(spent.amounts)), spent.repeated, spent.seconds, json.dumps(dict(spent.usage)))
        self._db.write("INSERT OR REPLACE INTO spent (run, amounts, repeated, seconds, usage) VALUES (?, ?, ?, ?, ?)", [row])

    def in_flight(self, run: str) -> set[str]:
        """Returns the ids of the drawings that were begun and not ended."""
        return {row[0] for row in self._db.query("SELECT drawing FROM in_flight WHERE run = ?", [run])}

    def begin(self, run: str, drawings: Iterable[str]) -> None:
        """Stores that these drawings are being made."""
        self._db.write("INSERT OR IGNORE INTO in_flight (run, drawing) VALUES (?, ?)", [(run, drawing) for drawing in drawings])

    def end(self, run: str, drawings: Iterable[str]) -> None:
        """Stores that these drawings are made, or were refused."""
        self._db.write("DELETE FROM in_flight WHERE run = ? AND drawing = ?", [(run, drawing) for drawing in drawings])

    def append_event(self, run: str, event: Mapping[str, Any]) -> None:
        """Stores an event (JSON values) behind the run's others; the first has number 1."""
        sql = "INSERT INTO event (run, number, document) SELECT ?1, coalesce(max(number), 0) + 1, ?2 FROM event WHERE run = ?1"
        self._db.write(sql, [(run, json.dumps(dict(event), ensure_ascii=False))])

    def events(self, run: str, after: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yields (number, event) of the run's events behind number `after`, in order. To follow a run, ask again from the last number."""
        sql = "SELECT number, document FROM event WHERE run = ? AND number > ? ORDER BY number LIMIT ?"
        while rows := self._db.query(sql, [run, after, _PAGE]):
            yield from ((number, json.loads(document)) for number, document in rows)
            after = rows[-1][0]

    def memo(self, run: str, key: str) -> Any:
        """Returns the value stored for the run under `key`; None where there is none."""
        # Versions up to schema 4 stored some of these under the key alone, which holds the run's id.
        rows = self._db.query("SELECT value FROM memo WHERE run IN (?, '') AND key = ? ORDER BY run DESC", [run, key])
        return json.loads(rows[0][0]) if rows else None

    def remember(self, run: str, key: str, value: Any) -> Any:
        """Stores a value (JSON, not None) for the run under `key` where none is stored yet; returns the stored one."""
        with self._db.transaction():
            known = self.memo(run, key)
            if known is None:
                self._db.write("INSERT INTO memo (run, key, value) VALUES (?, ?, ?)", [(run, key, json.dumps(value, ensure_ascii=False))])
            return value if known is None else known

    def remembering(self, key: str) -> list[tuple[Run, Any]]:
        """Returns the runs with a value under `key`, and the value, newest first."""
        sql = f"SELECT m.value, {_RUN} FROM run r JOIN memo m ON m.run = r.id WHERE m.key = ? ORDER BY started DESC, number DESC"
        return [(_run(*row), json.loads(value)) for value, *row in self._db.query(sql, [key])]

    @contextmanager
    def hold(self, name: str, busy: str = "") -> Iterator[None]:
        """Holds the exclusive right to work on a run, among all threads and processes; a process that dies loses it.

        It is a lock on a file in the folder `locks` beside the database; the file exists while it is held. Raises Busy, with `busy` as its
        message, where another thread or process holds it.
        """
        path = self._db.path.parent / LOCKS / f"{quote(name, safe='')}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        held = -1
        while held < 0:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(file, path):  # else whoever held it before took it away meanwhile
                    held = file
            except BlockingIOError:
                raise Busy(busy or f"another process works on {name}; wait for its end, or stop it") from None
            finally:
                if held < 0:
                    os.close(file)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(held)

    def _changed(self, id: str, rows: int) -> None:
        if not rows:
            raise BadInput(f"there is no run {id!r} in {self._db.path}; see `runs list`")


class InFlight:
    """The drawings that a run is making, stored before a batch and removed after it: those that a killed process leaves were paid for.

    `lost`: ids that an earlier process of the run was drawing when it died. An empty `run` stores nothing.
    """

    def __init__(self, db: PromptDB, run: str) -> None:
        self._runs, self._run = Runs(db), run
        self.lost = self._runs.in_flight(run) if run else set()

    def begin(self, ids: Iterable[str]) -> None:
        """Stores that a batch of these drawings is begun."""
        if self._run:
            self._runs.begin(self._run, ids)

    def end(self, ids: Iterable[str]) -> set[str]:
        """Removes the drawings of a batch that is stored or was refused. Returns which of `ids` had been lost before."""
        ended = set(ids)
        if self._run:
            self._runs.end(self._run, ended)
        again = self.lost & ended
        self.lost -= again
        return again


_RUN = "r.id, r.command, r.prompt, r.settings, r.status, r.started, r.error"


def _run(id: str, command: str, prompt: str, settings: str, status: RunStatus, started: str, error: str) -> Run:
    return Run(id, command, prompt, json.loads(settings), status, started, error)


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
