"""What becomes of a job: which go on when a server starts, where each goes on from, and what its end, a person's word and the server's
end make of it. The store, the queue and the jobs are real; what a run would do is scripted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")

from limner.graph.plan import LearningSettings
from limner.graph.runner import Control
from limner.graph.settings import Settings
from limner.promptdb.errors import BadInput, Busy, ServerAway, Stopped
from limner.promptdb.files.prompt_file import BatchPrompt
from limner.promptdb.records import RunStatus
from limner.promptdb.runs import Runs
from limner.promptdb.store import PromptDB
from limner.serve.commands import optimize
from limner.serve.service.jobs import JobRecord, Jobs, State
from limner.serve.service.queue import WorkQueue

PROMPTS = [BatchPrompt("a cat", ("cat",)), BatchPrompt("a dog")]
SECONDS = 6.0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@dataclass
class Work:
    """What runs do instead of drawing. `ends`: what is raised, or None; `waits`: whether they go on until they are asked to stop, or
    `go` is set. `calls`: (begun or resumed, id)."""

    ends: BaseException | None = None
    waits: bool = False
    go: threading.Event = field(default_factory=threading.Event)
    calls: list[tuple[str, str]] = field(default_factory=list)
    begun_with: list[Any] = field(default_factory=list)

    def optimize(
        self, settings: Any, learning: Any, source: Any, limit: Any, show: Any, control: Control, text: str, id: str, pool: Any
    ) -> Any:
        self.calls.append(("begun", id))
        self.begun_with.append((list(source), learning, text))
        return self._work(control)

    def resume(self, settings: Any, id: str, show: Any, control: Control, pool: Any) -> Any:
        self.calls.append(("resumed", id))
        return self._work(control)

    def _work(self, control: Control) -> Any:
        until(lambda: not self.waits or control.drain_requested or self.go.is_set())
        if control.drain_requested:
            raise Stopped("stopped")
        if self.ends:
            raise self.ends
        return {}


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    scripted = Work()
    monkeypatch.setattr(optimize, "optimize", scripted.optimize)
    monkeypatch.setattr(optimize, "resume", scripted.resume)
    return scripted


@contextmanager
def server(folder: Path, waiting: int = 9) -> Iterator[Jobs]:
    """The jobs of a folder, as a server has them until it ends."""
    with PromptDB.open(folder / "limner.db") as db:
        jobs = Jobs(Settings(out=str(folder)), WorkQueue("jobs", waiting, 9), db)
        try:
            yield jobs
        finally:
            jobs.close()


def created(jobs: Jobs, folder: Path) -> str:
    return jobs.create("somebody", Settings(out=str(folder)), LearningSettings(), PROMPTS, "Write well.").id


def stored(folder: Path, id: str) -> tuple[RunStatus, str]:
    with PromptDB.open(folder / "limner.db") as db:
        run = Runs(db).get(id)
        assert run is not None
        return run.status, run.error


def left_behind(folder: Path, work: Work, status: RunStatus, has_begun: bool) -> str:
    """A job as a server leaves it that was killed. `has_begun`: its run has stored the prompts that it drew."""
    with server(folder) as jobs:
        id = created(jobs, folder)
        until(lambda: jobs.get(id).state == "done")  # type: ignore[union-attr]
    with PromptDB.open(folder / "limner.db") as db:
        run = Runs(db).get(id)
        assert run is not None
        more = {"prompts": [{"text": "a cat", "pins": []}]} if has_begun else {}
        Runs(db).start(replace(run, status=status, settings={**run.settings, **more}))
    work.calls.clear()
    work.begun_with.clear()
    return id


@pytest.mark.parametrize(
    ("status", "has_begun", "call"),
    [
        ("waiting", False, "begun"),
        ("waiting", True, "resumed"),
        ("running", False, "begun"),
        ("running", True, "resumed"),
        ("paused", False, None),
        ("paused", True, None),
        ("interrupted", True, None),
        ("failed", True, None),
        ("done", True, None),
    ],
)
def test_which_jobs_go_on_when_a_server_starts(tmp_path: Path, work: Work, status: RunStatus, has_begun: bool, call: str | None) -> None:
    id = left_behind(tmp_path, work, status, has_begun)
    with server(tmp_path) as jobs:
        if call:
            until(lambda: jobs.get(id).state == "done")  # type: ignore[union-attr]
    assert work.calls == ([(call, id)] if call else [])
    assert stored(tmp_path, id)[0] == ("done" if call else status)
    if call == "begun":
        assert work.begun_with == [(PROMPTS, LearningSettings(), "Write well.")]


def test_those_that_go_on_keep_their_order(tmp_path: Path, work: Work) -> None:
    work.waits = True
    with server(tmp_path) as jobs:
        ids = [created(jobs, tmp_path) for _ in range(3)]
    work.waits = False
    work.calls.clear()
    with server(tmp_path) as jobs:
        until(lambda: all(jobs.get(id).state == "done" for id in ids))  # type: ignore[union-attr]
    assert [id for _, id in work.calls] == ids


def test_those_that_find_no_place_when_a_server_starts_are_paused(tmp_path: Path, work: Work) -> None:
    work.waits = True
    with server(tmp_path) as jobs:
        ids = [created(jobs, tmp_path) for _ in range(2)]
    with server(tmp_path, waiting=1) as jobs:
        assert [jobs.get(id).state == "paused" for id in ids] == [False, True]  # type: ignore[union-attr]
    assert stored(tmp_path, ids[1])[0] == "paused" and "waiting already" in stored(tmp_path, ids[1])[1]


@pytest.mark.parametrize(
    ("ends", "status", "error"),
    [
        (None, "done", ""),
        (ServerAway("the chat server is silent"), "paused", "the chat server is silent"),
        (Busy("another process works on it"), "paused", "another process works on it"),
        (BadInput("no such selector"), "failed", "no such selector"),
        (RuntimeError("a secret path"), "failed", "an error in the server, which its log tells"),
    ],
)
def test_how_a_job_ends(tmp_path: Path, work: Work, ends: BaseException | None, status: RunStatus, error: str) -> None:
    work.ends = ends
    with server(tmp_path) as jobs:
        id = created(jobs, tmp_path)
        until(lambda: jobs.get(id).state not in ("waiting", "running"))  # type: ignore[union-attr]
    assert stored(tmp_path, id) == (status, error)


ASKED: dict[str, Callable[[Jobs, str], JobRecord | None]] = {
    "nothing": lambda jobs, id: None,
    "pause": lambda jobs, id: jobs.halt(id, "paused"),
    "stop": lambda jobs, id: jobs.halt(id, "stopped"),
    "resume": lambda jobs, id: jobs.resume(id, "somebody"),
}


@pytest.mark.parametrize(
    ("asked", "status", "goes_on"),
    [
        (["nothing"], "waiting", True),
        (["pause"], "paused", False),
        (["stop"], "interrupted", False),
        (["resume"], "waiting", True),
        (["pause", "stop"], "interrupted", False),
        (["stop", "pause"], "paused", False),
        (["pause", "resume"], "waiting", True),
        (["stop", "resume"], "waiting", True),
    ],
)
def test_what_the_end_of_a_server_makes_of_the_job_at_work(
    tmp_path: Path, work: Work, asked: list[str], status: RunStatus, goes_on: bool
) -> None:
    """It goes on with the next server, unless a person had paused or stopped it."""
    work.waits = True
    with server(tmp_path) as jobs:
        id = created(jobs, tmp_path)
        until(lambda: len(work.calls) == 1)
        for action in asked:
            ASKED[action](jobs, id)
    assert stored(tmp_path, id) == (status, "")
    work.waits = False
    before = len(work.calls)
    with server(tmp_path) as jobs:
        if goes_on:
            until(lambda: jobs.get(id).state == "done")  # type: ignore[union-attr]
    assert len(work.calls) - before == goes_on


@pytest.mark.parametrize(
    ("status", "action", "state"),
    [
        ("paused", "pause", "paused"),
        ("paused", "stop", "stopped"),
        ("interrupted", "pause", "paused"),
        ("interrupted", "stop", "stopped"),
        ("done", "pause", "done"),
        ("done", "stop", "done"),
        ("failed", "pause", "failed"),
        ("failed", "stop", "failed"),
        ("done", "resume", "done"),
        ("paused", "resume", "waiting"),
        ("interrupted", "resume", "waiting"),
        ("failed", "resume", "waiting"),
    ],
)
def test_what_a_person_makes_of_a_job_at_rest(tmp_path: Path, work: Work, status: RunStatus, action: str, state: State) -> None:
    id = left_behind(tmp_path, work, status, True)
    work.waits = True
    with server(tmp_path) as jobs:
        record = ASKED[action](jobs, id)
        assert record is not None and (record.state == state or (state == "waiting" and record.state == "running"))
        if state == "waiting":
            until(lambda: work.calls == [("resumed", id)])
        work.go.set()
    assert work.calls == ([("resumed", id)] if state == "waiting" else [])


def test_a_job_that_waits_is_paused_and_passed_by(tmp_path: Path, work: Work) -> None:
    work.waits = True
    with server(tmp_path) as jobs:
        first, second = created(jobs, tmp_path), created(jobs, tmp_path)
        until(lambda: work.calls == [("begun", first)])
        assert jobs.halt(second, "paused").state == "paused" and jobs.get(first).state == "running"  # type: ignore[union-attr]
        work.go.set()
        until(lambda: jobs.get(first).state == "done")  # type: ignore[union-attr]
        jobs.resume(second, "somebody")
        until(lambda: jobs.get(second).state == "done")  # type: ignore[union-attr]
    assert work.calls == [("begun", first), ("begun", second)]


def test_a_job_that_finds_no_place_is_refused_and_kept_as_stopped(tmp_path: Path, work: Work) -> None:
    from limner.serve.service.queue import Busy as Full

    work.waits = True
    with server(tmp_path, waiting=1) as jobs:
        created(jobs, tmp_path)
        with pytest.raises(Full):
            created(jobs, tmp_path)
        assert sorted(record.state for record in jobs.all()) in (["running", "stopped"], ["stopped", "waiting"])
