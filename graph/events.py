"""The events of runs and conversations, as one union told apart by `kind`: terminal, web page, HTTP, MCP and stored jobs read these alone.

An event is a plain dictionary, so that it is written to JSON, to a stream and to LangGraph as it is; the classes are its types, which mypy
checks where an event is made and where it is read, and the schema that servers publish. `EVENTS` checks one at run time, for tests.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter
from typing_extensions import TypeAliasType, TypedDict

from limner.graph.state import Accepted, LearnOutcome, Outcome, Shown
from limner.tools.events import BestFound, Drawn, Learned, Scored, Warned

__all__ = ["EVENTS", "Event", "OtherEvent"]


class Started(TypedDict):
    """A run begins, or goes on where an earlier process of it ended (`resumed`). `chat_model`: "offline" is a stand-in by rules."""

    kind: Literal["started"]
    run: str
    prompt: str
    method: str
    checkpoint: str
    chat_model: str
    resumed: bool


class NodeStarted(TypedDict):
    """A step of the run begins."""

    kind: Literal["node"]
    node: str
    phase: Literal["start"]


class NodeEnded(TypedDict):
    """A step of the run has ended. `note`: what came of it, in a few words; may be empty."""

    kind: Literal["node"]
    node: str
    phase: Literal["end"]
    seconds: float
    note: str


class Drawing(TypedDict):
    """Pictures are about to be drawn. `images`: how many; those that are stored already do not count."""

    kind: Literal["draw"]
    images: int


class Proposed(TypedDict):
    """A candidate was found. `text`: its prompt, or the instruction where instructions are learned. `origin`: the method that found it."""

    kind: Literal["candidate"]
    text: str
    origin: str


class Dropped(TypedDict):
    """Proposals of a method that did not become candidates: why, and how many."""

    kind: Literal["dropped"]
    origin: str
    reason: str
    count: int


class Skipped(TypedDict):
    """A method does not run here, and why."""

    kind: Literal["skipped"]
    method: str
    reason: str


class IterationEnded(TypedDict):
    """An iteration of `optimize` has ended. `text`: the leading instruction. `count`: instructions that were compared."""

    kind: Literal["iteration"]
    iteration: int
    text: str
    count: int


class Finished(TypedDict):
    """A run has ended. `outcome`: what it found, as in its report."""

    kind: Literal["finished"]
    outcome: Outcome | LearnOutcome


class Heard(TypedDict):
    """A turn of a conversation begins: told at once, before anything is done."""

    kind: Literal["heard"]
    thread: str
    turn: int


class Understood(TypedDict):
    """What the person's words were taken for: `Action`s as JSON."""

    kind: Literal["understood"]
    actions: list[dict[str, Any]]


class PicturesShown(TypedDict):
    """Pictures to choose from, the best first."""

    kind: Literal["shown"]
    images: list[Shown]


class PairImages(TypedDict):
    """Hashes of two pictures."""

    left: str
    right: str


class PairShown(TypedDict):
    """Two pictures for a blind vote."""

    kind: Literal["pair"]
    images: PairImages


class PromptsFound(TypedDict):
    """Prompts of the database: `text`, `negative` and `source` of each."""

    kind: Literal["found"]
    prompts: list[dict[str, str]]


class VotesCounted(TypedDict):
    """How the prompts stand among all votes on the request, the strongest first."""

    kind: Literal["strengths"]
    rows: list[dict[str, Any]]


class ResultAccepted(TypedDict):
    """The person accepted a prompt, which was compared with their own on held-out seeds where the cap on pictures allows it."""

    kind: Literal["accepted"]
    result: Accepted


class Words(TypedDict):
    """The next piece of the reply, as it is composed or as the chat model says it."""

    kind: Literal["words"]
    text: str


class Replied(TypedDict):
    """The whole reply of a turn. Where it does not begin with the words so far, as after a broken stream, it replaces them."""

    kind: Literal["reply"]
    text: str
    turn: int


class Asked(TypedDict):
    """What the conversation waits for now; always the last event of a turn."""

    kind: Literal["asked"]
    payload: dict[str, Any]


Node = TypeAliasType("Node", Annotated[NodeStarted | NodeEnded, Field(discriminator="phase")])

OtherEvent = (
    Started | Node | Drawing | Scored | Proposed | Dropped | Skipped | Warned | IterationEnded | BestFound | Learned | Finished
    | Heard | Understood | PicturesShown | PairShown | PromptsFound | VotesCounted | ResultAccepted | Words | Replied | Asked
)  # fmt: skip
"""All events but `Drawn`, to which servers add the address of the picture."""

Event = TypeAliasType("Event", Annotated[Drawn | OtherEvent, Field(discriminator="kind")])
"""Any event of a run or of a turn of a conversation."""

EVENTS: TypeAdapter[Event] = TypeAdapter(Event, config=ConfigDict(extra="forbid"))
"""Refuses what no class here describes: another kind, a key too many or too few, a value of another type."""
