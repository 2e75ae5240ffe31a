"""Between the conversation's nodes and the live things they work with: which studio, which topic, what is shown while it pauses."""

from __future__ import annotations

import os
import threading
from typing import Any, cast

from langgraph.prebuilt import ToolRuntime
from langgraph.runtime import Runtime

from agents.actions import Action
from graph.chat_state import ACTIONS, ChatState, Shown, Topic, first_topic
from graph.chat_topic import contract_of
from graph.settings import settings_from
from graph.state import Context
from graph.studio import Desk, Studio
from promptdb.turns import Turns

_standard: list[Studio] = []
_making = threading.Lock()


def desk_of(runtime: Runtime[Desk] | ToolRuntime) -> Desk:
    """The run's own desk; under a server that hands in none, one in a studio of the standard settings."""
    if isinstance(runtime.context, Desk):
        return runtime.context
    with _making:
        if not _standard:
            _standard.append(Studio(settings_from(os.environ)))
    info = runtime.execution_info
    return _standard[0].desk((info.thread_id if info else None) or "chat")


def open_topic(desk: Desk) -> Topic:
    settings = desk.studio.settings
    return first_topic(settings.checkpoint, settings.budget, settings.contract.to_json(), settings.seed + settings.search_seeds)


def saved(desk: Desk, topic: Topic) -> Context:
    """What to work with for this topic. Raises BadInput where its checkpoint cannot be opened."""
    return desk.context(topic["checkpoint"], topic["cap"], contract_of(topic))


def recall(desk: Desk, place: int, action: Action) -> tuple[int, Topic] | None:
    """Where an undo goes back to from the turn at `place`: the turn named, else so many changes before. Place 0 is the beginning."""
    turns = Turns(desk.studio.db, desk.thread)
    if action.turn is not None:
        found = turns.get(action.turn)
        return (found.place, _topic(found.document)) if found else None
    line = turns.line(place)
    topics = [(0, open_topic(desk)), *((turn.place, _topic(turn.document)) for turn in line)]
    here, left = topics[-1][1], action.steps
    for number, topic in reversed(topics[:-1]):
        if _matter(topic) != _matter(here):
            here, left = topic, left - 1
            if left == 0:
                return number, topic
    return None


def _topic(document: Any) -> Topic:
    return cast(Topic, document)


def _matter(topic: Topic) -> dict[str, Any]:
    """What a person would call a change: not the bookkeeping."""
    return {name: value for name, value in topic.items() if name not in ("place", "asked", "seed", "cap", "pair")}


def pause(state: ChatState, desk: Desk) -> dict[str, Any]:
    """What front ends show while the conversation waits for an answer; of a pair under a vote only the pictures."""
    topic, pair = state["topic"], state["topic"]["pair"]
    return {
        "thread": state.get("thread", desk.thread),
        "turn": topic["place"],
        "reply": "\n".join(state.get("lines", [])) or "What should the picture show?",
        "request": topic["request"],
        "style": topic["style"],
        "checkpoint": topic["checkpoint"],
        "contract": topic["contract"],
        "base": topic["base"],
        "images": [view_of(row) for row in topic["shown"]],
        "pair": {side: pair[side]["image"] for side in ("left", "right")} if pair else None,
        "accepted": topic["accepted"],
        "cap": topic["cap"],
        "used": desk.purse(topic["cap"]).used(),
        "choices": ["left", "right", "tie"] if pair else list(ACTIONS),
    }


def view_of(row: Shown) -> dict[str, Any]:
    """A shown picture as front ends take it."""
    conditioning = row["candidate"]["conditioning"]
    return {
        "number": row["number"],
        "image": row["image"],
        "drawing": row["drawing"],
        "seed": row["seed"],
        "text": conditioning["text"],
        "negative": conditioning.get("negative", ""),
        "origin": row["candidate"]["origin"],
        "conditioning": row["candidate"]["id"],
        "scores": row["scores"],
    }
