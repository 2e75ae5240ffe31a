"""Shows a run while it works: a progress bar, and a line for each step that is done. Turns Ctrl-C into a request to stop.

Imports, counts and exports have a bar of their own, on stderr, where that is a terminal. Reads events; starts nothing.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from limner.serve.steps import INNER, step_words
from limner.serve.terminal.printing import chat_name, plain

if TYPE_CHECKING:  # the graphs are more than `db search` needs
    from limner.graph.events import Event
    from limner.tools.events import Emit, ToolEvent

INTERRUPTED = 130

PATIENCE = 8.0
"""Seconds between a request to stop and the forced end of the process; what is stored by then stays stored either way."""


class Stoppable(Protocol):
    """What can be asked to stop: a run's control."""

    last_words: Callable[[], None]

    def request_drain(self, reason: str = ...) -> None:
        """Asks to stop after the step in work."""
        ...


@contextmanager
def stop_on_signals(control: Stoppable) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask the run to stop after the step in work; a second one, or PATIENCE seconds, end the process with code 130."""

    def leave() -> None:
        try:
            control.last_words()
        finally:
            os._exit(INTERRUPTED)

    def stop(number: int, frame: FrameType | None) -> None:
        if timer.is_alive():
            os._exit(INTERRUPTED)
        control.request_drain(signal.Signals(number).name)
        timer.start()
        print("stopping; everything so far is kept", file=sys.stderr, flush=True)

    timer = threading.Timer(PATIENCE, leave)
    timer.daemon = True
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def show_events(events: Iterable[Event], console: Console | None = None, verbose: bool = False) -> None:
    """Follows a run to its end on stderr: a bar with the time left for pictures, and a line for each step that is done.

    `verbose`: show every node of the graph by its name, with its seconds.
    """
    console = console or Console(stderr=True, highlight=False)
    with Progress(*_columns(), console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("start", total=None)
        for event in events:
            match event["kind"]:
                case "node" if event["phase"] == "start":
                    progress.reset(task, description=event["node"] if verbose else step_words(event["node"]), total=None)
                case "draw":
                    progress.update(task, total=event["images"] or None)
                case "drawn":
                    progress.advance(task)
                case "warning":
                    console.print(Text.assemble(("  note: ", "yellow"), plain(event["text"])), soft_wrap=True)
                case _:
                    if line := _line(event, verbose):
                        console.print(plain(line), soft_wrap=True)


def _line(event: Event, verbose: bool) -> str:
    """The line that is printed for an event; empty for events that are not printed."""
    match event["kind"]:
        case "started":
            line = f"{event['run']}: {event['method']} on {event['checkpoint']}, chat model {chat_name(event['chat_model'])}"
            return line + (", resumed" if event["resumed"] else "")
        case "node" if event["phase"] == "end" and event["note"]:
            if verbose:
                return f"  {event['node']:<9} {event['note']}  ({event['seconds']:.1f} s)"
            return "" if event["node"] in INNER else f"  {step_words(event['node'])}: {event['note']}"
        case "iteration":
            return f"  leading instruction: {event['text']}"
        case "best":
            negative = f" / negative: {event['negative']}" if event["negative"] else ""
            return f"  best so far: {event['text']}{negative}  ({event['value']:.4g}, candidate {event['count']})"
    return ""


@contextmanager
def counting(what: str, total: int, console: Console | None = None) -> Iterator[Emit]:
    """Shows a bar over `total` pictures with the time left; yields an `emit` for the Evaluator."""
    console = console or Console(stderr=True, highlight=False)
    with Progress(*_columns(), console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)

        def emit(event: ToolEvent) -> None:
            if event["kind"] == "drawn":
                progress.advance(task)

        yield emit


def _columns() -> list[ProgressColumn]:
    name = TextColumn("{task.description:<24}", markup=False)
    return [SpinnerColumn(), name, BarColumn(bar_width=28), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()]


Tell = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and the total."""


@contextmanager
def progress_bar(console: Console | None = None) -> Iterator[Tell]:
    """Shows a bar for each kind of work, where stderr is a terminal; yields the function that moves them."""
    console = console or Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=28), TaskProgressColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True) as bar:
        bar.disable = not console.is_terminal
        tasks: dict[str, int] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)  # type: ignore[arg-type]

        yield tell
