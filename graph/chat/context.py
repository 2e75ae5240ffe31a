"""What the conversation's nodes work with: the services that all conversations share, and for each turn the thread's own budget.

A checkpoint is leased while something is drawn with it, so that one drawing at a time is done on it. Also the payload that front ends show
while a thread waits, the turn that an undo goes back to, and the stream that sends a turn's reply in pieces.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

from langgraph.prebuilt import ToolRuntime
from langgraph.runtime import Runtime

from limner.agents import guard
from limner.agents.chat.actions import Action
from limner.agents.llm.base import ChatModel
from limner.agents.llm.server import ChatSettings, open_chat
from limner.graph.chat.state import ACTIONS, ChatState, Topic, first_topic
from limner.graph.chat.topic import asked_for, reading_of, whole_contract
from limner.graph.context import JournaledBudget, Models, open_budget, open_models
from limner.graph.models import Lease, ModelPool
from limner.graph.nodes import tell
from limner.graph.plan import COMPARED
from limner.graph.settings import Settings
from limner.graph.sources import settings_from
from limner.graph.state import Context, Shown
from limner.promptdb.images import ImageStore
from limner.promptdb.seed import open_database
from limner.promptdb.turns import Turns
from limner.tools.budget import Budget
from limner.tools.diffusion.base import CancelToken
from limner.tools.evaluator import Evaluator
from limner.tools.prompt_language.dialects import AUTO
from limner.tools.solvers.base import Solver
from limner.tools.solvers.registry import solvers

OpenModels = Callable[[Settings, Lease], Models]


def open_models_of(settings: Settings, lease: Lease) -> Models:
    """Opens the checkpoint of the settings with its scorers. Raises BadInput."""
    return open_models(settings, lease)


def open_chat_of_environment(budget: Budget, db: Any) -> ChatModel:
    """Opens the chat model that the environment names, else the offline stand-in."""
    return open_chat(ChatSettings.from_env(os.environ), budget, db)


class ChatServices:
    """What all conversations share: settings, database, pictures, the pool of checkpoints. Thread-safe. Close it in the end.

    `opener`: opens a checkpoint; `open_chat`: opens the chat model. Tests replace both.
    """

    def __init__(
        self,
        settings: Settings,
        pool: ModelPool | None = None,
        opener: OpenModels = open_models_of,
        open_chat: Callable[[Budget, Any], ChatModel] = open_chat_of_environment,
        solver_factories: Mapping[str, Callable[[], Solver]] | None = None,
    ) -> None:
        self.settings = settings
        self.db = open_database(settings.database)
        self.images = ImageStore(settings.database.parent / "images")
        self.solvers = solvers() if solver_factories is None else solver_factories
        self.open_chat = open_chat
        self._pool, self._opener = pool or ModelPool(), opener
        self._opened = {settings.checkpoint: None}

    def close(self) -> None:
        """Closes the database, and unloads the checkpoints that are not leased."""
        self._pool.unload()
        self.db.close()

    @property
    def checkpoints(self) -> list[str]:
        """Returns the checkpoints that may be switched to without the person naming them: that of the settings, and those opened since."""
        return list(self._opened)

    @contextmanager
    def models(self, settings: Settings) -> Iterator[Models]:
        """Yields the checkpoint of the settings and its scorers, leased until the block ends. Waits while another turn has them.

        Raises BadInput where there is no such checkpoint.
        """
        with self._pool.lease() as lease:
            models = self._opener(settings, lease)
            self._opened[settings.checkpoint] = None
            yield models

    def context(self, thread: str, cancel: CancelToken | None = None) -> ChatContext:
        """Returns what a turn of the conversation `thread` works with. `cancel`: checked while pictures are drawn."""
        return ChatContext(self, thread, cancel)


@dataclass
class ChatContext:
    """What one turn of a conversation works with: the services, and the thread's own budget as it is stored."""

    services: ChatServices
    thread: str
    cancel: CancelToken | None = None
    _budget: JournaledBudget | None = None
    _chat: ChatModel | None = None

    def budget(self, cap: int) -> JournaledBudget:
        """Returns the thread's budget with a cap of `cap` pictures; the same object throughout the turn, whichever checkpoint draws."""
        if self._budget is None:
            self._budget = open_budget(self.services.settings, self.services.db, self.thread, max(1, cap))
        self._budget.images = max(1, cap)
        return self._budget

    def chat_model(self, cap: int) -> ChatModel:
        """Returns the chat model, whose calls are paid from the thread's budget; the same object throughout the turn."""
        if self._chat is None:
            budget = self.budget(cap)
            self._chat = self.services.open_chat(budget, self.services.db)
            self._chat.usage.add(budget.usage)
            budget.usage = self._chat.usage
        return self._chat

    @contextmanager
    def opened(self, topic: Topic, for_check: bool = False) -> Iterator[Context]:
        """Yields the context of a run that draws with the topic's checkpoint, within the person's cap and contract.

        Its budget leaves the pictures of the held-out check of what will be accepted; `for_check`: it may spend them. The checkpoint is
        leased until the block ends. Raises BadInput where it cannot be opened.
        """
        services, rules = self.services, whole_contract(topic)
        settings = replace(
            services.settings,
            checkpoint=topic["checkpoint"],
            pins=rules.pins,
            triggers=rules.triggers,
            bans=rules.bans,
            traits=rules.traits,
            let_go=rules.let_go,
        )
        whole, chat = self.budget(topic["cap"]), self.chat_model(topic["cap"])
        budget = whole if for_check else whole.slice(keep={"images": COMPARED * settings.heldout_seeds})
        with services.models(settings) as models:
            db, images = services.db, services.images
            evaluator = Evaluator(models.sampler, models.scorers, db, images, budget, models.sampling, self.thread, self.cancel)
            evaluator = evaluator.carrying(reading_of(topic).conditioning).avoiding(rules.unwanted, [asked_for(topic)])
            yield Context(chat, evaluator, db, images, settings, services.solvers, models.card)


_standard: list[ChatServices] = []
_making = threading.Lock()


def context_of(runtime: Runtime[ChatContext] | ToolRuntime) -> ChatContext:
    """Returns the turn's own context; under a server that passes none, a context of services with the standard settings."""
    if isinstance(runtime.context, ChatContext):
        return runtime.context
    with _making:
        if not _standard:
            _standard.append(ChatServices(settings_from(Settings)))
    info = runtime.execution_info
    return _standard[0].context((info.thread_id if info else None) or "chat")


def open_topic(chat: ChatContext) -> Topic:
    """Returns the topic that a conversation with these services begins with."""
    settings = chat.services.settings
    topic = first_topic(settings.checkpoint, settings.budget, settings.contract.to_json(), settings.seed + settings.search_seeds)
    if settings.dialect != AUTO:
        topic["dialect"] = settings.dialect
    return topic


def recall(chat: ChatContext, place: int, action: Action) -> tuple[int, Topic] | None:
    """Returns the turn, and its topic, to which an undo goes back from the turn at `place`; None where there is none.

    It is the turn that the action names, else `action.steps` changes before. Place 0 is the beginning.
    """
    turns = Turns(chat.services.db, chat.thread)
    if action.turn is not None:
        found = turns.get(action.turn)
        return (found.place, _topic(found.document)) if found else None
    line = turns.line(place)
    topics = [(0, open_topic(chat)), *((turn.place, _topic(turn.document)) for turn in line)]
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
    """What a person would call a change: the topic without its bookkeeping."""
    return {name: value for name, value in topic.items() if name not in ("place", "asked", "seed", "cap", "pair")}


def pause(state: ChatState, chat: ChatContext) -> dict[str, Any]:
    """Returns what front ends show while the conversation waits for an answer; of a pair under a blind vote only the pictures."""
    topic, pair = state["topic"], state["topic"]["pair"]
    return {
        "thread": state.get("thread", chat.thread),
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
        "used": chat.budget(topic["cap"]).used(),
        "choices": ["left", "right", "tie"] if pair else list(ACTIONS),
    }


def view_of(row: Shown) -> dict[str, Any]:
    """Returns a shown picture as front ends take it."""
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
    """Returns a chat model's words as they go into the reply: cleaned, at most LONGEST characters."""
    return guard.clean(text)[:LONGEST]


class ReplyStream:
    """Sends a turn's reply in pieces, as events of kind `words`. `text`: what was sent so far.

    A reply that does not begin with `text` sends nothing, since the whole reply comes at the turn's end.
    """

    def __init__(self, runtime: Runtime[Any], text: str) -> None:
        self._runtime, self.text = runtime, text

    def extend(self, reply: str) -> None:
        """Sends what `reply` has beyond `text`."""
        if len(reply) > len(self.text) and reply.startswith(self.text):
            tell(self._runtime, {"kind": "words", "text": reply[len(self.text) :]})
            self.text = reply

    def speak(self, before: Sequence[str], text: str) -> None:
        """Sends what a chat model has answered so far, behind the lines `before`.

        Sends nothing while the text may still be a thought or a wrapping that is no part of the answer.
        """
        if not _unfinished(text):
            self.extend("\n".join([*before, spoken(text).rstrip()]))


def tell_lines(runtime: Runtime[Any], told: str, lines: Sequence[str]) -> str:
    """Sends what `lines` have beyond the text `told`, which was sent already; returns all that was sent by then."""
    stream = ReplyStream(runtime, told)
    stream.extend("\n".join(lines))
    return stream.text


def _unfinished(text: str) -> bool:
    """Whether the text may begin with what is no part of the answer: a thought that is not closed, a fence, a quotation mark, a label."""
    start = text.lstrip().lower()
    if start.startswith("<think>"):
        return "</think>" not in start
    return "<think>".startswith(start) or start[:1] in "`\"'“‘«「*_#>" or (":" not in start and len(start) < 12 and start in _LABELS)


_LABELS = ("prompt", "answer", "output", "positive", "keywords", "tags")
