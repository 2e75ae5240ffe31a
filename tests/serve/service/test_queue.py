"""The queue of work: one thing after the other, with checkpoints of its own, and a full queue that says so at once."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from pathlib import Path

import pytest

from limner.graph.runner import Control
from limner.serve.service.queue import Busy, WorkQueue


def test_a_queue_keeps_its_checkpoint_and_shares_it_with_no_other(tiny: Path) -> None:
    def opened(queue: WorkQueue) -> object:
        with queue.models.lease() as lease:
            return lease.checkpoint(str(tiny), None, None)

    queue, other = WorkQueue("a", 4, 4), WorkQueue("b", 4, 4, models=2)
    first, again, apart = (place.submit("me", partial(opened, place)).result() for place in (queue, queue, other))
    assert first is again and apart is not first
    assert [row.checkpoint for row in queue.models.loaded()] == [str(tiny)]
    assert (queue.models.bound, other.models.bound) == (1, 2)
    queue.close()
    other.close()
    assert queue.models.loaded() == []


def test_a_full_queue_refuses_at_once_and_everybody_has_a_share() -> None:
    queue, gate = WorkQueue("a", waiting=3, per_client=2), threading.Event()
    held = [queue.submit("me", gate.wait) for _ in range(2)]
    with pytest.raises(Busy, match="you have 2"):
        queue.submit("me", gate.wait)
    held.append(queue.submit("you", gate.wait))
    with pytest.raises(Busy, match="3 requests are waiting"):
        queue.submit("they", gate.wait)
    assert queue.length == 3
    gate.set()
    for future in held:
        assert future.result(10)
    assert queue.submit("me", lambda: 7).result(10) == 7
    queue.close()


def test_whoever_stops_waiting_stops_the_work_and_what_waits_in_it_is_never_begun() -> None:
    queue, begun = WorkQueue("a", 4, 4), threading.Event()
    stopped: list[str] = []

    def work(control: Control) -> None:
        begun.set()
        while not control.drain_requested:
            threading.Event().wait(0.005)
        stopped.append(str(control.drain_reason))

    async def main() -> None:
        running = asyncio.ensure_future(queue.run("me", work))
        waiting = asyncio.ensure_future(queue.run("me", lambda control: stopped.append("begun")))
        await asyncio.to_thread(begun.wait, 10)
        waiting.cancel()
        running.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)

    asyncio.run(main())
    queue.close()
    assert stopped == ["whoever asked has left"] and queue.length == 0
