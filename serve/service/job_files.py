"""What is kept of jobs, so that they outlive the server: in OUT/jobs a folder for each, with its record, its prompts and its events.

Records are replaced whole; events are appended, and a line that a kill cut in half is dropped. Runs nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

from promptdb.errors import BadInput

State = Literal["waiting", "running", "paused", "stopped", "done", "failed"]

FOLDER = "jobs"
_RECORD, _EVENTS, PROMPTS = "job.json", "events.jsonl", "prompts.jsonl"


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job. `id`: of the run that it is. `settings`, `learning`: as JSON. `error`: why it failed, or waits to be resumed."""

    id: str
    state: State
    created: str
    settings: dict[str, Any]
    learning: dict[str, Any]
    instruction: str = ""
    prompts: int = 0
    error: str = ""


class JobFiles:
    """The jobs below `out`. Raises BadInput where another server has them."""

    def __init__(self, out: Path) -> None:
        self.folder = out / FOLDER
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / "lock").open("w")
        except OSError as error:
            raise BadInput(f"{self.folder} cannot be used ({error.strerror}); choose another folder with --out") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise BadInput(f"another server runs the jobs in {self.folder}; stop it, or give another --out") from error

    def close(self) -> None:
        self._lock.close()

    def prompts(self, id: str) -> Path:
        return self.folder / id / PROMPTS

    def create(self, record: JobRecord, prompts: Sequence[Mapping[str, Any]]) -> None:
        (self.folder / record.id).mkdir()
        text = "".join(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in prompts)
        self.prompts(record.id).write_text(text, encoding="utf-8")
        self.save(record)

    def save(self, record: JobRecord) -> None:
        path = self.folder / record.id / _RECORD
        half = path.with_suffix(".part")
        half.write_text(json.dumps(asdict(record), ensure_ascii=False), encoding="utf-8")
        os.replace(half, path)

    def load(self) -> list[JobRecord]:
        """All jobs, oldest first; what is not readable is passed by."""
        found = []
        for path in sorted(self.folder.glob(f"*/{_RECORD}")):
            with suppress(OSError, ValueError, TypeError):
                found.append(JobRecord(**json.loads(path.read_text(encoding="utf-8"))))
        return sorted(found, key=lambda record: (record.created, record.id))

    def open_events(self, id: str) -> IO[bytes]:
        """The file to append events to."""
        path = self.folder / id / _EVENTS
        data = path.read_bytes() if path.exists() else b""
        whole = data.rfind(b"\n") + 1
        file = path.open("ab")
        file.truncate(whole)
        return file

    def events(self, id: str, after: int) -> EventReader:
        return EventReader(self.folder / id / _EVENTS, after)


class EventReader:
    """Reads a growing file of events from number `after` on (numbers begin at 1); each event once."""

    def __init__(self, path: Path, after: int) -> None:
        self._path, self._after = path, after
        self._number = self._place = 0

    def new(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(number, event) of those that are there and were not read before."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._place)
            while (line := file.readline()).endswith(b"\n"):
                self._place = file.tell()
                self._number += 1
                if self._number > self._after:
                    yield self._number, json.loads(line)
