"""Conversations as front ends see them: started, answered, watched, branched and listed. Nothing of LangGraph shows here.

One turn of a thread is in work at a time, in whichever process. A turn that was stopped or killed is abandoned or resumed before the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphDrained
from langgraph.types import Command
from pydantic import ValidationError

from limner.graph.chat.context import ChatServices, open_topic, pause
from limner.graph.chat.graph import build_chat
from limner.graph.chat.state import Reply, Topic
from limner.graph.events import Event
from limner.graph.runner import MOST_STEPS, Control, events_of, new_run_id, stored_graph
from limner.promptdb.errors import BadInput
from limner.promptdb.records import Run
from limner.promptdb.runs import Runs
from limner.promptdb.turns import Turn, Turns, threads

COMMAND = "chat"
_THREAD = re.compile(r"[A-Za-z0-9][\w.-]{0,99}")


class Chats:
    """The conversations on common services. Thread-safe."""

    def __init__(self, services: ChatServices) -> None:
        self.services = services
        self._runs = Runs(services.db)

    def start(self, thread: str = "", cap: int | None = None) -> str:
        """Starts a conversation, or finds the one of that id; returns its id. `cap`: pictures that it may draw in all.

        Raises BadInput for an id of the wrong form, and for a cap below 1.
        """
        thread = thread or new_run_id(COMMAND)
        if cap is not None and cap < 1:
            raise BadInput(f"a cap of {cap} pictures leaves nothing to draw; give at least 1")
        with self._turn(thread), self._graph() as graph:
            config = _config(thread)
            if not graph.get_state(config).values:
                settings = self.services.settings.to_json()
                self._runs.start(Run(thread, COMMAND, "", {**settings, "method": COMMAND}))
                graph.invoke({}, config, context=self.services.context(thread))
                if cap is not None:
                    self._set_cap(graph, thread, cap)
        return thread

    def send(self, thread: str, text: str = "", action: Mapping[str, Any] | None = None, control: Control | None = None) -> Iterator[Event]:
        """Sends words or an action to the thread; yields the turn's events, `asked` last, with what the thread waits for then.

        After `control.request_drain()` the turn is abandoned and `asked` comes at once; what was drawn stays stored. Raises BadInput for a
        thread that was never started and for an invalid reply, Busy while another turn of it is in work.
        """
        reply = _reply(text, action)
        control = control or Control()
        with self._turn(thread), self._graph() as graph:
            self._known(graph, thread)
            self._give_up(graph, thread)
            yield {"kind": "heard", "thread": thread, "turn": Turns(self.services.db, thread).last() + 1}
            yield from self._run(graph, thread, Command(resume=reply.model_dump()), control)

    def resume(self, thread: str, control: Control | None = None) -> Iterator[Event]:
        """Resumes a turn that a kill cut off; where there is none, yields only what the thread waits for."""
        control = control or Control()
        with self._turn(thread), self._graph() as graph:
            state = self._known(graph, thread)
            if state.interrupts:
                yield {"kind": "asked", "payload": state.interrupts[0].value}
            else:
                yield from self._run(graph, thread, None, control)

    def view(self, thread: str) -> dict[str, Any]:
        """Returns what the thread waits for, as the payload of `asked`, with `unfinished`: whether a turn was cut off."""
        with self._graph() as graph:
            state = self._known(graph, thread)
            if state.interrupts:
                return {**state.interrupts[0].value, "unfinished": False}
            return {**pause(state.values, self.services.context(thread)), "unfinished": True}

    def history(self, thread: str, everything: bool = False) -> list[Turn]:
        """Returns the turns that led to the present state of the thread; with `everything`, those that were undone too."""
        turns = Turns(self.services.db, thread)
        return turns.all() if everything else turns.line(turns.last())

    def threads(self, limit: int = 50) -> list[dict[str, Any]]:
        """Returns the conversations that have at least one turn, the latest first."""
        return threads(self.services.db, limit)

    def branch(self, thread: str, turn: int | None = None) -> str:
        """Starts a new conversation from a turn of this one, by default the last, with a budget of its own; returns its id.

        This one is not changed. Raises BadInput where there is no such turn.
        """
        turns = Turns(self.services.db, thread)
        found = turns.get(turns.last() if turn is None else turn)
        if found is None:
            raise BadInput(f"thread {thread} has no turn {turn}; it has {turns.last()}")
        new = new_run_id(COMMAND)
        topic = cast(Topic, {**found.document, "place": 1})
        said = f"(branched from {thread}, turn {found.place})"
        with self._turn(new), self._graph() as graph:
            self._runs.start(Run(new, COMMAND, topic["request"], {**self.services.settings.to_json(), "method": COMMAND}))
            Turns(self.services.db, new).add(Turn(new, 1, 0, said, found.reply, (), {}, topic, found.pictures))
            graph.invoke({"topic": topic, "turn": 1}, _config(new), context=self.services.context(new))
        return new

    def _set_cap(self, graph: Any, thread: str, cap: int) -> None:
        topic = {**graph.get_state(_config(thread)).values["topic"], "cap": cap}
        self._put_back(graph, thread, topic)

    def _run(self, graph: Any, thread: str, start: Any, control: Control) -> Iterator[Event]:
        try:
            yield from events_of(graph, start, thread, self.services.context(thread, control), control)
        except GraphDrained:
            self._give_up(graph, thread)
            yield {"kind": "warning", "text": "stopped; what was drawn is kept"}
        except ValidationError as error:
            raise BadInput(f"that is no reply: {error.errors()[0]['msg']}") from error
        state = graph.get_state(_config(thread))
        self._note(thread, state.values["topic"])
        yield {"kind": "asked", "payload": state.interrupts[0].value}

    def _note(self, thread: str, topic: Topic) -> None:
        """Stores the conversation among the runs; it is done once something was accepted."""
        accepted = topic["accepted"]
        if accepted is None:
            self._runs.set_status(thread, "running")
        else:
            self._runs.finish(thread, "done", {"prompt": topic["request"], "checkpoint": topic["checkpoint"], **accepted})

    def _known(self, graph: Any, thread: str) -> Any:
        state = graph.get_state(_config(thread))
        if not state.values or "topic" not in state.values:
            raise BadInput(f"there is no conversation {thread!r}; start one, or see `runs list`")
        return state

    def _give_up(self, graph: Any, thread: str) -> None:
        """Where a turn was cut off, puts the thread back to where it last waited for an answer."""
        state = graph.get_state(_config(thread))
        if state.interrupts:
            return
        turns = Turns(self.services.db, thread)
        last = turns.get(turns.last())
        cap = state.values["topic"]["cap"]  # a cap that was set before anything was said stays
        self._put_back(graph, thread, {**(last.document if last else open_topic(self.services.context(thread))), "cap": cap})

    def _put_back(self, graph: Any, thread: str, topic: dict[str, Any]) -> None:
        """Writes the topic as if it had just been recorded, and runs to the pause.

        By `as_node`, since resuming an answered checkpoint would repeat its old answer.
        """
        config = _config(thread)
        state = graph.get_state(config)
        graph.update_state(config, {"topic": topic, "lines": state.values.get("lines", [])}, as_node="record")
        graph.invoke(None, config, context=self.services.context(thread))

    def _graph(self) -> Any:
        return stored_graph(build_chat, self.services.db)

    @contextmanager
    def _turn(self, thread: str) -> Iterator[None]:
        """One turn at a time, in all threads and processes. Raises BadInput for an id that cannot be one, Busy."""
        if not _THREAD.fullmatch(thread):
            raise BadInput(f"{thread[:40]!r} cannot be a thread's id: letters, digits, `-`, `_` and `.` alone")
        with self._runs.hold(thread, f"another turn of {thread} is in work; wait for its end"):
            yield


def _config(thread: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread}, "recursion_limit": MOST_STEPS}


def _reply(text: str, action: Mapping[str, Any] | None) -> Reply:
    try:
        return Reply.model_validate({"text": text, "action": dict(action) if action else None})
    except ValidationError as error:
        detail = error.errors()[0]
        raise BadInput(f"that is no reply: {'.'.join(map(str, detail['loc']))}: {detail['msg']}") from error
