"""Builds what a run works with, in the order in which things go wrong: options, folder, checkpoint, prompts, scorers, database.

Nothing is written before all of it is known to be usable. Knows nothing of what the run will do.

Opens the prompt database of a run or a command. Apart from context.py, which needs LangGraph and the diffusion tools.

What a run has spent so far, in a small file beside its report, so that a killed run goes on with the same purse.

A budget is paid before the work is done, so a kill leaves work that was paid for and lost; it is done again for nothing. What
the chat model used is noted with it; of a killed process the tokens of answers on their way are missing.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from limner.agents.llm.base import Usage
from limner.agents.llm.server import ChatSettings, open_chat
from limner.graph.models import opened_checkpoint, opened_scorer
from limner.graph.settings import Settings
from limner.graph.solvers import check_method, solvers
from limner.graph.state import Context
from limner.promptdb.errors import BadInput
from limner.promptdb.images import ImageStore
from limner.promptdb.records import Conditioning, SamplerSettings, canonical_text
from limner.promptdb.seed import open_database
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


@dataclass
class JournaledBudget(Budget):
    """A Budget that writes `journal` after every change, before the next one may begin: the file is always the latest state, and whole.
    `usage`: the chat model's, written down beside it."""

    journal: Path | None = None
    usage: Usage = field(default_factory=Usage)

    def _record(self) -> None:
        if self.journal is None:
            return
        document = {"spent": self.spent, "repeated": self.repeated, "seconds": round(self.elapsed, 3), "usage": self.usage.counts()}
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        # The lock is this purse's alone: another process, or another purse of this run in another thread, writes a half of its own.
        half = self.journal.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
        try:
            half.write_text(json.dumps(document), encoding="utf-8")
            half.replace(self.journal)
        except BaseException:
            half.unlink(missing_ok=True)
            raise


def read_journal(path: Path) -> dict[str, Any]:
    """`spent`, `repeated`, `seconds` and chat `usage` of an earlier process of the run; zeros where it left nothing readable."""
    document: Mapping[str, Any] = {}
    with suppress(FileNotFoundError, ValueError):
        document = json.loads(path.read_text(encoding="utf-8"))
    spent = document.get("spent", {})
    return {
        "spent": {unit: spent.get(unit, 0) for unit in UNITS},
        "repeated": int(document.get("repeated", 0)),
        "seconds_before": float(document.get("seconds", 0.0)),
        "usage": Usage(**document.get("usage", {})),
    }


JOURNAL = "spent.json"


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


def open_models(settings: Settings, with_scorers: bool = True, objective: str = "", attack: bool = False) -> Models:
    """Load the checkpoint and its scorers. `objective`: what leads where the settings name no scorer and this one is there. `attack`: it
    is to get worse. Raises BadInput."""
    if settings.checkpoint.startswith(PREFIX):
        return _open_remote(settings, with_scorers, objective, attack)
    checkpoint = opened_checkpoint(settings.checkpoint, settings.device, settings.dtype)
    sampler = Sampler(checkpoint, settings.truncate)
    scorers = open_scorers(settings, checkpoint, objective) if with_scorers else ()
    scorers = _turned(scorers) if attack else scorers
    changes: dict[str, Any] = {"steps": settings.steps, "guidance_scale": settings.guidance_scale}
    sampling = replace(sampler.default_settings, **{name: value for name, value in changes.items() if value is not None})
    checkpoint.scheduler(sampling.scheduler, sampling.steps)  # refuses what it cannot serve, before anything is written
    return Models(checkpoint, sampler, scorers, sampling)


def _open_remote(settings: Settings, with_scorers: bool, objective: str, attack: bool) -> Models:
    """A black box: the published scorers alone, and the server's own way of sampling."""
    if settings.steps is not None or settings.guidance_scale is not None:
        raise BadInput(f"{settings.checkpoint} samples as its server has it; leave out --steps and --guidance-scale")
    model = RemoteImages(RemoteSettings.from_env(settings.checkpoint.removeprefix(PREFIX), os.environ))
    scorers = open_scorers(settings, None, objective) if with_scorers else ()
    return Models(None, model, _turned(scorers) if attack else scorers, model.default_settings)


def _turned(scorers: tuple[Scorer, ...]) -> tuple[Scorer, ...]:
    """The objective reversed, as an attack wants it."""
    return (Adversarial(scorers[0]), *scorers[1:]) if scorers else scorers


def open_scorers(settings: Settings, checkpoint: Checkpoint | None, objective: str = "") -> tuple[Scorer, ...]:
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
    return tuple(opened_scorer(name, checkpoint, device) for name in names)


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
    cancel: CancelToken | None = None,
) -> Iterator[Context]:
    """The live objects of a run. What an earlier process of the same run spent counts; what a kill lost is drawn again for nothing.
    `cancel` is asked while pictures are drawn."""
    chat_settings = ChatSettings.from_env(os.environ)
    db = open_database(settings.database)
    try:
        images = ImageStore(settings.database.parent / "images")
        budget = open_budget(settings, run, budget_images)
        evaluator = Evaluator(models.sampler, models.scorers, db, images, budget, models.sampling, run, cancel)
        chat = open_chat(chat_settings, budget, db)
        chat.usage.add(budget.usage)
        budget.usage = chat.usage
        context = Context(chat, evaluator, db, images, settings, solvers(), models.card)
        check_method(method, context.solvers, evaluator)
        yield context
    finally:
        db.close()


def open_budget(settings: Settings, run: str, cap: int | None) -> JournaledBudget:
    """The run's purse. What a kill lost stays paid for: the Evaluator knows it by its note and draws it again for nothing."""
    if not run:
        return JournaledBudget(images=cap)
    journal = settings.folder / run / JOURNAL
    return JournaledBudget(images=cap, journal=journal, **read_journal(journal))
