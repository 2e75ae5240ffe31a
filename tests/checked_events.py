"""Events held against the union of graph/events.py as they come, so that whatever a node tells is what front ends and schemas know."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import wraps
from typing import Any

from pydantic import ConfigDict, TypeAdapter

from limner.graph.events import EVENTS, Event
from limner.tools.events import ToolEvent

TOOL_EVENTS = TypeAdapter(list[ToolEvent], config=ConfigDict(extra="forbid"))
"""Of what the Evaluator and the solvers emit."""


def checked(stream: Callable[..., Iterator[Event]]) -> Callable[..., Iterator[Event]]:
    """The same stream; raises ValidationError at an unknown kind, a key too many or too few, a value of another type."""

    @wraps(stream)
    def run(*args: Any, **options: Any) -> Iterator[Event]:
        events: Any = stream(*args, **options)
        with closing(events):
            for event in events:
                EVENTS.validate_python(event, strict=True)
                yield event

    return run
