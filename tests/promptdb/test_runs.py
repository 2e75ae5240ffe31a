"""The run store: what is known of a run comes back, in any process; one at a time works on it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from limner.promptdb.errors import BadInput, Busy
from limner.promptdb.records import Run
from limner.promptdb.runs import InFlight, Runs, Spent
from limner.promptdb.store import PromptDB
from tests.commands import ROOT

HOLDING = """
import sys, time
from limner.promptdb.runs import Runs
from limner.promptdb.store import PromptDB
with PromptDB.open(sys.argv[1]) as db, Runs(db).hold("run-1"):
    print("held", flush=True)
    time.sleep(60)
"""

COUNTING = """
import sys
from limner.promptdb.errors import Busy
from limner.promptdb.runs import Runs
from limner.promptdb.store import PromptDB
with PromptDB.open(sys.argv[1]) as db:
    done = 0
    while done < 200:
        try:
            with Runs(db).hold("run-1"):
                with open(sys.argv[2]) as file:
                    number = int(file.read())
                with open(sys.argv[2], "w") as file:
                    file.write(str(number + 1))
                done += 1
        except Busy:
            pass
"""


@pytest.fixture
def db(tmp_path: Path) -> Iterator[PromptDB]:
    with PromptDB.open(tmp_path / "limner.db") as db:
        yield db


@pytest.fixture
def runs(db: PromptDB) -> Runs:
    return Runs(db)


def test_a_run_is_stored_finished_and_listed_newest_first(runs: Runs) -> None:
    runs.start(Run("one", "refine", "a cat", {"steps": 20, "pins": ["cat"]}, started="2026-01-01T00:00:00+00:00"))
    runs.start(Run("two", "optimize", "a dog"))
    assert [run.id for run in runs.latest()] == ["two", "one"]
    assert [run.id for run in runs.latest(limit=1)] == ["two"]
    assert runs.result("one") is None
    runs.finish("one", "done", {"improved": True})
    assert runs.get("one") == Run("one", "refine", "a cat", {"steps": 20, "pins": ["cat"]}, "done", "2026-01-01T00:00:00+00:00")
    assert runs.result("one") == {"improved": True}
    assert runs.get("two").started  # type: ignore[union-attr]
    assert runs.get("three") is None and runs.result("three") is None


def test_a_run_that_is_started_again_is_the_same_run(runs: Runs) -> None:
    runs.start(Run("one", "optimize", "a cat", {"file": "f"}, "waiting", "2026-01-01"))
    runs.set_status("one", "paused", "the server is silent")
    assert (runs.get("one").status, runs.get("one").error) == ("paused", "the server is silent")  # type: ignore[union-attr]
    runs.start(Run("one", "optimize", "a cat", {"file": "f", "prompts": ["a cat"]}, started="2027-01-01"))
    assert runs.get("one") == Run("one", "optimize", "a cat", {"file": "f", "prompts": ["a cat"]}, "running", "2026-01-01")
    assert len(runs.latest()) == 1


def test_a_run_that_was_never_started_has_no_status(runs: Runs) -> None:
    with pytest.raises(BadInput, match="no run 'x'"):
        runs.finish("x", "done", {})
    with pytest.raises(BadInput, match="no run 'x'"):
        runs.set_status("x", "paused")


def test_what_was_spent_is_replaced_and_keeps_numbers_as_they_are(runs: Runs) -> None:
    assert runs.spent("run") is None
    runs.record_spent("run", Spent({"images": 2}))
    spent = Spent({"images": 3, "unet_rows": 0.1 + 0.2}, 4, 1.5, {"calls": 2, "cost_usd": None})
    runs.record_spent("run", spent)
    assert runs.spent("run") == spent and isinstance(runs.spent("run").amounts["images"], int)  # type: ignore[union-attr]


def test_a_process_that_dies_leaves_what_it_was_drawing(db: PromptDB) -> None:
    first = InFlight(db, "run")
    first.begin(["a", "b"])
    again, other = InFlight(db, "run"), InFlight(db, "other")
    assert again.lost == {"a", "b"} and other.lost == set()
    again.begin(["b", "c"])
    assert again.end(["b", "c"]) == {"b"} and again.lost == {"a"}
    assert InFlight(db, "run").lost == {"a"}
    unnamed = InFlight(db, "")
    unnamed.begin(["x"])
    assert InFlight(db, "").lost == set()


def test_events_are_numbered_from_one_and_read_from_any_number(runs: Runs) -> None:
    for number in range(1, 1202):
        runs.append_event("run", {"event": number})
    runs.append_event("other", {"event": "é"})
    assert list(runs.events("run")) == [(number, {"event": number}) for number in range(1, 1202)]
    assert list(runs.events("run", 1200)) == [(1201, {"event": 1201})]
    assert list(runs.events("run", 1201)) == [] and list(runs.events("other")) == [(1, {"event": "é"})]


def test_the_first_value_that_a_run_remembers_stays(runs: Runs) -> None:
    assert runs.memo("run", "key") is None
    assert runs.remember("run", "key", {"rows": 0.1}) == {"rows": 0.1}
    assert runs.remember("run", "key", 7) == runs.memo("run", "key") == {"rows": 0.1}
    assert runs.remember("other", "key", 7) == 7
    runs.start(Run("other", "refine", "a cat"))
    assert [(run.id, value) for run, value in runs.remembering("key")] == [("other", 7)]


def test_one_at_a_time_works_on_a_run_and_its_file_is_gone_afterwards(runs: Runs, tmp_path: Path) -> None:
    refused = []

    def ask() -> None:
        try:
            with runs.hold("run-1"):
                pass
        except Busy as error:
            refused.append(str(error))

    with runs.hold("run-1"), runs.hold("run-2"), runs.hold("../run"):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        ask()
        with pytest.raises(Busy, match=r"^in work$"), runs.hold("run-2", "in work"):
            pass
    assert refused == ["another process works on run-1; wait for its end, or stop it"] * 2
    assert [file.name for file in tmp_path.rglob("*") if file.is_file() and "limner.db" not in file.name] == []
    ask()
    assert len(refused) == 2


def test_a_process_that_is_killed_holds_nothing(runs: Runs, db: PromptDB) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLDING, str(db.path)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    with pytest.raises(Busy), runs.hold("run-1"):
        pass
    process.kill()
    assert process.wait() == -signal.SIGKILL
    with runs.hold("run-1"):
        pass


def test_processes_that_take_turns_never_work_together(db: PromptDB, tmp_path: Path) -> None:
    """The file is removed by whoever has held it, while others open it: none of them may take a removed file for the lock."""
    number = tmp_path / "number"
    number.write_text("0")
    arguments = [sys.executable, "-c", COUNTING, str(db.path), str(number)]
    processes = [subprocess.Popen(arguments, cwd=ROOT) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert number.read_text() == "600"
