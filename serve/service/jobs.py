"""Jobs: `optimize` runs that go on without a client, and after a restart of the server.

A job is a run of the run store with the memo `job`, and its status is the run's. One is in work at a time, in the queue that is passed;
pausing, stopping and resuming are those of any run. Every event is stored with a number, so that a client that comes later, or comes back,
gets all of them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, cast

from limner.graph.events import Event
from limner.graph.plan import LearningSettings
from limner.graph.runner import Control, new_run_id
from limner.graph.settings import Settings
from limner.promptdb import earlier
from limner.promptdb.errors import BadInput, ServerAway, Stopped
from limner.promptdb.errors import Busy as AtWork
from limner.promptdb.files.prompt_file import BatchPrompt
from limner.promptdb.records import Run, RunStatus
from limner.promptdb.runs import Runs
from limner.promptdb.store import PromptDB
from limner.serve.commands import optimize
from limner.serve.service.queue import Busy, WorkQueue

State = Literal["waiting", "running", "paused", "stopped", "done", "failed"]

MEMO, PROMPTS = "job", "prompts"
"""Memos of a job's run: that it is a job, with the count of its prompts; and the prompts, as rows."""
FILE = "prompts.jsonl"


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as clients see it. `id`: that of its run. `settings`: as JSON. `prompts`: how many. `error`: why it failed or is paused."""

    id: str
    state: State
    created: str
    settings: Mapping[str, Any]
    prompts: int = 0
    error: str = ""


Listener = Callable[[], object]


class Jobs:
    """The jobs of a database, worked on in `queue`. Those that were in work when the last server ended go on at once.

    Raises BadInput where another server runs them.
    """

    def __init__(self, settings: Settings, queue: WorkQueue, db: PromptDB) -> None:
        self._settings, self._queue, self._db = settings, queue, db
        self._runs = Runs(db)
        self._controls: dict[str, Control] = {}
        """Controls of the jobs in work."""
        self._asked: dict[str, RunStatus] = {}
        """The state that a job in work was asked to take."""
        self._watchers: dict[str, list[Listener]] = {}
        self._lock = threading.RLock()
        self._closing = False
        self._held = ExitStack()
        busy = f"another server runs the jobs of {db.path}; stop it, or give another --out or --db"
        self._held.enter_context(self._runs.hold("jobs of the server", busy))
        try:
            self._take_over()
            for record in reversed(self.all()):
                if record.state in ("running", "waiting"):
                    try:
                        self._line_up(record.id, record.id)
                    except Busy as error:
                        self._settle(record.id, "paused", str(error))
        except BaseException:
            self._held.close()
            raise

    def create(
        self, client: str, settings: Settings, learning: LearningSettings, prompts: Iterable[BatchPrompt], instruction: str
    ) -> JobRecord:
        """Stores a new job, which waits for its turn; returns it. Raises Busy."""
        rows = [{"prompt": prompt.text, "pins": list(prompt.pins)} for prompt in prompts]
        id, now = new_run_id(optimize.COMMAND), datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._lock:
            self._add(id, now, "waiting", settings.to_json(), learning.to_json(), instruction, rows)
            try:
                self._line_up(id, client)
            except BaseException as error:
                self._settle(id, "interrupted", str(error))
                raise
            return self._known(id)

    def all(self) -> list[JobRecord]:
        """Returns all jobs, newest first."""
        return [self._record(run, memo) for run, memo in self._runs.remembering(MEMO)]

    def get(self, id: str) -> JobRecord | None:
        """Returns the job of that id; None where there is none."""
        run, memo = self._runs.get(id), self._runs.memo(id, MEMO)
        return self._record(run, memo) if run and memo else None

    def halt(self, id: str, state: State) -> JobRecord:
        """Pauses or stops (`state`) a job that waits or is in work; what it has stored stays. A job that has ended is not changed."""
        with self._lock:
            if self._known(id).state in ("waiting", "running", "paused", "stopped"):
                self._settle(id, "interrupted" if state == "stopped" else "paused")
                if control := self._controls.get(id):
                    control.request_drain(state)
            return self._known(id)

    def resume(self, id: str, client: str) -> JobRecord:
        """Resumes a job that is paused, stopped or failed. Raises Busy."""
        with self._lock:
            if self._known(id).state in ("paused", "stopped", "failed"):
                self._line_up(id, client)
            return self._known(id)

    def events(self, id: str, after: int = 0) -> Iterator[tuple[int, Event]]:
        """Yields (number, event) of the job's events behind number `after`, in order."""
        return cast(Iterator[tuple[int, Event]], self._runs.events(id, after))

    def watch(self, id: str, listener: Listener) -> Callable[[], None]:
        """Calls `listener`, from any thread, when there are new events; returns the function that ends this."""
        with self._lock:
            self._watchers.setdefault(id, []).append(listener)

        def end() -> None:
            with self._lock, suppress(ValueError):
                self._watchers[id].remove(listener)

        return end

    def close(self) -> None:
        """Stops the job in work within a denoising step; it goes on when the next server starts."""
        with self._lock:
            self._closing = True
            for id, control in self._controls.items():
                self._asked.setdefault(id, "waiting")
                control.request_drain("the server ends")
        self._queue.close()
        self._held.close()

    def _take_over(self) -> None:
        """Moves the jobs that an earlier version stored in files below the folder of runs into the run store.

        Their state is later than that of the run, and replaces it.
        """
        for folder, record, prompts, events in earlier.jobs(self._settings.folder):
            id, instruction = str(record["id"]), str(record.get("instruction", ""))
            status: RunStatus = "interrupted" if record["state"] == "stopped" else record["state"]
            with self._db.transaction():
                if self._runs.get(id) is None:
                    self._add(id, record["created"], status, record["settings"], record["learning"], instruction, prompts)
                else:
                    self._runs.remember(id, MEMO, {"prompts": len(prompts)})
                self._runs.set_status(id, status, str(record.get("error", "")))
                for event in events:
                    self._runs.append_event(id, event)
            earlier.remove_job(folder)

    def _add(
        self,
        id: str,
        created: str,
        status: RunStatus,
        settings: Mapping[str, Any],
        learning: Mapping[str, Any],
        instruction: str,
        prompts: list[Any],
    ) -> None:
        document = {**settings, "learning": learning, "file": FILE, "limit": None, "instruction": instruction}
        with self._db.transaction():
            self._runs.start(Run(id, optimize.COMMAND, FILE, document, status, created))
            self._runs.remember(id, MEMO, {"prompts": len(prompts)})
            self._runs.remember(id, PROMPTS, prompts)

    def _known(self, id: str) -> JobRecord:
        record = self.get(id)
        assert record is not None, f"there is no job {id}"
        return record

    def _record(self, run: Run, memo: Mapping[str, Any]) -> JobRecord:
        at_work = run.id in self._controls  # the run's own status may be ahead: the status after an error is decided when its work returns
        status = self._asked.get(run.id, "running") if at_work else run.status
        state: State = "stopped" if status == "interrupted" else status
        return JobRecord(run.id, state, run.started, run.settings, memo["prompts"], run.error)

    def _line_up(self, id: str, client: str) -> None:
        with self._lock:  # otherwise its turn could come before it is known to be waiting
            self._queue.submit(client, lambda: self._work(id))
            self._settle(id, "waiting")

    def _settle(self, id: str, status: RunStatus, error: str = "") -> None:
        with self._lock:
            self._runs.set_status(id, status, error)
            if id in self._controls:
                self._asked[id] = status
        self._tell(id)

    def _work(self, id: str) -> None:
        with self._lock:
            if self._known(id).state != "waiting" or id in self._controls or self._closing:
                return
            self._settle(id, "running")
            control = self._controls[id] = Control()
        ended, error = self._run(id, control)
        with self._lock:
            del self._controls[id]
            asked = self._asked.pop(id, None)
            if status := ended or asked:
                self._runs.set_status(id, status, error)
        self._tell(id)

    def _run(self, id: str, control: Control) -> tuple[RunStatus | None, str]:
        """The status that the run ends with, None where it was stopped, and the reason where there is one."""
        run = self._runs.get(id)
        assert run is not None
        settings = replace(Settings.from_json(run.settings), out=self._settings.out, db=self._settings.db)

        def show(events: Iterable[Event]) -> None:
            for event in events:
                self._runs.append_event(id, event)
                self._tell(id)

        try:
            if "prompts" in run.settings:
                optimize.resume(settings, id, show, control, self._queue.models)
            else:
                self._begin(settings, run, show, control)
        except Stopped:
            return None, ""
        except (ServerAway, AtWork) as error:
            return "paused", str(error)
        except BadInput as error:
            return "failed", str(error)
        except Exception:
            logging.getLogger(__name__).exception("job %s failed", id)
            return "failed", "an error in the server, which its log tells"
        return "done", ""

    def _begin(self, settings: Settings, run: Run, show: optimize.Show, control: Control) -> None:
        learning = LearningSettings.from_json(run.settings["learning"])
        prompts = [BatchPrompt(row["prompt"], tuple(row["pins"])) for row in self._runs.memo(run.id, PROMPTS)]
        optimize.optimize(settings, learning, prompts, None, show, control, str(run.settings["instruction"]), run.id, self._queue.models)

    def _tell(self, id: str) -> None:
        with self._lock:
            for listener in self._watchers.get(id, ()):
                with suppress(RuntimeError):  # of a listener whose loop has ended; the job does not end with it
                    listener()
