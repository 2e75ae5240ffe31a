"""The live things that conversations work with: checkpoints opened once, the database, and for each turn the thread's own purse.

One drawing is done at a time, whoever asks. Knows nothing of what is said.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agents.chat_model import ChatSettings, open_chat
from agents.contract import Contract
from agents.messages import ChatModel
from graph.context import StoppableSampler, open_budget, open_models
from graph.database import open_database
from graph.journal import JournaledBudget
from graph.settings import Settings
from graph.state import Context
from graph.tool_nodes import solvers
from promptdb.images import ImageStore
from promptdb.records import SamplerSettings
from tools.budget import Budget
from tools.diffusion.base import ImageModel
from tools.diffusion.card import Card
from tools.evaluator import Evaluator
from tools.scoring.base import Scorer
from tools.solver import Solver

Stop = Callable[[], None]


@dataclass(frozen=True)
class Opened:
    """A checkpoint ready to draw. `model`: made anew for each turn, so that one person's stop ends nobody else's drawing."""

    model: Callable[[Stop], ImageModel]
    scorers: Sequence[Scorer]
    sampling: SamplerSettings
    card: Card


def open_checkpoint_of(settings: Settings) -> Opened:
    """The checkpoint of the settings with its scorers. Raises BadInput."""
    models = open_models(settings)
    checkpoint = models.checkpoint

    def model(stop: Stop) -> ImageModel:
        return StoppableSampler(checkpoint, settings.truncate, stop) if checkpoint else open_models(settings, False, stop).sampler

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
        self.db = open_database(settings)
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

    def desk(self, thread: str, stop: Stop = lambda: None) -> Desk:
        return Desk(self, thread, stop)


@dataclass
class Desk:
    """One turn's place in the studio: the thread's purse as it stands on disk, and what is drawn is paid from it."""

    studio: Studio
    thread: str
    stop: Stop = lambda: None
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
            model = opened.model(self.stop)
            evaluator = Evaluator(model, opened.scorers, studio.db, studio.images, purse, opened.sampling, self.thread)
            settings = replace(studio.settings, checkpoint=checkpoint)
            known = Context(chat, evaluator, studio.db, studio.images, settings, studio.solvers, opened.card)
            self._contexts[checkpoint] = known
        given = contract
        settings = replace(known.settings, pins=given.pins, triggers=given.triggers, bans=given.bans, traits=given.traits)
        return replace(known, settings=settings)
