"""Builds what a run works with, in the order in which things go wrong: options, folder, checkpoint, prompts, scorers, database.

Nothing is written before all of it is known to be usable. Knows nothing of what the run will do.

Opens the prompt database of a run or a command. Apart from context.py, which needs LangGraph and the diffusion tools.

What a run has spent is stored in the run store, so that a killed run goes on with the same budget.

A budget is paid before the work is done, so a kill leaves work that was paid for and lost; it is done again for nothing. What
the chat model used is noted with it; of a killed process the tokens of answers on their way are missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from limner.agents.llm.base import Usage
from limner.agents.llm.server import ChatSettings, open_chat
from limner.graph.models import Lease
from limner.graph.settings import Settings
from limner.graph.solvers import check_method
from limner.graph.state import Context
from limner.promptdb.earlier import read_spent, remove_spent
from limner.promptdb.errors import BadInput
from limner.promptdb.images import ImageStore
from limner.promptdb.records import Conditioning, Drawing, SamplerSettings, canonical_text
from limner.promptdb.runs import Runs, Spent
from limner.promptdb.seed import open_database
from limner.promptdb.store import PromptDB
from limner.tools.budget import UNITS, Budget
from limner.tools.diffusion.base import Drawn, ImageModel, PromptTooLong
from limner.tools.diffusion.card import Card
from limner.tools.diffusion.checkpoint import Checkpoint
from limner.tools.diffusion.remote.openai import PREFIX, RemoteImages, RemoteSettings
from limner.tools.diffusion.sampling.denoising import Hooks
from limner.tools.diffusion.sampling.sampler import Sampler
from limner.tools.evaluator import Evaluator
from limner.tools.scoring.adversarial import Adversarial
from limner.tools.scoring.base import Scorer
from limner.tools.scoring.registry import unavailable
from limner.tools.solvers.registry import solvers

if TYPE_CHECKING:
    import torch


@dataclass
class JournaledBudget(Budget):
    """A Budget that stores what the run has spent after every change, before the next one may begin: what is stored is always the latest.
    `runs`: None stores nothing. `usage`: the chat model's, stored with it."""

    runs: Runs | None = None
    run: str = ""
    usage: Usage = field(default_factory=Usage)

    def _record(self) -> None:
        if self.runs is not None:
            self.runs.record_spent(self.run, Spent(self.spent, self.repeated, round(self.elapsed, 3), self.usage.counts()))


@dataclass(frozen=True)
class Models:
    """What draws, and the scorers beside it: the objective first. `checkpoint`: None for a black box behind a server."""

    checkpoint: Checkpoint | None
    sampler: Sampler | RemoteImages
    scorers: tuple[Scorer, ...]
    sampling: SamplerSettings

    @property
    def card(self) -> Card:
        """The checkpoint's; an empty one for a black box."""
        return self.checkpoint.card if self.checkpoint else Card()


class StoppableSampler(Sampler):
    """A Sampler that asks `check` before every denoising step, so that a run ends within one step of being asked to."""

    def __init__(self, checkpoint: Checkpoint, truncate: bool, check: Callable[[], None]) -> None:
        super().__init__(checkpoint, truncate)
        self._check_stop = check

    def draw(self, drawings: Sequence[Drawing], on_drawn: Callable[[Drawn], None] | None = None, hooks: Hooks | None = None) -> list[Drawn]:
        own = hooks or Hooks()

        def on_step(step: int, timestep: torch.Tensor, latents: torch.Tensor) -> None:
            self._check_stop()
            if own.on_step:
                own.on_step(step, timestep, latents)

        return super().draw(drawings, on_drawn, replace(own, on_step=on_step))


def open_models(
    settings: Settings,
    lease: Lease,
    with_scorers: bool = True,
    stop: Callable[[], None] = lambda: None,
    objective: str = "",
    attack: bool = False,
) -> Models:
    """Open the checkpoint and its scorers, which are the lease's until it ends. `stop` is called before every denoising step and may
    raise. `objective`: what leads where the settings name no scorer and this one is there. `attack`: it is to get worse. Raises
    BadInput."""
    if settings.checkpoint.startswith(PREFIX):
        return _open_remote(settings, lease, with_scorers, stop, objective, attack)
    checkpoint = lease.checkpoint(settings.checkpoint, settings.device, settings.dtype)
    sampler = StoppableSampler(checkpoint, settings.truncate, stop)
    scorers = open_scorers(settings, lease, checkpoint, objective) if with_scorers else ()
    scorers = _turned(scorers) if attack else scorers
    changes: dict[str, Any] = {"steps": settings.steps, "guidance_scale": settings.guidance_scale}
    sampling = replace(sampler.default_settings, **{name: value for name, value in changes.items() if value is not None})
    checkpoint.scheduler(sampling.scheduler, sampling.steps)  # refuses what it cannot serve, before anything is written
    return Models(checkpoint, sampler, scorers, sampling)


def _open_remote(settings: Settings, lease: Lease, with_scorers: bool, stop: Callable[[], None], objective: str, attack: bool) -> Models:
    """A black box: the published scorers alone, and the server's own way of sampling."""
    if settings.steps is not None or settings.guidance_scale is not None:
        raise BadInput(f"{settings.checkpoint} samples as its server has it; leave out --steps and --guidance-scale")
    model = RemoteImages(RemoteSettings.from_env(settings.checkpoint.removeprefix(PREFIX), os.environ), stop)
    scorers = open_scorers(settings, lease, None, objective) if with_scorers else ()
    return Models(None, model, _turned(scorers) if attack else scorers, model.default_settings)


def _turned(scorers: tuple[Scorer, ...]) -> tuple[Scorer, ...]:
    """The objective reversed, as an attack wants it."""
    return (Adversarial(scorers[0]), *scorers[1:]) if scorers else scorers


def open_scorers(settings: Settings, lease: Lease, checkpoint: Checkpoint | None, objective: str = "") -> tuple[Scorer, ...]:
    """Those asked for, then the card's others, the judge last, so that something beside the objective is always reported.

    Raises BadInput where nothing could be an objective.
    """
    card = checkpoint.card if checkpoint else Card()
    own = sorted(card.scorers, key=lambda name: (name == card.judge, name != card.objective, list(card.scorers).index(name)))
    asked = settings.scorers or ((objective,) if objective and not unavailable(objective, checkpoint) else ())
    names = list(dict.fromkeys([*asked, *own]))
    if not names:
        raise BadInput(f"{settings.checkpoint} comes without scorers; name one with --scorer (clip, hpsv2.1, aesthetic)")
    device = checkpoint.device if checkpoint else settings.device or "cpu"
    return tuple(lease.scorer(name, checkpoint, device) for name in names)


def check_objective(scorers: Sequence[Scorer]) -> None:
    """Raises BadInput where the first scorer may not lead a search."""
    if scorers[0].held_out:
        raise BadInput(f"{scorers[0].name} is kept out of every search, so it cannot be the objective; name another --scorer first")


def check_prompt(prompt: str, sampler: ImageModel, truncate: bool) -> str:
    """The prompt in canonical form. Raises BadInput where it is empty or over the encoder's limit."""
    text = canonical_text(prompt)
    if not text:
        raise BadInput("the prompt is empty; say what the picture should show")
    tokens, limit = sampler.token_count(text)
    if tokens > limit and not truncate:
        raise BadInput(str(PromptTooLong(Conditioning(text), tokens, limit)))
    return text


def check_folder(folder: Path) -> None:
    """Raises BadInput where nothing could be written into `folder`, without making it."""
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
) -> Iterator[Context]:
    """The live objects of a run. What an earlier process of the same run spent counts; what a kill lost is drawn again for nothing.

    Raises Busy where another process or thread works on the run.
    """
    chat_settings = ChatSettings.from_env(os.environ)
    with ExitStack() as opened:
        db = opened.enter_context(open_database(settings.database))
        if run:
            opened.enter_context(Runs(db).hold(run))
        images = ImageStore(settings.database.parent / "images")
        budget = open_budget(settings, db, run, budget_images)
        evaluator = Evaluator(models.sampler, models.scorers, db, images, budget, models.sampling, run)
        chat = open_chat(chat_settings, budget, db)
        chat.usage.add(budget.usage)
        budget.usage = chat.usage
        context = Context(chat, evaluator, db, images, settings, solvers(), models.card)
        check_method(method, context.solvers, evaluator)
        yield context


def open_budget(settings: Settings, db: PromptDB, run: str, cap: int | None) -> JournaledBudget:
    """The run's Budget of `cap` images, with what earlier processes of the run spent. What a kill lost stays paid for: the Evaluator
    knows it by its note and draws it again for nothing.

    Raises BadInput where an earlier version left a file of what was spent that cannot be read.
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
