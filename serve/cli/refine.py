"""The commands `refine` and `attack`: options in, a document or lines for a person out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from limner.graph.settings import RefineSettings, Settings
from limner.graph.sources import Given
from limner.promptdb.errors import BadInput
from limner.serve.cli.generate import print_not_carried
from limner.serve.cli.options import SEARCHING, Json, Verbose, Wildcards, takes_settings
from limner.serve.terminal.printing import console, print_json
from limner.tools.solvers.dpo_diff.settings import DpoSettings


@takes_settings("method", "space", "search", *SEARCHING)
def refine_command(
    settings: Settings,
    refining: RefineSettings,
    dpo: DpoSettings,
    given: Mapping[str, Given],
    prompt: Annotated[str, typer.Argument(help="what the picture should show")] = "",
    negative: Annotated[str, typer.Option("--negative", help="a negative prompt, which every candidate keeps")] = "",
    source: Annotated[Path | None, typer.Option("--from", help="a picture that says how it was made, whose prompt is refined")] = None,
    resume: Annotated[str | None, typer.Option("--resume", help="go on with this run, as it was started")] = None,
    wildcards: Wildcards = None,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Refine one prompt: rewrite it, search, and check the best candidate on seeds that no search has seen."""
    from limner.graph.runner import Control
    from limner.graph.solvers import DpoOptions
    from limner.promptdb.generated.a1111 import is_infotext
    from limner.serve.commands import refine
    from limner.serve.terminal import printing, watching

    if resume and (prompt or source):
        raise BadInput("give either a prompt or --resume RUN; a resumed run keeps its prompt")
    if resume and negative:
        raise BadInput("--resume goes on with a run as it was started: leave out --negative")
    if source and prompt:
        raise BadInput("give either a prompt or --from PICTURE; a picture brings its own prompt")
    made = source or (prompt if is_infotext(prompt) else None)
    found = refine.after(made, given) if made else None
    if found:
        settings, prompt, negative = found.settings(settings), found.found.prompt, negative or found.found.negative
        settings = replace(settings, dialect=found.found.notation)
    control = Control()
    show = partial(watching.show_events, verbose=verbose)
    with watching.stop_on_signals(control):
        if resume:
            document = refine.resume(settings, resume, show, control)
        else:
            options = DpoOptions(dpo.space, dpo.search)
            also: dict[str, Any] = {"negative": negative, "wildcards": wildcards}
            document = refine.refine(settings, prompt, refining.method, show, control, options, **also)
    if found and made:
        document |= {"from": found.document(made)}
    if as_json:
        print_json(document)
    else:
        printing.print_refined(document, console())
        print_not_carried(document)
    _print_template(document)


def _print_template(document: Mapping[str, Any]) -> None:
    if template := document.get("template"):
        print(f"of the template {template!r} the prompt {document['prompt']!r} was taken; another --seed takes another", file=sys.stderr)


@takes_settings("search", *SEARCHING)
def attack_command(
    settings: Settings,
    dpo: DpoSettings,
    prompt: Annotated[str, typer.Argument(help="what the picture should show")] = "",
    resume: Annotated[str | None, typer.Option("--resume", help="go on with this run, as it was started")] = None,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Find a prompt that means the same and that the model draws worse, and check it on seeds that no search has seen."""
    from limner.graph.runner import Control
    from limner.serve.commands import refine
    from limner.serve.terminal import printing, watching

    if resume and prompt:
        raise BadInput("give either a prompt or --resume RUN; a resumed run keeps its prompt")
    control = Control()
    show = partial(watching.show_events, verbose=verbose)
    with watching.stop_on_signals(control):
        if resume:
            document = refine.resume(settings, resume, show, control, refine.ATTACK)
        else:
            document = refine.attack(settings, prompt, dpo.search, show, control)
    if as_json:
        print_json(document)
    else:
        printing.print_refined(document, console(), attack=True)
    _print_template(document)
