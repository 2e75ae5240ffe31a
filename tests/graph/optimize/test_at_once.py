"""Questions asked at once: in order, no more than allowed, and none begun after the first error."""

from __future__ import annotations

import threading
import time

import pytest
from langgraph.errors import GraphDrained

from limner.graph.optimize.arms import all_at_once
from limner.graph.runner import Control


def test_replies_come_in_the_order_of_the_questions_and_no_more_are_asked_at_once_than_allowed() -> None:
    under_way, most, lock = 0, 0, threading.Lock()

    def ask(number: int) -> int:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.02 if number % 3 else 0.06)
        with lock:
            under_way -= 1
        return number * number

    assert all_at_once(ask, list(range(12)), 4) == [number * number for number in range(12)]
    assert most == 4


def test_the_first_error_is_raised_and_what_was_not_begun_is_left() -> None:
    begun: list[int] = []

    def ask(number: int) -> int:
        begun.append(number)
        time.sleep(0.02)
        if number == 0:
            raise RuntimeError("the first")
        return number

    with pytest.raises(RuntimeError, match="the first"):
        all_at_once(ask, list(range(100)), 2)
    time.sleep(0.1)
    assert len(begun) < 10


@pytest.mark.parametrize("threads", [2, 4])
def test_no_question_is_begun_after_an_error_though_an_earlier_one_is_still_under_way(threads: int) -> None:
    begun: list[int] = []
    failed = threading.Event()

    def ask(number: int) -> int:
        begun.append(number)
        if number == 0:
            assert failed.wait(10)
            time.sleep(0.1)  # long enough for the others to go on, were they not held
        elif number == threads:
            failed.set()
            raise RuntimeError("the first in time")
        return number

    with pytest.raises(RuntimeError, match="the first in time"):
        all_at_once(ask, list(range(100)), threads)
    assert len(begun) <= 2 * threads


@pytest.mark.parametrize("threads", [1, 4])
def test_a_stop_is_noticed_between_questions(threads: int) -> None:
    control, begun = Control(), list[int]()

    def ask(number: int) -> int:
        begun.append(number)
        if number == 5:
            control.request_drain("test")
        time.sleep(0.01)
        return number

    with pytest.raises(GraphDrained, match="test"):
        all_at_once(ask, list(range(100)), threads, control)
    assert 6 <= len(begun) < 6 + threads


def test_one_thread_asks_one_after_the_other() -> None:
    threads: set[str] = set()
    assert all_at_once(lambda number: (threads.add(threading.current_thread().name), number)[1], [1, 2, 3], 1) == [1, 2, 3]
    assert threads == {threading.current_thread().name}
