"""Many questions to a chat server at once: a batch of rewritings waits for the slowest answer, not for the sum of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Question = TypeVar("Question")
Reply = TypeVar("Reply")


def all_at_once(ask: Callable[[Question], Reply], questions: Sequence[Question], threads: int) -> list[Reply]:
    """The replies in the order of the questions. The first error is raised as it is, and no question is begun after it."""
    if threads < 2 or len(questions) < 2:
        return [ask(question) for question in questions]
    with ThreadPoolExecutor(threads, thread_name_prefix="ask") as pool:
        try:
            return list(pool.map(ask, questions))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
