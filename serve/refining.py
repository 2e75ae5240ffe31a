"""One refined prompt from options to document: what the command line does, and any other front end may do the same.

Checks what can be checked before anything is written, runs the graph, writes the report, keeps the result. Shows nothing itself:
events go to `show`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from graph.context import check_folder, check_objective, check_prompt, open_context, open_models
from graph.feedback import learn_from_refine
from graph.nodes import conditioning_of
from graph.plan import plan_images
from graph.sessions import Control, new_run_id, refine_state, stop_check, stream_refine
from graph.settings import Settings
from graph.state import Context, Event, RefineState
from graph.tool_nodes import check_method, solvers
from promptdb.errors import BadInput
from promptdb.records import Run, canonical_text
from serve.report import ReportFiles, write_refine
from serve.resuming import reopened
from serve.rows import rounded
from tools.df_prompt.write import write, write_negative

COMMAND = "refine"

Show = Callable[[Iterable[Event]], None]


def refine(settings: Settings, prompt: str, method: str, show: Show, control: Control | None = None) -> dict[str, Any]:
    """Refine `prompt`; returns the document of `refine --json`.

    Raises BadInput before anything is written, Stopped after `control.request_drain()`.
    """
    check_method(method, solvers())
    if not canonical_text(prompt):
        raise BadInput("the prompt is empty; say what the picture should show")
    plan_images(settings.budget, settings.search_seeds, settings.heldout_seeds)
    run = Run(new_run_id(COMMAND), COMMAND, canonical_text(prompt), {**settings.to_json(), "method": method})
    return _run(settings, run, method, show, control or Control())


def resume(settings: Settings, run_id: str, show: Show, control: Control | None = None) -> dict[str, Any]:
    """Go on with a run that was stopped or killed, with the settings that it was started with; of `settings` only the places of
    files count. A run that is done is told again."""
    run, before, done = reopened(settings, run_id, COMMAND)
    if done is not None:
        return done
    method = str(run.settings.get("method", "auto"))
    return _run(before, run, method, show, control or Control())


def _run(settings: Settings, run: Run, method: str, show: Show, control: Control) -> dict[str, Any]:
    check_folder(settings.folder)
    check_folder(settings.database.parent)
    models = open_models(settings, stop=stop_check(control))
    check_objective(models.scorers)
    check_prompt(run.prompt, models.sampler, settings.truncate)
    settings.contract.check_prompt(run.prompt)
    with open_context(settings, models, run.id, method, settings.budget) as context:
        show(stream_refine(context, run, control))
        state = refine_state(context, run.id)
        document = _document(context, state, write_refine(context, state, settings.folder / run.id))
        learn_from_refine(context, state)
        context.db.finish_run(run.id, "done", document)
    return document


def _document(context: Context, state: RefineState, files: ReportFiles) -> dict[str, Any]:
    """`refine --json`. `scores` compare the user's prompt with the best candidate, whether or not that was adopted: they are the
    evidence for `improved`."""
    outcome = state["outcome"]
    result = conditioning_of(outcome["result"])
    return {
        "run": state["run"],
        "prompt": state["prompt"],
        "method": state["method"],
        "checkpoint": context.evaluator.model.name,
        "chat_model": context.chat.name,
        "result": {
            "text": result.text,
            "negative": write_negative(result),
            "df_prompt": write(result) if result.spans else None,
            "conditioning_id": result.id,
        },
        "improved": outcome["improved"],
        "scores": {name: rounded(row) for name, row in outcome["scores"].items()},
        "used": context.evaluator.budget.used(),
        "images": {"before": _names(files.before), "after": _names(files.after)},
        "report": str(files.report),
    }


def _names(paths: Iterable[Path]) -> list[str]:
    return [str(path) for path in paths]
