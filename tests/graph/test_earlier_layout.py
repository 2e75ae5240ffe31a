"""Runs and conversations of versions that kept them in files beside the database go on in this one, or are refused in one line."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from limner.graph.chat.threads import Chats
from limner.graph.resume import reopened
from limner.graph.runner import optimize_state, refine_state, stream_optimize, stream_refine
from limner.graph.settings import Settings
from limner.promptdb.errors import BadInput
from limner.promptdb.runs import Runs
from limner.promptdb.store import PromptDB
from tests.doubles import FakeImageModel
from tests.faults.test_killed_optimize import killed_after
from tests.graph.chat.chat_stage import services, talk
from tests.graph.earlier_layout import as_before, files_of_before
from tests.graph.optimize.optimize_stage import taste
from tests.graph.optimize.slow_optimize import slow_optimize_stage
from tests.graph.slow_run import slow_stage
from tests.graph.stage import likes, refined, run_of
from tests.graph.test_runner import signalled


def test_a_refine_run_that_was_killed_goes_on_as_if_undisturbed(tmp_path: Path) -> None:
    whole = slow_stage(tmp_path / "whole", FakeImageModel(likes("sharp")))
    undisturbed, _ = refined(whole)
    for attempt in range(5):  # a kill between two batches leaves no note of what was in flight
        folder = tmp_path / f"killed-{attempt}"
        signalled(folder, 5, signal.SIGKILL)
        as_before(folder)
        if "images/in-flight" in files_of_before(folder):
            break
    assert files_of_before(folder) == ["images/in-flight", "limner.threads.db", "run-1/spent.json"]
    model = FakeImageModel(likes("sharp"))
    context = slow_stage(folder, model)
    events = list(stream_refine(context, run_of(context)))
    assert events[0]["resumed"] and refine_state(context, "run-1")["outcome"] == undisturbed["outcome"]
    assert context.evaluator.budget.spent == whole.evaluator.budget.spent
    assert 1 <= context.evaluator.budget.repeated <= model.bucket
    assert context.chat.asked == 0  # type: ignore[attr-defined]
    assert files_of_before(folder) == []


def test_an_optimize_run_that_was_killed_goes_on_as_if_undisturbed(tmp_path: Path) -> None:
    whole, run, start = slow_optimize_stage(tmp_path / "whole", FakeImageModel(taste))
    list(stream_optimize(whole, run, start))
    folder = tmp_path / "killed"
    killed_after(folder, 40)
    as_before(folder)
    context, run, start = slow_optimize_stage(folder, FakeImageModel(taste))
    events = list(stream_optimize(context, run, start))
    assert events[0]["resumed"] and optimize_state(context, "run-1")["outcome"] == optimize_state(whole, "run-1")["outcome"]
    used = context.evaluator.budget.used()
    assert used["images"] - used["repeated"] <= whole.evaluator.budget.spent["images"]
    assert files_of_before(folder) == []


def test_a_run_that_was_done_is_told(tmp_path: Path) -> None:
    context = slow_stage(tmp_path, FakeImageModel(likes("sharp")))
    refined(context)
    Runs(context.db).finish("run-1", "done", {"improved": True})
    for db in (context.db, context.evaluator.budget.runs._db):  # type: ignore[attr-defined]
        db.close()
    as_before(tmp_path)
    run, settings, document = reopened(Settings(out=str(tmp_path)), "run-1", "refine")
    assert run.status == "done" and document == {"improved": True} and settings.heldout_seeds == 6


def test_a_conversation_goes_on_where_it_was_with_what_it_may_still_draw(tmp_path: Path) -> None:
    first = Chats(services(tmp_path))
    thread = first.start(cap=24)
    before = talk(first, thread, "a red car on a beach", "pin red car")[-1]
    first.services.close()
    as_before(tmp_path)
    (tmp_path / thread / "turn.lock").touch()
    second = Chats(services(tmp_path))
    view = second.view(thread)
    assert {name: view[name] for name in ("request", "contract", "images", "cap")} == {
        name: before[name] for name in ("request", "contract", "images", "cap")
    }
    assert view["used"]["images"] == before["used"]["images"] == 8
    assert talk(second, thread, "make it blue")[-1]["used"]["images"] == 16
    assert files_of_before(tmp_path) == []


def test_what_a_search_could_spend_when_it_began_is_remembered(tmp_path: Path) -> None:
    with PromptDB.open(tmp_path / "limner.db") as db:
        Runs(db).remember("run-1", "a hash that names the run", 96.0)
        db.add_answer("asked", "stub", "{}")
    as_before(tmp_path)
    with PromptDB.open(tmp_path / "limner.db") as db:
        assert Runs(db).remember("run-1", "a hash that names the run", 12.0) == 96.0
        assert db.stored_answer("a hash that names the run") is None and db.stored_answer("asked") == "{}"


def test_gradients_paid_for_are_told_from_gradients_taken(tmp_path: Path) -> None:
    with PromptDB.open(tmp_path / "limner.db") as db:
        db.add_answer("begun", "gradient", "23.5")
        db.add_answer("taken", "gradient", '{"rows": 23.5}')
    as_before(tmp_path)
    with PromptDB.open(tmp_path / "limner.db") as db:
        assert Runs(db).memo("run-1", "begun") == 23.5 and db.stored_answer("begun") is None
        assert db.stored_answer("taken") == '{"rows": 23.5}'


def test_a_damaged_file_of_checkpoints_is_refused_in_one_line_and_everything_left_as_it_was(tmp_path: Path) -> None:
    refined(context := slow_stage(tmp_path, FakeImageModel(likes("sharp"))))
    for db in (context.db, context.evaluator.budget.runs._db):  # type: ignore[attr-defined]
        db.close()
    as_before(tmp_path)
    threads = tmp_path / "limner.threads.db"
    whole = threads.read_bytes()
    threads.write_bytes(b"no database" * 1000)
    with pytest.raises(BadInput, match=r"limner\.threads\.db is damaged .* move it away") as error:
        PromptDB.open(tmp_path / "limner.db")
    assert "\n" not in str(error.value)
    with closing(sqlite3.connect(tmp_path / "limner.db")) as raw:
        assert raw.execute("PRAGMA user_version").fetchone() == (4,)
    threads.write_bytes(whole)
    PromptDB.open(tmp_path / "limner.db").close()
    assert files_of_before(tmp_path) == ["run-1/spent.json"]


@pytest.mark.parametrize(
    "text", ["{half", "[]", "7", '{"spent": [1]}', '{"spent": {"images": "many"}}', '{"spent": {}, "seconds": null}', "{}"]
)
def test_a_file_of_what_was_spent_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "run-1").mkdir()
    (tmp_path / "run-1" / "spent.json").write_text(text)
    with pytest.raises(BadInput, match=r"spent\.json does not say what the run has spent; remove it to go on") as error:
        slow_stage(tmp_path, FakeImageModel())
    assert "\n" not in str(error.value)
    assert files_of_before(tmp_path) == ["run-1/spent.json"]
