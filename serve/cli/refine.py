"""The commands `refine` and `attack`: options in, a document or lines for a person out."""

from __future__ import annotations

from typing import Annotated

import typer

from limner.graph.settings import Settings
from limner.promptdb.errors import BadInput
from limner.serve.cli.options import SEARCHING, Json, takes_settings
from limner.serve.terminal.printing import console, print_json
from limner.tools.solvers.dpo_diff.settings import DpoSettings

_DPO = DpoSettings()


@takes_settings(*SEARCHING)
def refine_command(
    settings: Settings,
    prompt: Annotated[str, typer.Argument(help="what the picture should show")] = "",
    method: Annotated[str, typer.Option("--method", help="auto, rewrite, adapter, df-prompt or dpo-diff")] = "auto",
    space: Annotated[str, typer.Option("--space", help="of dpo-diff: synonym, antonym, library, joined by +")] = _DPO.space,
    search: Annotated[str, typer.Option("--search", help="of dpo-diff: limner, hybrid, gradient, evolution or random")] = _DPO.search,
    resume: Annotated[str | None, typer.Option("--resume", help="go on with this run, as it was started")] = None,
    as_json: Json = False,
) -> None:
    """Refine one prompt: rewrite it, search, and check the best candidate on seeds that no search has seen."""
    from limner.graph.runner import Control
    from limner.graph.solvers import DpoOptions
    from limner.serve.commands import refine
    from limner.serve.terminal import printing, watching

    if resume and prompt:
        raise BadInput("give either a prompt or --resume RUN; a resumed run keeps its prompt")
    control = Control()
    with watching.stop_on_signals(control):
        if resume:
            document = refine.resume(settings, resume, watching.show_events, control)
        else:
            document = refine.refine(settings, prompt, method, watching.show_events, control, DpoOptions(space, search))
    if as_json:
        print_json(document)
    else:
        printing.print_refined(document, console())


@takes_settings(*SEARCHING)
def attack_command(
    settings: Settings,
    prompt: Annotated[str, typer.Argument(help="what the picture should show")] = "",
    search: Annotated[str, typer.Option("--search", help="limner, hybrid, gradient, evolution or random")] = _DPO.search,
    resume: Annotated[str | None, typer.Option("--resume", help="go on with this run, as it was started")] = None,
    as_json: Json = False,
) -> None:
    """Find a prompt that means the same and that the model draws worse, and check it on seeds that no search has seen."""
    from limner.graph.runner import Control
    from limner.serve.commands import refine
    from limner.serve.terminal import printing, watching

    if resume and prompt:
        raise BadInput("give either a prompt or --resume RUN; a resumed run keeps its prompt")
    control = Control()
    with watching.stop_on_signals(control):
        if resume:
            document = refine.resume(settings, resume, watching.show_events, control, refine.ATTACK)
        else:
            document = refine.attack(settings, prompt, search, watching.show_events, control)
    if as_json:
        print_json(document)
    else:
        printing.print_refined(document, console(), attack=True)
