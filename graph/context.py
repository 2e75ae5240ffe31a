"""Builds what a run works with. Options, folder, checkpoint, prompts, scorers and database are checked in the order in which they can fail.

Nothing is written before all of them are usable. What a run has spent is stored with it, so that a run resumed after a kill has the same
budget: work is paid for before it is done, and what a kill lost is done again without being paid for twice. Knows nothing of what the run
will do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from limner.agents.llm.base import Usage
from limner.agents.llm.server import ChatSettings, open_chat
from limner.graph.models import Lease
from limner.graph.settings import Settings
from limner.graph.solvers import check_method
from limner.graph.state import Context
from limner.promptdb.earlier import read_spent, remove_spent
from limner.promptdb.errors import BadInput
from limner.promptdb.images import ImageStore
from limner.promptdb.records import SamplerSettings, canonical_text
from limner.promptdb.runs import Runs, Spent
from limner.promptdb.seed import open_database
from limner.promptdb.store import PromptDB
from limner.tools.budget import UNITS, Budget
from limner.tools.diffusion.base import CancelToken, ImageModel, PromptTooLong
from limner.tools.diffusion.card import Card
from limner.tools.diffusion.checkpoint import Checkpoint
from limner.tools.diffusion.remote.openai import PREFIX, RemoteImages, RemoteSettings
from limner.tools.diffusion.sampling.sampler import Sampler
from limner.tools.evaluator import Evaluator
from limner.tools.scoring.adversarial import Adversarial
from limner.tools.scoring.base import Scorer
from limner.tools.scoring.registry import unavailable
from limner.tools.solvers.base import Solver
from limner.tools.solvers.registry import solvers


@dataclass
class JournaledBudget(Budget):
    """A Budget that stores what the run has spent after every change, before the next change may begin.

    `runs`: where it is stored; None stores nothing. `run`: id of the run. `usage`: the chat model's usage, stored with the rest.
    """

    runs: Runs | None = None
    run: str = ""
    usage: Usage = field(default_factory=Usage)

    def _record(self) -> None:
        if self.runs is not None:
            self.runs.record_spent(self.run, Spent(self.spent, self.repeated, round(self.elapsed, 3), self.usage.counts()))


@dataclass(frozen=True)
class Extras:
    """Scorers and solvers that a Python program brings as objects, by name."""

    scorers: Mapping[str, Scorer] = field(default_factory=dict)
    solvers: Mapping[str, Solver] = field(default_factory=dict)

    @property
    def factories(self) -> dict[str, Callable[[], Solver]]:
        """Returns the solvers as factories, as a Context holds them."""
        return {name: partial(_given, solver) for name, solver in self.solvers.items()}


def _given(solver: Solver) -> Solver:
    return solver


NO_EXTRAS = Extras()


@dataclass(frozen=True)
class Models:
    """The image model of a run and its scorers, the objective first.

    `checkpoint`: None for a black box behind a server. `sampling`: the settings that pictures are drawn with. `extras`: objects that a
    Python program brought.
    """

    checkpoint: Checkpoint | None
    sampler: Sampler | RemoteImages
    scorers: tuple[Scorer, ...]
    sampling: SamplerSettings
    extras: Extras = NO_EXTRAS

    @property
    def card(self) -> Card:
        """Returns the checkpoint's card; an empty one for a black box."""
        return self.checkpoint.card if self.checkpoint else Card()


def open_models(
    settings: Settings,
    lease: Lease,
    with_scorers: bool = True,
    objective: str = "",
    attack: bool = False,
    extras: Extras = NO_EXTRAS,
) -> Models:
    """Opens the checkpoint and its scorers, which stay open until the lease ends.

    `with_scorers`: whether scorers are opened at all. `objective`: the first scorer where the settings name none, if it can be opened.
    `attack`: the objective is to get worse. `extras`: scorers and solvers that are objects already. Raises BadInput where one of them
    cannot be opened, the first scorer may not be the objective of a search, or the settings cannot be served.
    """
    if settings.checkpoint.startswith(PREFIX):
        return _open_remote(settings, lease, with_scorers, objective, attack, extras)
    checkpoint = lease.checkpoint(settings.checkpoint, settings.device, settings.dtype)
    sampler = Sampler(checkpoint, settings.truncate)
    scorers = _open_scorers(settings, lease, checkpoint, objective, attack, extras) if with_scorers else ()
    changes: dict[str, Any] = {"steps": settings.steps, "guidance_scale": settings.guidance_scale}
    sampling = replace(sampler.default_settings, **{name: value for name, value in changes.items() if value is not None})
    checkpoint.scheduler(sampling.scheduler, sampling.steps)  # raises for settings that it cannot serve, before anything is written
    return Models(checkpoint, sampler, scorers, sampling, extras)


def _open_remote(settings: Settings, lease: Lease, with_scorers: bool, objective: str, attack: bool, extras: Extras) -> Models:
    """Opens a black box, with the published scorers alone; steps and guidance are the server's own."""
    if settings.steps is not None or settings.guidance_scale is not None:
        raise BadInput(f"{settings.checkpoint} samples as its server has it; leave out --steps and --guidance-scale")
    model = RemoteImages(RemoteSettings.from_env(settings.checkpoint.removeprefix(PREFIX), os.environ))
    scorers = _open_scorers(settings, lease, None, objective, attack, extras) if with_scorers else ()
    return Models(None, model, scorers, model.default_settings, extras)


def _open_scorers(
    settings: Settings, lease: Lease, checkpoint: Checkpoint | None, objective: str, attack: bool, extras: Extras
) -> tuple[Scorer, ...]:
    """Opens the scorers of a search. Raises BadInput where the first one may not be its objective; for an attack that one is reversed."""
    scorers = open_scorers(settings, lease, checkpoint, objective, extras)
    if scorers[0].held_out:
        raise BadInput(f"{scorers[0].name} is kept out of every search, so it cannot be the objective; name another --scorer first")
    return (Adversarial(scorers[0]), *scorers[1:]) if attack else scorers


def open_scorers(
    settings: Settings, lease: Lease, checkpoint: Checkpoint | None, objective: str = "", extras: Extras = NO_EXTRAS
) -> tuple[Scorer, ...]:
    """Opens the scorers that the settings name, then the others of the card, the judge last.

    Scorers beside the objective are always opened, so that more than the objective is reported. Raises BadInput where there is no scorer
    that could be the objective.
    """
    card = checkpoint.card if checkpoint else Card()
    own = sorted(card.scorers, key=lambda name: (name == card.judge, name != card.objective, list(card.scorers).index(name)))
    asked = settings.scorers or ((objective,) if objective and not unavailable(objective, checkpoint) else ())
    names = list(dict.fromkeys([*asked, *own]))
    if not names:
        raise BadInput(f"{settings.checkpoint} comes without scorers; name one with --scorer (clip, hpsv2.1, aesthetic)")
    device = checkpoint.device if checkpoint else settings.device or "cpu"
    own_objects = extras.scorers
    return tuple(own_objects[name] if name in own_objects else lease.scorer(name, checkpoint, device) for name in names)


def check_prompt(prompt: str, sampler: ImageModel, truncate: bool) -> str:
    """Returns the prompt in canonical form. Raises BadInput where it is empty, or longer than is read and `truncate` is False."""
    text = canonical_text(prompt)
    if not text:
        raise BadInput("the prompt is empty; say what the picture should show")
    tokens, limit = sampler.token_count(text)
    if tokens > limit * sampler.most_windows and not truncate:
        raise PromptTooLong(text, tokens, limit * sampler.most_windows)
    return text


def check_places(settings: Settings) -> None:
    """Raises BadInput where the folder of results or that of the database could not be written into. Makes neither."""
    for folder in (settings.folder, settings.database.parent):
        _check_folder(folder)


def _check_folder(folder: Path) -> None:
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise BadInput(f"{folder} cannot be made: {there} is a file; choose another folder with --out")
    if not os.access(there, os.W_OK | os.X_OK):
        raise BadInput(f"{folder} cannot be written to; choose another folder with --out")


@contextmanager
def open_context(
    settings: Settings,
    models: Models,
    run: str = "",
    method: str = "rewrite",
    budget_images: int | None = None,
    cancel: CancelToken | None = None,
) -> Iterator[Context]:
    """Opens the live objects of a run, and closes them at the end of the block.

    `budget_images`: cap on images; None for no cap. `cancel`: checked while pictures are drawn. What an earlier process of the same run
    spent counts; what a kill lost is drawn again without being paid for twice.

    Raises Busy where another process or thread works on the run.
    """
    chat_settings = ChatSettings.from_env(os.environ)
    with ExitStack() as opened:
        db = opened.enter_context(open_database(settings.database))
        if run:
            opened.enter_context(Runs(db).hold(run))
        images = ImageStore(settings.database.parent / "images")
        budget = open_budget(settings, db, run, budget_images)
        evaluator = Evaluator(models.sampler, models.scorers, db, images, budget, models.sampling, run, cancel)
        chat = open_chat(chat_settings, budget, db)
        chat.usage.add(budget.usage)
        budget.usage = chat.usage
        context = Context(chat, evaluator, db, images, settings, solvers() | models.extras.factories, models.card)
        check_method(method, context.solvers, evaluator)
        yield context


def open_budget(settings: Settings, db: PromptDB, run: str, cap: int | None) -> JournaledBudget:
    """Opens the run's Budget with a cap of `cap` images (None: no cap), with what earlier processes of the run spent.

    Drawings that a kill lost stay paid for: the Evaluator finds them in the run store and draws them again without charge. Raises BadInput
    where an earlier version left a file of what was spent that cannot be read.
    """
    if not run:
        return JournaledBudget(images=cap)
    runs = Runs(db)
    before, folder = runs.spent(run), settings.folder / run
    if before is None and (left := read_spent(folder)):
        before = Spent(**left)
        runs.record_spent(run, before)
        remove_spent(folder)
    before = before or Spent()
    spent = {unit: before.amounts.get(unit, 0) for unit in UNITS}
    usage = Usage(**cast(dict[str, Any], before.usage))
    return JournaledBudget(
        images=cap, spent=spent, repeated=before.repeated, seconds_before=before.seconds, runs=runs, run=run, usage=usage
    )
