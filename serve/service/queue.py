"""A bounded queue of requests for one thread that does them one after the other, with a pool of open checkpoints of its own.

Two queues never share weights, so that neither waits for the other's. A full queue refuses at once instead of letting all clients wait.
Knows nothing of HTTP.
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

from limner.graph.models import ModelPool
from limner.graph.runner import Control

Done = TypeVar("Done")

RETRY_SECONDS = 5


class Busy(Exception):
    """The queue is full, or this client has as many requests in it as it may."""


class WorkQueue:
    """`waiting`: how many requests may wait or be in work. `per_client`: of these from one client. `models`: how many checkpoints stay
    open.

    `niceness`: by how much the priority of its thread, and of those that torch starts for it, is below that of the threads that answer
    requests: its work takes minutes, theirs milliseconds.
    """

    def __init__(self, name: str, waiting: int, per_client: int, models: int = 1, niceness: int = 5) -> None:
        self.name, self._niceness = name, niceness
        self._most, self._most_per_client = waiting, per_client
        self.models = ModelPool(models)
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name, initializer=self._begin)

    def _begin(self) -> None:
        if sys.platform == "linux":  # where threads have priorities of their own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + self._niceness)

    def submit(self, client: str, work: Callable[[], Done]) -> Future[Done]:
        """Queues `work`; returns the future of its result. Raises Busy."""
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
        """Waits for `work` and returns its result; where the waiting is cancelled, so is the work, within a denoising step. Raises Busy."""
        control = Control()
        future = self.submit(client, lambda: work(control))
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            control.request_drain("whoever asked has left")
            raise

    @property
    def length(self) -> int:
        """Returns how many requests wait or are in work."""
        with self._lock:
            return self._held.total()

    def close(self) -> None:
        """Drops the requests that wait, and waits for the one in work."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self.models.unload()

    def _leave(self, client: str) -> None:
        with self._lock:
            self._held[client] -= 1
            if not self._held[client]:
                del self._held[client]
