"""Refines one prompt, from options to document, for the command line and every other front end.

Checks what can be checked before anything is written, runs the graph, writes the report, stores the result. Prints nothing: events go to
`show`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from limner.agents.clause import told
from limner.agents.contract import Contract
from limner.agents.intent_words import clauses_of
from limner.graph.context import NO_EXTRAS, Extras, check_places, check_prompt, open_context, open_models
from limner.graph.events import Event
from limner.graph.feedback import learn_from_refine
from limner.graph.models import Lease, ModelPool
from limner.graph.nodes import conditioning_of
from limner.graph.plan import plan_images
from limner.graph.resume import reopened
from limner.graph.runner import Control, new_run_id, refine_state, stream_refine
from limner.graph.settings import Settings
from limner.graph.solvers import METHOD, OBJECTIVE, DpoOptions, check_method, with_solver
from limner.graph.state import CandidateRow, Context, Outcome, RefineState
from limner.promptdb.errors import BadInput
from limner.promptdb.records import Run, canonical_text
from limner.promptdb.runs import Runs
from limner.serve.commands.from_picture import Brought, brought, refuse_infotext
from limner.serve.commands.reading import effects_of, notes_on, other_forms, with_style
from limner.serve.commands.templates import Expanding, expanded
from limner.serve.reports.page import rounded, shown_verdict
from limner.serve.reports.refine import ReportFiles, write_refine
from limner.tools.prompt_language.convert import written_back
from limner.tools.prompt_language.reader import Reading, read_prompt
from limner.tools.prompt_language.write import write, write_negative
from limner.tools.solvers.registry import solvers

COMMAND = "refine"
ATTACK = "attack"
TYPED = "typed"
"""Under which a run's settings keep the prompts as they were typed."""

Show = Callable[[Iterable[Event]], None]


def refine(
    settings: Settings,
    prompt: str,
    method: str,
    show: Show,
    control: Control | None = None,
    options: DpoOptions | None = None,
    pool: ModelPool | None = None,
    extras: Extras = NO_EXTRAS,
    negative: str = "",
    wildcards: Path | None = None,
) -> dict[str, Any]:
    """Refines `prompt`, written in the dialect of the settings; returns the document of `refine --json`. Of a template (`{red|blue}`,
    `__name__`) the prompt of `settings.seed` is refined, and the template stays beside it.

    `negative`: a negative prompt, in the same dialect, which every candidate keeps. `wildcards`: the folder of wildcards. `options`: of the
    method dpo-diff. `pool`: where its checkpoint stays open for the next run; by default one that ends with this run. `extras`: scorers and
    solvers that are objects already.

    Raises BadInput before anything is written, Stopped after `control.request_drain()`.
    """
    check_method(method, solvers() | extras.factories)
    return _start(COMMAND, settings, prompt, method, options or DpoOptions(), show, control, pool, extras, negative, wildcards)


def after(picture: Path | str, given: Container[str]) -> Brought:
    """Returns what a picture, or an infotext, brings to a refinement: prompts, seed, steps and guidance, without what was `given` by hand.

    Refining draws at the checkpoint's own size and sampler: those of the picture are among what is left. Raises BadInput where the picture
    does not say how it was made.
    """
    found = brought(picture, given)
    missed = [f"size {found.size[0]}x{found.size[1]} (the checkpoint's own is drawn)"] if found.size else []
    missed += [f"sampler {found.found.sampler}"] if found.scheduler else []
    return replace(found, left=(*missed, *found.left))


def attack(
    settings: Settings, prompt: str, search: str, show: Show, control: Control | None = None, extras: Extras = NO_EXTRAS
) -> dict[str, Any]:
    """Finds a prompt of the same meaning that the model draws worse; returns the document of `attack --json`. Raises as `refine` does."""
    return _start(ATTACK, settings, prompt, METHOD, DpoOptions("synonym", search, attack=True), show, control, extras=extras)


def resume(settings: Settings, run_id: str, show: Show, control: Control | None = None, command: str = COMMAND) -> dict[str, Any]:
    """Resumes a run that was stopped or killed, with the settings that it was started with; returns its document.

    Of `settings` only the places of files are used. Returns the result of a finished run without running it again. Raises as `refine` does.
    """
    run, before, done = reopened(settings, run_id, command)
    if done is not None:
        return done
    with ModelPool().lease() as lease:
        return _run(before, run, show, control or Control(), lease)


def _start(
    command: str,
    settings: Settings,
    prompt: str,
    method: str,
    options: DpoOptions,
    show: Show,
    control: Control | None,
    pool: ModelPool | None = None,
    extras: Extras = NO_EXTRAS,
    negative: str = "",
    wildcards: Path | None = None,
) -> dict[str, Any]:
    template, prompt = prompt, expanded(prompt, settings.seed, Expanding(wildcards))
    if not canonical_text(prompt):
        raise BadInput("the prompt is empty; say what the picture should show")
    refuse_infotext([prompt])
    plan_images(settings.budget, settings.search_seeds, settings.heldout_seeds)
    settings = with_style(settings, prompt)
    kept = {**settings.to_json(), "method": method, "dpo_diff": options.to_json()}
    kept[TYPED] = {"prompt": canonical_text(prompt), "negative": canonical_text(negative)}
    if template != prompt:
        kept["template"] = template
    with (pool or ModelPool()).lease() as lease:
        run = Run(new_run_id(command), command, canonical_text(prompt), kept)
        return _run(settings, run, show, control or Control(), lease, extras)


def _run(settings: Settings, run: Run, show: Show, control: Control, lease: Lease, extras: Extras = NO_EXTRAS) -> dict[str, Any]:
    method = str(run.settings.get("method", "auto"))
    options = DpoOptions.from_json(run.settings.get("dpo_diff", {}))
    check_places(settings)
    objective = OBJECTIVE if method == METHOD else ""
    models = open_models(settings, lease, objective=objective, attack=options.attack, extras=extras)
    reading = typed_in(run, settings, models.sampling.steps)
    run = replace(run, prompt=check_prompt(reading.conditioning.text, models.sampler, settings.truncate))
    contract = settings.contract if options.attack else settings.contract.of(clauses_of(reading.conditioning, reading.opaque))
    contract.check_prompt(run.prompt)
    with open_context(settings, models, run.id, "auto", settings.budget, control) as opened:
        context = with_solver(opened, options)
        context = replace(context, evaluator=context.evaluator.carrying(reading.conditioning))
        context = replace(context, evaluator=context.evaluator.avoiding(contract.unwanted, [run.prompt]))
        check_method(method, context.solvers, context.evaluator)
        with closing(stream_refine(context, run, control)) as events:  # ended before the database is, whatever `show` raises
            show(events)
        state = refine_state(context, run.id)
        document = _document(context, state, reading, contract, write_refine(context, state, settings.folder / run.id))
        if template := run.settings.get("template"):
            document["template"] = template
        if not options.attack:  # a prompt that makes the model draw worse is no example
            learn_from_refine(context, state)
        Runs(context.db).finish(run.id, "done", document)
    return document


def typed_in(run: Run, settings: Settings, steps: int) -> Reading:
    """Returns a run's prompt as the person typed it, read for this number of model calls. Raises BadInput for what cannot be read."""
    typed = run.settings.get(TYPED) or {"prompt": run.prompt, "negative": ""}
    return read_prompt(typed["prompt"], typed["negative"], settings.dialect if TYPED in run.settings else "plain", steps)


def _document(context: Context, state: RefineState, reading: Reading, contract: Contract, files: ReportFiles) -> dict[str, Any]:
    """The document of `refine --json`.

    `prompt` is the prompt's words, `typed` what was typed, `notes` what to know of how it was read, `contract` what had to stay. `scores`
    compare the user's prompt with the best candidate, adopted or not: the evidence for `verdict`. `result` and `best_tried`, the candidate
    that was not adopted, have each its own scores on the held-out seeds.
    """
    outcome = state["outcome"]
    best, improved = outcome["best"], outcome["improved"]
    return {
        "verdict": shown_verdict(outcome["verdict"]),
        "run": state["run"],
        "prompt": state["prompt"],
        "typed": {"prompt": reading.text, "negative": reading.negative},
        "dialect": reading.dialect,
        "notes": [*notes_on(reading, context.evaluator.model), *told(contract.automatic)],
        "contract": contract_document(contract),
        "method": state["method"],
        "checkpoint": context.evaluator.model.name,
        "chat_model": context.chat.name,
        "result": _prompt(context, reading, outcome, outcome["result"], "after" if improved else "before"),
        "best_tried": _prompt(context, reading, outcome, best, "after") if best and not improved else None,
        "improved": improved,
        "scores": {name: rounded(row) for name, row in outcome["scores"].items()},
        "used": context.evaluator.budget.used(),
        "images": {"before": _names(files.before), "after": _names(files.after)},
        "report": str(files.report),
    }


def contract_document(contract: Contract) -> dict[str, Any]:
    """Returns a run's contract for its document: all words that had to stay and all that had to stay out, and which of them the prompt
    kept by itself, by kind.
    """
    automatic = contract.automatic
    return {
        "pins": list(dict.fromkeys((*contract.kept, *(item.words for item in automatic if not item.is_ban)))),
        "bans": list(contract.unwanted),
        "automatic": [{"kind": item.kind, "words": item.words} for item in automatic],
        "let_go": list(contract.let_go),
    }


def _prompt(
    context: Context, reading: Reading, outcome: Outcome, row: CandidateRow, side: Literal["before", "after"]
) -> dict[str, Any]:
    """A prompt with its own scores: the means on that side of the comparison. `typed`: in the dialect in which the prompt was typed, if it
    can say it.
    """
    conditioning = context.evaluator.as_drawn(conditioning_of(row))
    drawn = context.evaluator.settings
    dialect, written = written_back(reading, conditioning, drawn.steps)
    return {
        "text": conditioning.text,
        "negative": write_negative(conditioning),
        "df_prompt": write(conditioning) if conditioning.spans else None,
        "typed": {"prompt": written.output, "negative": written.negative, "dialect": dialect},
        "acts": effects_of(conditioning),
        "other_forms": other_forms(reading, conditioning, drawn, context.settings.seed),
        "conditioning_id": conditioning.id,
        "scores": {name: rounded(scores)[side] for name, scores in outcome["scores"].items()},
    }


def _names(paths: Iterable[Path]) -> list[str]:
    return [str(path) for path in paths]
