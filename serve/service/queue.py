"""One thing after the other: a thread that draws, with its checkpoint kept open, and the line of requests before it.

A checkpoint belongs to its lane alone, so two requests never touch the same weights at once. A full line refuses at once instead of
letting everybody wait. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from limner.graph.models import KeptModels, keep_models
from limner.graph.runner import Control

Done = TypeVar("Done")

RETRY_SECONDS = 5


class Busy(Exception):
    """The line is full, or this client has as much in it as it may."""


class Lane:
    """`waiting`: how many may stand in line or be served; `per_client`: of these from one client. `niceness`: by how much its thread, and
    those that torch starts for it, stand back behind the threads that answer: it has minutes of work, and others wait for milliseconds of
    theirs."""

    def __init__(self, name: str, waiting: int, per_client: int, niceness: int = 5) -> None:
        self.name, self._niceness = name, niceness
        self._most, self._most_per_client = waiting, per_client
        self.models = KeptModels()
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name, initializer=self._begin)

    def _begin(self) -> None:
        keep_models(self.models)
        if sys.platform == "linux":  # where threads have priorities of their own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + self._niceness)

    def submit(self, client: str, work: Callable[[], Done]) -> Future[Done]:
        """Put `work` into line. Raises Busy."""
        with self._lock:
            if self._held.total() >= self._most:
                raise Busy(f"{self._most} requests are waiting already; try again in a while")
            if self._held[client] >= self._most_per_client:
                raise Busy(f"you have {self._most_per_client} requests waiting already; let one end first")
            self._held[client] += 1
        try:
            future = self._thread.submit(work)
        except BaseException:
            self._leave(client)
            raise
        future.add_done_callback(lambda _: self._leave(client))
        return future

    async def run(self, client: str, work: Callable[[Control], Done]) -> Done:
        """Wait for `work`; where the waiting is cancelled, so is the work, within a step of the sampler. Raises Busy."""
        control = Control()
        future = self.submit(client, lambda: work(control))
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            control.request_drain("whoever asked has left")
            raise

    @property
    def length(self) -> int:
        """How many are waiting or served."""
        with self._lock:
            return self._held.total()

    def close(self) -> None:
        """Nobody else is served; whoever is at it is waited for."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _leave(self, client: str) -> None:
        with self._lock:
            self._held[client] -= 1
            if not self._held[client]:
                del self._held[client]
