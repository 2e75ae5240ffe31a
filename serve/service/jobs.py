"""Jobs: `optimize` runs that go on while nobody looks, and after the server was started again.

A job is a run, and its id the run's. One is at work at a time, in the queue it is given; pausing, stopping and resuming are those of any
run. Every event is written down with a number, so that whoever comes later, or comes back, is told all of it.

What is kept of jobs, so that they outlive the server: in OUT/jobs a folder for each, with its record, its prompts and its events.

Records are replaced whole; events are appended, and a line that a kill cut in half is dropped. Runs nothing.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

from limner.graph.events import Event
from limner.graph.plan import LearningSettings
from limner.graph.runner import Control, new_run_id
from limner.graph.settings import Settings
from limner.promptdb.errors import BadInput, ServerAway, Stopped
from limner.promptdb.files.prompt_file import BatchPrompt
from limner.promptdb.store import PromptDB
from limner.serve.commands import optimize
from limner.serve.service.queue import Busy, WorkQueue

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

    def new(self) -> Iterator[tuple[int, Event]]:
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


Told = Callable[[], object]


class Jobs:
    """The jobs below `settings.out`, worked on in `queue`. Those that were at work when the last server ended go on at once."""

    def __init__(self, settings: Settings, queue: WorkQueue) -> None:
        self._settings, self._queue = settings, queue
        self._files = JobFiles(settings.folder)
        self._records = {record.id: record for record in self._files.load()}
        self._controls: dict[str, Control] = {}
        self._watchers: dict[str, list[Told]] = {}
        self._lock = threading.RLock()
        self._closing = False
        for record in list(self._records.values()):
            if record.state in ("running", "waiting"):
                try:
                    self._line_up(record.id, record.id)
                except Busy as error:
                    self._settle(record.id, "paused", str(error))

    def create(
        self, client: str, settings: Settings, learning: LearningSettings, prompts: Iterable[BatchPrompt], instruction: str
    ) -> JobRecord:
        """A new job, waiting for its turn. Raises Busy."""
        rows = [{"prompt": prompt.text, "pins": list(prompt.pins)} for prompt in prompts]
        id, now = new_run_id(optimize.COMMAND), datetime.now(UTC).isoformat(timespec="milliseconds")
        record = JobRecord(id, "waiting", now, settings.to_json(), learning.to_json(), instruction, len(rows))
        with self._lock:
            self._files.create(record, rows)
            self._records[id] = record
            try:
                self._line_up(id, client)
            except BaseException as error:
                self._settle(id, "stopped", str(error))
                raise
            return self._records[id]

    def all(self) -> list[JobRecord]:
        """Newest first."""
        with self._lock:
            return sorted(self._records.values(), key=lambda record: record.created, reverse=True)

    def get(self, id: str) -> JobRecord | None:
        with self._lock:
            return self._records.get(id)

    def halt(self, id: str, state: State) -> JobRecord:
        """Pause or stop (`state` says which) a job that waits or works; everything so far is kept. One that has ended stays as it is."""
        with self._lock:
            record = self._records[id]
            if record.state in ("waiting", "running", "paused", "stopped"):
                self._settle(id, state)
                if control := self._controls.get(id):
                    control.request_drain(state)
            return self._records[id]

    def resume(self, id: str, client: str) -> JobRecord:
        """Go on with a job that is paused, stopped or failed. Raises Busy."""
        with self._lock:
            if self._records[id].state in ("paused", "stopped", "failed"):
                self._line_up(id, client)
            return self._records[id]

    def events(self, id: str, after: int = 0) -> EventReader:
        """Those behind number `after`."""
        return self._files.events(id, after)

    def watch(self, id: str, told: Told) -> Callable[[], None]:
        """`told` is called, from any thread, when there are new events; returns how to end that."""
        with self._lock:
            self._watchers.setdefault(id, []).append(told)

        def end() -> None:
            with self._lock, suppress(ValueError):
                self._watchers[id].remove(told)

        return end

    def close(self) -> None:
        """Whatever works is stopped within a step and goes on when the next server starts."""
        with self._lock:
            self._closing = True
            for control in self._controls.values():
                control.request_drain("the server ends")
        self._queue.close()
        self._files.close()

    def _line_up(self, id: str, client: str) -> None:
        with self._lock:  # or its turn could come before it is known to be waiting, and pass by
            self._queue.submit(client, lambda: self._work(id))
            self._settle(id, "waiting")

    def _settle(self, id: str, state: State, error: str = "") -> None:
        with self._lock:
            self._records[id] = replace(self._records[id], state=state, error=error)
            self._files.save(self._records[id])
        self._tell(id)

    def _work(self, id: str) -> None:
        with self._lock:
            record = self._records[id]
            if record.state != "waiting" or id in self._controls or self._closing:
                return
            control = self._controls[id] = Control()
            self._settle(id, "running")
        state, error = self._run(record, control)
        with self._lock:
            del self._controls[id]
            if self._closing and state == "stopped":
                return  # its record says "running", so that it goes on with the next server
            wanted = self._records[id].state
            # While it was ending, a person may have paused it, or asked for it to go on again: then it stands in line already.
            self._settle(id, state if state != "stopped" or wanted == "running" else wanted, error)

    def _run(self, record: JobRecord, control: Control) -> tuple[State, str]:
        """How it ended, and why where that needs words."""
        settings = replace(Settings.from_json(record.settings), out=self._settings.out, db=self._settings.db)
        file = self._files.open_events(record.id)

        def show(events: Iterable[Event]) -> None:
            for event in events:
                file.write(json.dumps(event, ensure_ascii=False).encode() + b"\n")
                file.flush()
                self._tell(record.id)

        try:
            if self._begun(record.id):
                optimize.resume(settings, record.id, show, control, self._queue.models)
            else:
                learning = LearningSettings.from_json(record.learning)
                prompts: Path = self._files.prompts(record.id)
                optimize.optimize(settings, learning, prompts, None, show, control, record.instruction, record.id, self._queue.models)
        except Stopped:
            return "stopped", ""
        except ServerAway as error:
            return "paused", str(error)
        except BadInput as error:
            return "failed", str(error)
        except Exception:
            logging.getLogger(__name__).exception("job %s failed", record.id)
            return "failed", "an error in the server, which its log tells"
        finally:
            file.close()
        return "done", ""

    def _begun(self, id: str) -> bool:
        if not self._settings.database.exists():
            return False
        with PromptDB.open(self._settings.database) as db:
            return db.run(id) is not None

    def _tell(self, id: str) -> None:
        with self._lock:
            for told in self._watchers.get(id, ()):
                with suppress(RuntimeError):  # of a listener whose loop has ended; the job does not end with it
                    told()
