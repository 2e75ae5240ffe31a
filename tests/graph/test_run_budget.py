"""What a run has spent, in the run store, while several threads spend: exact, in order, and readable whenever it is read."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from limner.agents.llm.base import Usage
from limner.graph.context import JournaledBudget, open_budget
from limner.graph.settings import Settings
from limner.promptdb.runs import Runs, Spent
from limner.promptdb.store import PromptDB
from limner.tools.budget import BudgetSpent
from tests.commands import ROOT

THREADS, SPENDS = 8, 60

ENDLESS = """
import sys, threading
from limner.graph.context import open_budget
from limner.graph.settings import Settings
from limner.promptdb.store import PromptDB

settings = Settings(out=sys.argv[1])
budget = open_budget(settings, PromptDB.open(settings.database), "run", None)
def spend():
    while True:
        budget.spend(images=1, unet_rows=40, llm_calls=1)
for _ in range(4):
    threading.Thread(target=spend).start()
"""


@pytest.fixture(autouse=True)
def threads_take_turns_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[PromptDB]:
    with PromptDB.open(tmp_path / "limner.db") as db:
        yield db


def budget_of(db: PromptDB, run: str = "run", cap: int | None = None) -> JournaledBudget:
    return open_budget(Settings(out=str(db.path.parent)), db, run, cap)


def stored(db: PromptDB, run: str = "run") -> Spent:
    spent = Runs(db).spent(run)
    assert spent is not None
    return spent


def together(work: Callable[[], Any], threads: int = THREADS) -> list[BaseException]:
    """`work` in several threads that begin at once; what they raised."""
    start, raised = threading.Barrier(threads), []

    def run() -> None:
        start.wait()
        try:
            work()
        except BaseException as error:
            raised.append(error)

    running = [threading.Thread(target=run) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return raised


def test_threads_spend_exactly_and_what_is_stored_never_goes_back(db: PromptDB, tmp_path: Path) -> None:
    budget = budget_of(db)
    seen: list[tuple[float, float | None]] = []
    done = threading.Event()

    def spend() -> None:
        for _ in range(SPENDS):
            budget.spend(images=2, llm_calls=1)
            budget.usage.count(calls=1, prompt_tokens=3)
            budget.give_back(images=1)
            time.sleep(0.001)  # for the reader

    def read() -> None:
        while not done.is_set():
            if spent := Runs(another).spent("run"):
                seen.append((spent.amounts["llm_calls"], spent.usage["calls"]))

    with PromptDB.open(tmp_path / "limner.db") as another:
        reader = threading.Thread(target=read)
        reader.start()
        raised = together(spend)
        done.set()
        reader.join()
    assert raised == []
    assert budget.spent == {"images": THREADS * SPENDS, "unet_rows": 0, "llm_calls": THREADS * SPENDS, "usd": 0}
    assert len(set(seen)) > 10 and seen == sorted(seen)  # type: ignore[type-var]
    budget.note()
    assert stored(db).amounts == budget.spent
    assert stored(db).usage == Usage(calls=THREADS * SPENDS, prompt_tokens=3 * THREADS * SPENDS).counts()


def test_the_last_spend_is_stored_without_being_asked(db: PromptDB) -> None:
    """An older state that overwrote a newer one would stay, as nothing is spent after it."""
    for place in range(20):
        budget = budget_of(db, f"run-{place}")
        assert together(partial(budget.spend, llm_calls=1)) == []
        assert stored(db, f"run-{place}").amounts == budget.spent
        assert budget.spent["llm_calls"] == THREADS


def test_threads_together_spend_the_cap_and_no_more(db: PromptDB) -> None:
    budget = budget_of(db, cap=5)
    raised = together(lambda: budget.spend(images=1))
    assert [type(error) for error in raised] == [BudgetSpent] * (THREADS - 5)
    assert stored(db).amounts["images"] == budget.spent["images"] == 5


def test_what_a_later_process_of_the_run_finds_is_all_that_was_spent(db: PromptDB) -> None:
    first = budget_of(db, cap=10)
    first.spend(images=3, unet_rows=120.5)
    first.give_back(images=1, unet_rows=40)
    first.usage.count(calls=2, prompt_tokens=700, completion_tokens=90, cost_usd=0.5)
    first.repeat(1)
    again = budget_of(db, cap=10)
    assert again.spent == {"images": 2, "unet_rows": 80.5, "llm_calls": 0, "usd": 0} and again.repeated == 1
    assert again.usage == Usage(calls=2, prompt_tokens=700, completion_tokens=90, cost_usd=0.5)
    assert again.elapsed >= stored(db).seconds
    assert budget_of(db, "another", 10).spent == {"images": 0, "unet_rows": 0, "llm_calls": 0, "usd": 0}


def test_what_could_not_be_stored_is_not_spent(tmp_path: Path) -> None:
    db = PromptDB.open(tmp_path / "limner.db")
    budget = budget_of(db)
    db.close()
    with pytest.raises(sqlite3.ProgrammingError):
        budget.spend(images=3)
    assert budget.spent["images"] == 0


def test_a_process_that_is_killed_while_it_spends_leaves_whole_spends(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)], cwd=ROOT)
    with PromptDB.open(tmp_path / "limner.db") as db:
        deadline = time.monotonic() + 60
        while not Runs(db).spent("run") and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        spent = stored(db).amounts
    assert spent["llm_calls"] > 0
    assert spent == {"images": spent["llm_calls"], "unet_rows": 40 * spent["llm_calls"], "llm_calls": spent["llm_calls"], "usd": 0}


def test_what_is_drawn_again_is_stored_at_once_and_told_by_the_whole_budget(db: PromptDB) -> None:
    budget = budget_of(db)
    part = budget.slice(images=5)
    part.repeat(2)
    assert part.repeated == budget.repeated == stored(db).repeated == 2


def test_usage_of_many_threads_adds_up() -> None:
    usage, earlier = Usage(cost_usd=0.0), Usage(calls=1, prompt_tokens=7, cost_usd=0.5, retried=2)

    def add() -> None:
        for _ in range(500):
            usage.add(earlier)

    assert together(add) == []
    assert usage == Usage(calls=4000, prompt_tokens=28000, cost_usd=2000.0, retried=8000)
