"""Lanes: one thing after the other, with one set of models, and a full line that says so at once."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from limner.graph.models import kept_by, opened_checkpoint, opened_scorer
from limner.graph.runner import Control
from limner.serve.service.queue import Busy, Lane


def test_a_lane_keeps_its_checkpoint_and_shares_it_with_no_other(tiny: Path) -> None:
    def opened() -> tuple[object, object]:
        checkpoint = opened_checkpoint(str(tiny), None, None)
        return checkpoint, opened_scorer("liking", checkpoint, checkpoint.device)

    lane, other = Lane("a", 4, 4), Lane("b", 4, 4)
    first, again, apart = (place.submit("me", opened).result() for place in (lane, lane, other))
    assert first[0] is again[0] and first[1] is again[1]
    assert apart[0] is not first[0] and opened()[0] is not first[0]
    with kept_by(lane.models):
        assert opened()[0] is first[0]
    lane.close()
    other.close()


def test_a_full_line_refuses_at_once_and_everybody_has_a_share() -> None:
    lane, gate = Lane("a", waiting=3, per_client=2), threading.Event()
    held = [lane.submit("me", gate.wait) for _ in range(2)]
    with pytest.raises(Busy, match="you have 2"):
        lane.submit("me", gate.wait)
    held.append(lane.submit("you", gate.wait))
    with pytest.raises(Busy, match="3 requests are waiting"):
        lane.submit("they", gate.wait)
    assert lane.length == 3
    gate.set()
    for future in held:
        assert future.result(10)
    assert lane.submit("me", lambda: 7).result(10) == 7
    lane.close()


def test_whoever_stops_waiting_stops_the_work_and_what_stands_in_line_is_never_begun() -> None:
    lane, begun = Lane("a", 4, 4), threading.Event()
    stopped: list[str] = []

    def work(control: Control) -> None:
        begun.set()
        while not control.drain_requested:
            threading.Event().wait(0.005)
        stopped.append(str(control.drain_reason))

    async def main() -> None:
        running = asyncio.ensure_future(lane.run("me", work))
        waiting = asyncio.ensure_future(lane.run("me", lambda control: stopped.append("begun")))
        await asyncio.to_thread(begun.wait, 10)
        waiting.cancel()
        running.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)

    asyncio.run(main())
    lane.close()
    assert stopped == ["whoever asked has left"] and lane.length == 0
