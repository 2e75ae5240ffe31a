"""The purse of a run on disk, while several threads spend from it: exact, in order, and readable whenever it is read."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from limner.agents.llm.base import Usage
from limner.graph.context import JournaledBudget, read_journal
from limner.tools.budget import BudgetSpent
from tests.commands import ROOT

THREADS, SPENDS = 8, 60

ENDLESS = """
import sys, threading
from pathlib import Path
from limner.graph.context import JournaledBudget

purse = JournaledBudget(journal=Path(sys.argv[1]))
def spend():
    while True:
        purse.spend(images=1, unet_rows=40, llm_calls=1)
for _ in range(4):
    threading.Thread(target=spend).start()
"""


@pytest.fixture(autouse=True)
def threads_take_turns_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def together(work: Callable[[], None], threads: int = THREADS) -> list[BaseException]:
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


def test_threads_spend_exactly_and_the_file_is_readable_and_never_goes_back(tmp_path: Path) -> None:
    journal = tmp_path / "run" / "spent.json"
    purse = JournaledBudget(journal=journal)
    seen: list[tuple[float, int]] = []
    done = threading.Event()

    def spend() -> None:
        for _ in range(SPENDS):
            purse.spend(images=2, llm_calls=1)
            purse.usage.count(calls=1, prompt_tokens=3)
            purse.give_back(images=1)

    def read() -> None:
        while not done.is_set():
            if journal.exists():
                document = json.loads(journal.read_text(encoding="utf-8"))
                seen.append((document["spent"]["llm_calls"], document["usage"]["calls"]))

    reader = threading.Thread(target=read)
    reader.start()
    raised = together(spend)
    done.set()
    reader.join()
    assert raised == []
    assert purse.spent == {"images": THREADS * SPENDS, "unet_rows": 0, "llm_calls": THREADS * SPENDS, "usd": 0}
    assert len(set(seen)) > 10 and seen == sorted(seen)
    purse.note()
    assert read_journal(journal)["spent"] == purse.spent
    assert read_journal(journal)["usage"] == Usage(calls=THREADS * SPENDS, prompt_tokens=3 * THREADS * SPENDS)
    assert list(journal.parent.iterdir()) == [journal]


def test_the_file_holds_the_last_spend_without_being_asked(tmp_path: Path) -> None:
    """An older state that overwrote a newer one would stay, as nothing is spent after it."""
    for place in range(20):
        journal = tmp_path / str(place) / "spent.json"
        purse = JournaledBudget(journal=journal)
        assert together(partial(purse.spend, llm_calls=1)) == []
        assert read_journal(journal)["spent"] == purse.spent
        assert purse.spent["llm_calls"] == THREADS


def test_threads_together_spend_the_cap_and_no_more(tmp_path: Path) -> None:
    purse = JournaledBudget(images=5, journal=tmp_path / "spent.json")
    raised = together(lambda: purse.spend(images=1))
    assert [type(error) for error in raised] == [BudgetSpent] * (THREADS - 5)
    assert read_journal(tmp_path / "spent.json")["spent"]["images"] == purse.spent["images"] == 5


def test_two_purses_of_one_run_do_not_take_each_others_halves(tmp_path: Path) -> None:
    journal = tmp_path / "spent.json"

    def spend() -> None:
        purse = JournaledBudget(journal=journal)
        for _ in range(SPENDS):
            purse.spend(images=1)

    assert together(spend) == []
    assert read_journal(journal)["spent"]["images"] == SPENDS


def test_what_could_not_be_written_down_is_not_spent(tmp_path: Path) -> None:
    journal = tmp_path / "spent.json"
    journal.mkdir()
    purse = JournaledBudget(journal=journal)
    with pytest.raises(OSError):
        purse.spend(images=3)
    assert purse.spent["images"] == 0 and list(tmp_path.iterdir()) == [journal]


def test_a_process_that_is_killed_while_it_writes_leaves_a_whole_file(tmp_path: Path) -> None:
    journal = tmp_path / "spent.json"
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(journal)], cwd=ROOT)
    deadline = time.monotonic() + 60
    while not journal.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    spent = json.loads(journal.read_text(encoding="utf-8"))["spent"]
    assert spent["llm_calls"] > 0 and spent == {unit: spent["llm_calls"] * each for unit, each in zip(spent, (1, 40, 1, 0), strict=True)}


def test_what_is_drawn_again_is_written_down_at_once_and_told_by_the_whole_purse(tmp_path: Path) -> None:
    purse = JournaledBudget(journal=tmp_path / "spent.json")
    part = purse.slice(images=5)
    part.repeat(2)
    assert part.repeated == purse.repeated == read_journal(tmp_path / "spent.json")["repeated"] == 2


def test_usage_of_many_threads_adds_up() -> None:
    usage, earlier = Usage(cost_usd=0.0), Usage(calls=1, prompt_tokens=7, cost_usd=0.5, retried=2)

    def add() -> None:
        for _ in range(500):
            usage.add(earlier)

    assert together(add) == []
    assert usage == Usage(calls=4000, prompt_tokens=28000, cost_usd=2000.0, retried=8000)
