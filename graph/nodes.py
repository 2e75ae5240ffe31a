"""What the nodes of all graphs share: sending events, timing, stopping on request.

A node is a function of state and runtime that returns the update of the state. Knows nothing of what the nodes decide.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from langgraph.errors import GraphDrained
from langgraph.prebuilt import ToolRuntime
from langgraph.runtime import Runtime

from limner.graph.events import Event
from limner.graph.state import CandidateRow
from limner.promptdb.records import Conditioning
from limner.tools.evaluator import Evaluator

Update = dict[str, Any]
Node = Callable[[Any, Runtime[Any]], Update]
Emit = Callable[[Event], None]
"""Called with each event as it happens. May be given to the Evaluator and the solvers, whose events are among these."""


def node(name: str) -> Callable[[Node], Node]:
    """Returns a decorator that makes a node a step of the path: events at its start and end, and a row of `path` with its seconds.

    The node may return a `note`, a few words on its result, which goes into the row and not into the state.
    """

    def decorate(function: Node) -> Node:
        @wraps(function)
        def run(state: Any, runtime: Runtime[Any]) -> Update:
            tell(runtime, {"kind": "node", "node": name, "phase": "start"})
            started = time.monotonic()
            update = function(state, runtime)
            seconds = round(time.monotonic() - started, 3)
            note = update.pop("note", "")
            tell(runtime, {"kind": "node", "node": name, "phase": "end", "seconds": seconds, "note": note})
            return {**update, "path": [{"node": name, "seconds": seconds, "note": note}]}

        return run

    return decorate


def tell(runtime: Runtime[Any] | ToolRuntime[Any, Any], event: Event) -> None:
    """Sends `event` to the front ends that follow the run, and to the stored events of a job."""
    runtime.stream_writer(event)


def emitter(runtime: Runtime[Any]) -> Emit:
    """Returns an `emit` for the Evaluator and the solvers that passes their events on.

    Where the run was asked to stop, the next score ends the node by GraphDrained. A picture does not: the rest of its batch is drawn
    already.
    """

    def emit(event: Event) -> None:
        tell(runtime, event)
        if event["kind"] != "drawn":
            stop_if_asked(runtime)

    return emit


def stop_if_asked(runtime: Runtime[Any]) -> None:
    """Raises GraphDrained where the run was asked to stop. The node runs again on resuming, with what it stored in promptdb."""
    if runtime.drain_requested:
        raise GraphDrained(runtime.drain_reason or "stopped")


def candidate_row(conditioning: Conditioning, origin: str, parent: str | None = None, note: str = "") -> CandidateRow:
    """Returns the row of state for a candidate. `origin`: who proposed it. `parent`: id of the conditioning that it came from."""
    return {"id": conditioning.id, "conditioning": conditioning.to_json(), "origin": origin, "parent": parent, "note": note}


def conditioning_of(row: CandidateRow) -> Conditioning:
    """Returns the Conditioning of a row of state."""
    return Conditioning.from_json(row["conditioning"])


def missing_images(evaluator: Evaluator, conditionings: Sequence[Conditioning], seeds: Sequence[int]) -> int:
    """Returns how many pictures of the conditionings on the seeds would have to be paid for."""
    return len(evaluator.unpaid(evaluator.drawing(conditioning, seed) for conditioning in conditionings for seed in seeds))


def token_limit(evaluator: Evaluator, prompt: str) -> Callable[[str], tuple[int, int]]:
    """Returns a function that gives the tokens of a text, and how many a rewrite of `prompt` may have.

    They are those of one window of the text encoder; for a longer prompt, of the windows that it takes itself.
    """
    model = evaluator.model
    tokens, room = model.token_count(prompt)
    windows = max(1, min(model.most_windows, -(-tokens // room)))

    def count(text: str) -> tuple[int, int]:
        found, one = model.token_count(text)
        return found, one * windows

    return count
