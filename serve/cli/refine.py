"""The commands `refine` and `attack`: options in, a document or lines for a person out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from limner.graph.settings import RefineSettings, Settings
from limner.graph.sources import Given
from limner.promptdb.errors import BadInput
from limner.serve.cli.generate import print_not_carried
from limner.serve.cli.options import SEARCHING, Json, Verbose, takes_settings
from limner.serve.terminal.printing import console, print_json
from limner.tools.solvers.dpo_diff.settings import DpoSettings


@takes_settings("method", "space", "search", *SEARCHING)
def refine_command(
    settings: Settings,
    refining: RefineSettings,
    dpo: DpoSettings,
    given: Mapping[str, Given],
    prompt: Annotated[str, typer.Argument(help="what the picture should show")] = "",
    source: Annotated[Path | None, typer.Option("--from", help="a picture that says how it was made, whose prompt is refined")] = None,
    resume: Annotated[str | None, typer.Option("--resume", help="go on with this run, as it was started")] = None,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Refine one prompt: rewrite it, search, and check the best candidate on seeds that no search has seen."""
    from limner.graph.runner import Control
    from limner.graph.solvers import DpoOptions
    from limner.serve.commands import refine
    from limner.serve.terminal import printing, watching

    if resume and (prompt or source):
        raise BadInput("give either a prompt or --resume RUN; a resumed run keeps its prompt")
    if source and prompt:
        raise BadInput("give either a prompt or --from PICTURE; a picture brings its own prompt")
    found = refine.after(source, given) if source else None
    if found:
        settings, prompt = found.settings(settings), found.conditioning.text
    control = Control()
    show = partial(watching.show_events, verbose=verbose)
    with watching.stop_on_signals(control):
        if resume:
            document = refine.resume(settings, resume, show, control)
        else:
            document = refine.refine(settings, prompt, refining.method, show, control, DpoOptions(dpo.space, dpo.search))
    if found and source:
        document |= {"from": found.document(source)}
    if as_json:
        print_json(document)
    else:
        printing.print_refined(document, console())
        print_not_carried(document)


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
