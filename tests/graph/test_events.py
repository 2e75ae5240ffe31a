"""The union of events: what belongs to it, what does not, and that a turn or a run which tells anything else fails its tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from limner.graph.events import EVENTS, Event
from tests.checked_events import checked
from tests.graph.optimize.optimize_stage import optimized
from tests.graph.stage import refined, stage

WARNING: Any = {"kind": "warning", "text": "mind the step"}


@pytest.mark.parametrize(
    ("event", "fault"),
    [
        ({"kind": "node", "node": "draw", "phase": "start"}, ""),
        ({"kind": "node", "node": "draw", "phase": "end", "seconds": 0.1, "note": ""}, ""),
        ({"kind": "node", "node": "draw", "phase": "end"}, "seconds"),
        ({"kind": "node", "node": "draw", "phase": "start", "note": "early"}, "note"),
        ({"kind": "node", "node": "draw", "phase": "middle"}, "phase"),
        ({"kind": "draw", "images": 3}, ""),
        ({"kind": "draw", "images": "3"}, "images"),
        ({"kind": "drawn", "drawing": "d", "conditioning": "c", "seed": 1, "image": None}, ""),
        ({"kind": "drawn", "drawing": "d", "conditioning": "c", "seed": 1, "image": None, "url": "/x"}, "url"),
        ({"kind": "pair", "images": {"left": "a", "right": "b"}}, ""),
        ({"kind": "pair", "images": {"left": "a"}}, "right"),
        (WARNING, ""),
        (WARNING | {"reason": "x"}, "reason"),
        ({"kind": "wink", "text": "x"}, "wink"),
        ({"text": "x"}, "kind"),
    ],
    ids=str,
)
def test_an_event_has_the_keys_of_its_kind_and_no_others(event: dict[str, Any], fault: str) -> None:
    if not fault:
        assert EVENTS.validate_python(event, strict=True) == event
        return
    with pytest.raises(ValidationError, match=fault):
        EVENTS.validate_python(event, strict=True)


def test_a_stream_with_an_event_of_no_kind_fails_where_it_is_told() -> None:
    def stream() -> Iterator[Event]:
        yield WARNING
        yield {**WARNING, "loud": True}

    events = checked(stream)()
    assert next(events) == WARNING
    with pytest.raises(ValidationError, match="loud"):
        next(events)


def test_runs_tell_all_that_belongs_to_runs(tmp_path: Path) -> None:
    """Both stages check each event; together they tell of every kind that needs no search by a solver."""
    _, refining = refined(stage(tmp_path / "refine", bans=("vivid colors",)))
    _, _, learning = optimized(tmp_path / "optimize")
    kinds = {event["kind"] for event in [*refining, *learning]}
    assert kinds >= {"started", "node", "draw", "drawn", "scored", "candidate", "dropped", "skipped", "iteration", "finished"}
