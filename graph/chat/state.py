"""The state of the conversation graph (ids, text and numbers only) and the replies it takes.

The topic is what a conversation is about. It is stored whole with every turn, so that an undo restores an earlier one. Pictures and scores
are in promptdb, under the ids stored here.
"""

from __future__ import annotations

import operator
from typing import Annotated, Any, NotRequired

from langgraph.graph.message import add_messages
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from limner.agents.chat.actions import Action
from limner.graph.state import Accepted, CandidateRow, DroppedRow, Shown

ACTIONS = (
    "accept",
    "pick k",
    "more like k",
    "keep X, change Y to Z",
    "pin WORDS",
    "ban WORDS",
    "undo",
    "style NAME",
    "checkpoint NAME",
    "run METHOD with N images",
    "compare",
    "find prompts about X",
    "status",
    "help",
)


class Pair(TypedDict):
    """Two pictures under a blind vote, in the order in which they are shown."""

    left: Shown
    right: Shown


class Topic(TypedDict):
    """What a conversation is about.

    `request`: the person's words, the reference of all scores. `typed`: the prompt as the person typed it, where it has marks of a dialect.
    `dialect`: in which the conversation reads prompts, where it is not told by the marks. `base`: the candidate being worked on.
    `contract`: `Contract.to_json()`. `cap`: pictures that the thread may draw in all, set by the person alone. `seed`: the next one not yet
    drawn on. `place`: its turn.
    """

    place: int
    request: str
    style: str
    contract: dict[str, list[str]]
    checkpoint: str
    cap: int
    seed: int
    base: CandidateRow | None
    shown: list[Shown]
    pair: Pair | None
    accepted: Accepted | None
    asked: str
    typed: NotRequired[str]
    dialect: NotRequired[str]


class ChatState(TypedDict, total=False):
    """The state of a turn.

    `turn`: its place. `said`: the person's words. `actions`: what they were understood as. `work`: what the actions call for. `lines`: the
    reply so far; `told`: what of it was sent. `before`: what the thread had spent when the turn began. `messages`, `rounds`: this turn's
    exchange with the chat model; `wishes`: the actions it called for; `looked`: its earlier words and what it found in the database;
    `tainted`: whether it read what it found.
    """

    thread: str
    turn: int
    parent: int
    said: str
    actions: list[dict[str, Any]]
    topic: Topic
    work: dict[str, Any]
    candidates: list[CandidateRow]
    dropped: list[DroppedRow]
    lines: list[str]
    told: str
    path: list[Any]
    before: dict[str, float]
    messages: Annotated[list[Any], add_messages]
    wishes: Annotated[list[dict[str, Any]], operator.add]
    looked: Annotated[list[str], operator.add]
    tainted: Annotated[bool, operator.or_]
    rounds: int


class Reply(BaseModel):
    """What a person answers: words, or an action chosen with a button; with both, the action counts."""

    text: str = Field(default="", max_length=4000, description="what the person says, in their own words")
    action: Action | None = Field(default=None, description="the same as a choice that needs no understanding")


def first_topic(checkpoint: str, cap: int, contract: dict[str, list[str]], seed: int) -> Topic:
    """Returns the topic that every conversation begins with."""
    return {
        "place": 0,
        "request": "",
        "style": "",
        "contract": contract,
        "checkpoint": checkpoint,
        "cap": cap,
        "seed": seed,
        "base": None,
        "shown": [],
        "pair": None,
        "accepted": None,
        "asked": "",
    }
