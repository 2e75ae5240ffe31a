"""Between the conversation's nodes and the live things they work with: which studio, which topic, what is shown while it pauses.

The live things that conversations work with: checkpoints opened once, the database, and for each turn the thread's own purse.

One drawing is done at a time, whoever asks. Knows nothing of what is said.

A turn's reply, told in pieces: a line when it is composed, a chat model's words when they come. Decides nothing of what is said.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from langgraph.prebuilt import ToolRuntime
from langgraph.runtime import Runtime

from limner.agents import guard
from limner.agents.chat.actions import Action
from limner.agents.contract import Contract
from limner.agents.llm.base import ChatModel
from limner.agents.llm.server import ChatSettings, open_chat
from limner.graph.chat.state import ACTIONS, ChatState, Shown, Topic, first_topic
from limner.graph.chat.topic import contract_of
from limner.graph.context import JournaledBudget, open_budget, open_models
from limner.graph.settings import Settings, settings_from
from limner.graph.solvers import solvers
from limner.graph.state import Context
from limner.promptdb.images import ImageStore
from limner.promptdb.records import SamplerSettings
from limner.promptdb.seed import open_database
from limner.promptdb.turns import Turns
from limner.tools.budget import Budget
from limner.tools.diffusion.base import CancelToken, ImageModel
from limner.tools.diffusion.card import Card
from limner.tools.diffusion.sampling.sampler import Sampler
from limner.tools.evaluator import Evaluator
from limner.tools.scoring.base import Scorer
from limner.tools.solvers.base import Solver


@dataclass(frozen=True)
class Opened:
    """A checkpoint ready to draw. `model`: makes a model for each turn, whose caches belong to the turn's thread."""

    model: Callable[[], ImageModel]
    scorers: Sequence[Scorer]
    sampling: SamplerSettings
    card: Card


def open_checkpoint_of(settings: Settings) -> Opened:
    """The checkpoint of the settings with its scorers. Raises BadInput."""
    models = open_models(settings)
    checkpoint = models.checkpoint

    def model() -> ImageModel:
        return Sampler(checkpoint, settings.truncate) if checkpoint else models.sampler

    return Opened(model, models.scorers, models.sampling, models.card)


def open_chat_of_environment(budget: Budget, db: Any) -> ChatModel:
    """The chat model that the environment names, else the offline stand-in."""
    return open_chat(ChatSettings.from_env(os.environ), budget, db)


class Studio:
    """Thread-safe. `opener` and `chat` are what tests replace. Close it in the end."""

    def __init__(
        self,
        settings: Settings,
        opener: Callable[[Settings], Opened] = open_checkpoint_of,
        chat: Callable[[Budget, Any], ChatModel] = open_chat_of_environment,
        solver_factories: Mapping[str, Callable[[], Solver]] | None = None,
    ) -> None:
        self.settings = settings
        self.db = open_database(settings.database)
        self.images = ImageStore(settings.database.parent / "images")
        self.solvers = solvers() if solver_factories is None else solver_factories
        self.at_work = threading.RLock()
        """Held while anything is drawn."""
        self._opener, self.chat = opener, chat
        self._opened: dict[str, Opened] = {}
        self._opening = threading.Lock()

    def close(self) -> None:
        self.db.close()

    def opened(self, checkpoint: str) -> Opened:
        """Opened at the first call, kept from then on. Raises BadInput where there is no such checkpoint."""
        with self._opening:
            if checkpoint not in self._opened:
                self._opened[checkpoint] = self._opener(replace(self.settings, checkpoint=checkpoint))
            return self._opened[checkpoint]

    @property
    def checkpoints(self) -> list[str]:
        """Those that may be switched to without the person naming them: the one of the settings, and those opened since."""
        return list(dict.fromkeys([self.settings.checkpoint, *self._opened]))

    def desk(self, thread: str, cancel: CancelToken | None = None) -> Desk:
        return Desk(self, thread, cancel)


@dataclass
class Desk:
    """One turn's place in the studio: the thread's purse as it stands on disk, and what is drawn is paid from it."""

    studio: Studio
    thread: str
    cancel: CancelToken | None = None
    _contexts: dict[str, Context] = field(default_factory=dict)
    _purse: JournaledBudget | None = None

    def purse(self, cap: int) -> JournaledBudget:
        """What the thread may still spend; the same object all through the turn, whichever checkpoint draws."""
        studio = self.studio
        if self._purse is None:
            self._purse = open_budget(studio.settings, self.thread, max(1, cap))
        self._purse.images = max(1, cap)
        return self._purse

    def context(self, checkpoint: str, cap: int, contract: Contract) -> Context:
        """What a run of that checkpoint works with, within the thread's cap on pictures. Raises BadInput."""
        studio, purse = self.studio, self.purse(cap)
        known = self._contexts.get(checkpoint)
        if known is None:
            opened = studio.opened(checkpoint)
            chat = studio.chat(purse, studio.db)
            if chat.usage is not purse.usage:
                chat.usage.add(purse.usage)
                purse.usage = chat.usage
            model = opened.model()
            evaluator = Evaluator(model, opened.scorers, studio.db, studio.images, purse, opened.sampling, self.thread, self.cancel)
            settings = replace(studio.settings, checkpoint=checkpoint)
            known = Context(chat, evaluator, studio.db, studio.images, settings, studio.solvers, opened.card)
            self._contexts[checkpoint] = known
        given = contract
        settings = replace(known.settings, pins=given.pins, triggers=given.triggers, bans=given.bans, traits=given.traits)
        return replace(known, settings=settings)


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


LONGEST = 600  # characters of a chat model's answer in words


def spoken(text: str) -> str:
    """A chat model's words as they go into the reply."""
    return guard.clean(text)[:LONGEST]


class Told:
    """`text`: what was told of the reply so far. Only what goes on from it is told; the whole reply comes at the turn's end anyway."""

    def __init__(self, runtime: Runtime[Any], text: str) -> None:
        self._runtime, self.text = runtime, text

    def go_on(self, reply: str) -> None:
        """Tell what is new of the reply as it stands now."""
        if len(reply) > len(self.text) and reply.startswith(self.text):
            self._runtime.stream_writer({"kind": "words", "text": reply[len(self.text) :]})
            self.text = reply

    def hear(self, before: Sequence[str], text: str) -> None:
        """Tell what a chat model has said by now, behind the lines `before`: nothing while it thinks or may yet turn out to be wrapping."""
        if not _unfinished(text):
            self.go_on("\n".join([*before, spoken(text).rstrip()]))


def tell_lines(runtime: Runtime[Any], told: str, lines: Sequence[str]) -> str:
    """Tell the lines that were composed since; returns what is told by now."""
    saying = Told(runtime, told)
    saying.go_on("\n".join(lines))
    return saying.text


def _unfinished(text: str) -> bool:
    """Whether it may begin with what is no part of the answer: a thought that is not closed, a fence, a quotation mark, a label."""
    start = text.lstrip().lower()
    if start.startswith("<think>"):
        return "</think>" not in start
    return "<think>".startswith(start) or start[:1] in "`\"'“‘«「*_#>" or (":" not in start and len(start) < 12 and start in _LABELS)


_LABELS = ("prompt", "answer", "output", "positive", "keywords", "tags")
