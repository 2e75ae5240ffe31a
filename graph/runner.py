"""Runs graphs: starts them, streams their events, stops them, resumes them, and records what became of a run.

`stream_refine`, `stream_optimize`: a run with its state in the database. `events_of`: any compiled graph on a thread. `complete`: a graph
as a part of other work, its state in memory. `recorded`: the status of a run, which may be no graph at all. Front ends see runs, events
and outcomes, and nothing of LangGraph. Knows nothing of what the nodes do.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.errors import GraphDrained
from langgraph.graph import StateGraph
from langgraph.runtime import RunControl

from limner.graph.events import Event
from limner.graph.optimize.graph import build_optimize
from limner.graph.optimize.state import OptimizeState
from limner.graph.refine.auto import graph_of
from limner.graph.settings import Settings
from limner.graph.state import Context, RefineState
from limner.promptdb.errors import BadInput, Cancelled, ServerAway, Stopped
from limner.promptdb.records import Run, RunStatus
from limner.promptdb.runs import Runs
from limner.promptdb.store import PromptDB

__all__ = [
    "Control",
    "Stopped",
    "complete",
    "events_of",
    "new_run_id",
    "optimize_state",
    "recorded",
    "refine_state",
    "resumable",
    "stored_graph",
    "stream_optimize",
    "stream_refine",
]

Events = Generator[Event]
BUSY_SECONDS = 30.0  # how long a checkpoint waits for another process's write
MOST_STEPS = 100_000  # nodes of one run: LangGraph's own limit of 25 is for agents that may never end


class Control(RunControl):
    """Asks a run to stop. As a CancelToken it ends a drawing within one denoising step.

    `last_words`: called, from any thread, where the process must end before the run has.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last_words: Callable[[], None] = lambda: None

    def check(self) -> None:
        """Raises GraphDrained where the run was asked to stop, which ends the node."""
        if self.drain_requested:
            raise GraphDrained(self.drain_reason or "stopped")


def new_run_id(command: str) -> str:
    """Returns an id that sorts by time and that no other process chooses."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{command}-{secrets.token_hex(3)}"


def resumable(db: PromptDB, run_id: str, command: str) -> tuple[Run, Settings]:
    """Returns a run of this command that was started before, and its settings. Raises BadInput where there is none."""
    run = Runs(db).get(run_id)
    if run is None:
        raise BadInput(f"there is no run {run_id!r} in {db.path}; see `runs list`")
    if run.command != command:
        raise BadInput(f"run {run_id} is a {run.command}, not a {command}; see `runs show {run_id}`")
    return run, Settings.from_json(run.settings)


def stream_refine(context: Context, run: Run, control: Control | None = None) -> Events:
    """Refines `run.prompt`, or resumes where an earlier process was stopped or killed; yields events as they happen.

    Raises Stopped after `control.request_drain()`. Other errors mark the run as failed; it may be resumed too.
    """
    method = str(run.settings.get("method", "auto"))
    return _stream(
        partial(graph_of, method), context, run, {"run": run.id, "prompt": run.prompt, "method": method}, method, control or Control()
    )


def refine_state(context: Context, run_id: str) -> RefineState:
    """Returns the stored state of a run that refines a prompt, for its report."""
    run = Runs(context.db).get(run_id)
    method = str(run.settings.get("method", "auto")) if run else "auto"
    return cast(RefineState, _state(partial(graph_of, method), context, run_id))


def stream_optimize(context: Context, run: Run, start: OptimizeState, control: Control | None = None) -> Events:
    """Learns an instruction from `start`, or resumes where an earlier process was stopped or killed, as `stream_refine` does.

    Raises ServerAway where the chat server does not answer; the run may then be resumed.
    """
    return _stream(OPTIMIZE, context, run, start, context.learning.compat or context.learning.selector, control or Control())


def optimize_state(context: Context, run_id: str) -> OptimizeState:
    """Returns the stored state of a run that learns an instruction, for its report."""
    return cast(OptimizeState, _state(OPTIMIZE, context, run_id))


OPTIMIZE = build_optimize
Built = StateGraph[Any, Any, Any, Any]
Build = Callable[[], Built]
PART = "part"


def _stream(build: Build, context: Context, run: Run, start: Any, method: str, control: Control) -> Events:
    with recorded(context, run, control), stored_graph(build, context.db) as graph:
        config = _config(run.id)
        before = graph.get_state(config)
        resumed = begun = bool(before.values)
        if begun and not before.tasks and "outcome" not in before.values:
            # Stopped by an earlier version before a node that this graph has not: it begins anew, and what was done already costs nothing.
            graph.checkpointer.delete_thread(run.id)
            begun = False
        yield {
            "kind": "started",
            "run": run.id,
            "prompt": run.prompt,
            "method": method,
            "checkpoint": context.evaluator.model.name,
            "chat_model": context.chat.name,
            "resumed": resumed,
        }
        if not begun or before.tasks:  # `next` would not do: it is empty too after a kill between a node's writes and their checkpoint
            yield from events_of(graph, None if begun else start, run.id, context, control)
        yield {"kind": "finished", "outcome": graph.get_state(config).values["outcome"]}


@contextmanager
def recorded(context: Context, run: Run, control: Control | None = None, resumable: bool = True) -> Iterator[None]:
    """Records the status of a run: running while the block lasts; where an error ends the block, interrupted, paused or failed.

    A run is interrupted where it was asked to stop, and paused where the chat server does not answer. What it has spent is stored with it.
    The result of a finished run is stored by the caller.

    `resumable`: whether the command can resume the run. Raises Stopped where the run was asked to stop, Cancelled where it was and cannot
    be resumed.
    """
    runs = Runs(context.db)

    def end(status: RunStatus) -> None:
        runs.finish(run.id, status, {"used": context.evaluator.budget.used()})

    if control:
        control.last_words = lambda: end("interrupted")
    runs.start(replace(run, status="running"))
    try:
        yield
    except GraphDrained as error:
        end("interrupted")
        raise (Stopped(run.id, run.command) if resumable else Cancelled(str(error))) from error
    except Exception as error:
        end("paused" if isinstance(error, ServerAway) else "failed")
        raise
    except BaseException:  # Ctrl-C that nothing caught, or a generator that was closed
        end("interrupted")
        raise


def events_of(graph: Any, start: Any, thread: str, context: Any, control: Control) -> Iterator[Event]:
    """Run a compiled graph on a thread of its state, from `start` or, where that is None, from where the thread stands; yields the events
    of its nodes. Raises GraphDrained where it was asked to stop."""
    parts = graph.stream(
        start, _config(thread), context=context, stream_mode="custom", durability="sync", control=control, version="v2"
    )
    try:
        for part in parts:
            yield part["data"]
    except BaseException:
        control.request_drain("nobody listens any more")
        raise
    finally:
        parts.close()  # its threads are done before the connection under them is closed: SQLite crashes the process otherwise


def complete(graph: Built, context: Context, start: Any, tell: Callable[[Event], None] | None = None, before: str | None = None) -> Any:
    """Runs a graph to its end within other work. Its state is in memory, so it cannot be resumed by itself.

    `tell`: called with each event. `before`: name of a node; the graph ends in front of it. Returns the last state.
    """
    compiled = graph.compile(checkpointer=InMemorySaver(), interrupt_before=[before] if before else None)
    state: Any = {}
    for part in compiled.stream(start, _config(PART), context=context, stream_mode=["custom", "values"], version="v2"):
        if part["type"] == "values":
            state = part["data"]
        elif tell:
            tell(cast(Event, part["data"]))
    return state


def _config(thread: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread}, "recursion_limit": MOST_STEPS}


def _state(build: Build, context: Context, run_id: str) -> Any:
    with stored_graph(build, context.db) as graph:
        return graph.get_state(_config(run_id)).values


@contextmanager
def stored_graph(build: Build, db: PromptDB) -> Iterator[Any]:
    """Yields the compiled graph, with its state in LangGraph's own tables of the database, written on a connection of its own.

    They are in the same file as the run's records, so that after a power cut the state is never ahead of the records.
    """
    with closing(sqlite3.connect(db.path, timeout=BUSY_SECONDS, check_same_thread=False)) as connection:
        connection.execute("PRAGMA synchronous = NORMAL")  # as promptdb/connection.py has it
        yield build().compile(checkpointer=SqliteSaver(connection))
