"""Learns an instruction on a file of prompts, from options to document, for the command line and every other front end.

Checks what can be checked before anything is written, runs the graph, writes the report, stores the result. Prints nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from limner.agents.instructions.bandit import open_selector
from limner.agents.rewriter import DEFAULT_INSTRUCTION
from limner.graph.context import NO_EXTRAS, Extras, Models, check_places, open_models
from limner.graph.events import Event
from limner.graph.feedback import learn_from_optimize
from limner.graph.models import Lease, ModelPool
from limner.graph.optimize.prepare import prepared
from limner.graph.optimize.state import OptimizeState
from limner.graph.plan import LearningSettings, plan_learning
from limner.graph.resume import reopened
from limner.graph.runner import Control, new_run_id, optimize_state, stream_optimize
from limner.graph.settings import Settings
from limner.graph.state import Context
from limner.promptdb.errors import BadInput
from limner.promptdb.files.prompt_file import BatchPrompt, PromptFile, distinct, read_prompts
from limner.promptdb.files.styles import style_named
from limner.promptdb.records import Run
from limner.promptdb.runs import Runs
from limner.promptdb.store import PromptDB
from limner.promptdb.trials import Trials
from limner.serve.commands.reading import batch_in_words
from limner.serve.commands.templates import AS_TYPED, Expanding, expanded_batch
from limner.serve.reports.optimize import write_optimize
from limner.serve.reports.page import rounded, shown_verdict
from limner.tools.scoring.asked import World

COMMAND = "optimize"
GIVEN = "prompts.jsonl"
"""Name of a run whose prompts came in no file."""

Show = Callable[[Iterable[Event]], None]


def optimize(
    settings: Settings,
    learning: LearningSettings,
    source: Path | Sequence[BatchPrompt],
    limit: int | None,
    show: Show,
    control: Control | None = None,
    instruction: str = "",
    run_id: str = "",
    pool: ModelPool | None = None,
    extras: Extras = NO_EXTRAS,
    column: str | None = None,
    expanding: Expanding = AS_TYPED,
) -> dict[str, Any]:
    """Learns on prompts; returns the document of `optimize --json`.

    `source`: the prompts, or a file of them; `limit` of them are read. `column`: of the file, where its name says nothing. `instruction`:
    where to start; may be the name of a style that was imported. `expanding`: how templates (`{red|blue}`, `__name__`) become prompts.
    `show`: called with the events. `run_id`: chosen by a caller that must know it beforehand. `pool`: where the checkpoint stays open for
    the next run; by default one that ends with this run. `extras`: scorers that are objects already.

    Raises BadInput before anything is written, Stopped after `control.request_drain()`, ServerAway where the chat server does not answer.
    """
    _check_names(settings, learning)
    read = read_prompts(source, limit, column) if isinstance(source, Path) else distinct(source, limit)
    read = batch_in_words(expanded_batch(read, settings.seed, expanding), settings.dialect)
    name, file = (source.name, str(source)) if isinstance(source, Path) else (GIVEN, GIVEN)
    begun = _style(settings, instruction) or instruction.strip() or DEFAULT_INSTRUCTION
    facts = {"file": file, "limit": limit, "instruction": begun, **({"column": column} if column else {})}
    run = Run(run_id or new_run_id(COMMAND), COMMAND, name, {**settings.to_json(), "learning": learning.to_json(), **facts})
    with (pool or ModelPool()).lease() as lease:
        return _run(settings, learning, run, read, show, control or Control(), lease, extras)


def _style(settings: Settings, name: str) -> str:
    """The instruction of the imported style of that name; empty where there is none."""
    if not name.strip() or not settings.database.exists():
        return ""
    with PromptDB.open(settings.database) as db:
        style = style_named(db, name)
    return style.instruction().text if style else ""


def check(settings: Settings, learning: LearningSettings, prompts: int) -> None:
    """Raises BadInput for what is wrong by the numbers alone, before a run is begun. `prompts`: how many there are."""
    _check_names(settings, learning)
    heldout = max(1, min(learning.heldout_prompts, prompts // 2))
    plan_learning(settings.budget, learning, heldout, settings.search_seeds, settings.heldout_seeds)


def _check_names(settings: Settings, learning: LearningSettings) -> None:
    """Raises BadInput for a selector that does not exist, and for traits."""
    open_selector(learning.selector)
    if settings.traits:
        raise BadInput("traits are judged in pictures of one prompt, by refine and chat; what an instruction must keep is a --pin")


def resume(settings: Settings, run_id: str, show: Show, control: Control | None = None, pool: ModelPool | None = None) -> dict[str, Any]:
    """Resumes a run that was stopped or killed, with the settings and prompts that it was started with; returns its document.

    Of `settings` only the places of files are used. Returns the result of a finished run without running it again. Raises as `optimize`
    does.
    """
    run, before, done = reopened(settings, run_id, COMMAND)
    if done is not None:
        return done
    learning = LearningSettings.from_json(run.settings["learning"])
    with (pool or ModelPool()).lease() as lease:
        return _run(before, learning, run, None, show, control or Control(), lease)


def _run(
    settings: Settings,
    learning: LearningSettings,
    run: Run,
    read: PromptFile | None,
    show: Show,
    control: Control,
    lease: Lease,
    extras: Extras = NO_EXTRAS,
) -> dict[str, Any]:
    check_places(settings)
    models = open_models(settings, lease, extras=extras)
    kept = run.settings.get("prompts")
    if kept is None:
        read = read or read_prompts(str(run.settings["file"]), run.settings["limit"], run.settings.get("column"))
        usable, too_long = _short_enough(read.prompts, models)
        notes = _notes(read, too_long, _coverage(usable, models))
        rows = [[prompt.text, list(prompt.pins), *([prompt.template] if prompt.template else [])] for prompt in usable]
        run = replace(run, settings={**run.settings, "prompts": rows, "notes": notes})
    prompts = [BatchPrompt(text, tuple(pins), *template) for text, pins, *template in run.settings["prompts"]]
    with prepared(settings, learning, models, run, prompts, str(run.settings["instruction"]), control) as (context, start):
        start["warnings"] = [*run.settings["notes"], *start.get("warnings", [])]
        with closing(stream_optimize(context, run, start, control)) as events:  # ended before the database is, whatever `show` raises
            show(events)
        state = optimize_state(context, run.id)
        document = _document(context, state, write_optimize(context, state, settings.folder / run.id))
        if made := [{"prompt": prompt.text, "template": prompt.template} for prompt in prompts if prompt.template]:
            document["templates"] = made
        learn_from_optimize(context, run.id)
        Runs(context.db).finish(run.id, "done", document)
    return document


def _short_enough(prompts: Sequence[BatchPrompt], models: Models) -> tuple[list[BatchPrompt], int]:
    """The prompts that are not too long for the model, and how many are. Raises BadInput where none is left."""
    model = models.sampler
    fits = [prompt for prompt in prompts if (count := model.token_count(prompt.text)) and count[0] <= count[1] * model.most_windows]
    if not fits:
        raise BadInput("every prompt of the file is longer than the model reads; shorten them")
    return fits, len(prompts) - len(fits)


def _coverage(prompts: Sequence[BatchPrompt], models: Models) -> tuple[float, int] | None:
    """Mean share of the prompts' words that the checkpoint's vocabulary knows, and how many prompts have others; None without a
    vocabulary.
    """
    name = models.card.document.get("vocabulary")
    if not name:
        return None
    world = World.read(models.card.path(name))
    shares = [world.coverage(prompt.text)[0] for prompt in prompts]
    return float(np.mean(shares)), sum(share < 1 for share in shares)


def _notes(read: PromptFile, too_long: int, coverage: tuple[float, int] | None) -> list[str]:
    notes = list(read.notes)
    if read.duplicates:
        notes.append(f"{read.duplicates} prompts were in the file more than once, and count once")
    if read.malformed:
        line, reason = read.malformed[0]
        notes.append(f"{len(read.malformed)} lines were left out (the first: line {line}, {reason})")
    if too_long:
        notes.append(f"{too_long} prompts were left out: longer than the model reads")
    if coverage and coverage[1]:
        notes.append(
            f"{coverage[1]} prompts have words outside the checkpoint's vocabulary, which knows {coverage[0]:.0%} of all: it cannot draw "
            "what it does not know"
        )
    return notes


def _document(context: Context, state: OptimizeState, report: Path) -> dict[str, Any]:
    outcome = state["outcome"]
    trials = Trials(context.db, state["run"])
    arms = {arm.instruction.id: arm for arm in trials.arms()}
    iterations: dict[int, list[dict[str, Any]]] = {}
    for row in trials.standings():
        standing = {"instruction": arms[row.instruction].instruction.text, "id": row.instruction, "mean": row.mean, "pulls": row.pulls}
        iterations.setdefault(row.iteration, []).append({**standing, "ucb": row.value, "fate": row.fate})
    scores = {name: {scorer: rounded(row) for scorer, row in rows.items()} for name, rows in outcome["scores"].items()}
    return {
        "verdict": shown_verdict(outcome["verdict"]),
        "run": state["run"],
        "checkpoint": context.evaluator.model.name,
        "chat_model": context.chat.name,
        "instruction": {"initial": outcome["initial"]["text"], "best": outcome["best"]["text"], "id": outcome["best"]["id"]},
        "improved": outcome["improved"],
        "stopped": outcome["stopped"],
        "suffix": outcome["suffix"],
        "iterations": [{"iteration": number, "arms": rows} for number, rows in sorted(iterations.items())],
        "heldout": scores["learned"],
        "heldout_initial": scores["learned_initial"],
        "heldout_suffix": scores.get("learned_suffix", {}),
        "initial_plain": scores["initial"],
        "suffix_plain": scores.get("suffix", {}),
        "dropped": state.get("dropped", {}),
        "warnings": outcome["warnings"],
        "used": context.evaluator.budget.used(),
        "report": str(report),
    }
