"""Questions asked at once: in order, no more than allowed, and none begun after the first error."""

from __future__ import annotations

import threading
import time

import pytest

from limner.graph.optimize.arms import all_at_once


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


def test_one_thread_asks_one_after_the_other() -> None:
    threads: set[str] = set()
    assert all_at_once(lambda number: (threads.add(threading.current_thread().name), number)[1], [1, 2, 3], 1) == [1, 2, 3]
    assert threads == {threading.current_thread().name}
