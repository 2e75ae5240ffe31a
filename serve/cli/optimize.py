"""The command `optimize`: options in, a document or lines for a person out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from limner.graph.plan import DEFAULT_BUDGET, DEFAULT_HELDOUT_SEEDS, LearningSettings
from limner.graph.settings import Settings
from limner.promptdb.errors import BadInput
from limner.serve.cli.options import LEARNING, SEARCHING, Column, Combinatorial, Json, Most, Verbose, Wildcards, takes_settings
from limner.serve.terminal.printing import console, print_json


@takes_settings(*LEARNING, *SEARCHING, budget=DEFAULT_BUDGET, heldout_seeds=DEFAULT_HELDOUT_SEEDS)
def optimize_command(
    settings: Settings,
    learning: LearningSettings,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="prompts: a file that db import reads, with or without pins")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="read so many prompts of the file")] = None,
    column: Column = None,
    wildcards: Wildcards = None,
    combinatorial: Combinatorial = False,
    most: Most = None,
    instruction: Annotated[str, typer.Option("--instruction", help="where to start; may be an imported style's name")] = "",
    resume: Annotated[str | None, typer.Option("--resume", help="go on with this run, as it was started")] = None,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Learn an instruction on a file of prompts, and report what it is worth on prompts that it never saw."""
    from limner.graph.runner import Control
    from limner.serve.commands import optimize
    from limner.serve.commands.templates import Expanding
    from limner.serve.terminal import printing, watching

    if (file is None) == (resume is None):
        raise BadInput("give either a FILE of prompts or --resume RUN; a resumed run keeps its prompts")
    control = Control()
    show = partial(watching.show_events, verbose=verbose)
    with watching.stop_on_signals(control):
        if resume:
            document = optimize.resume(settings, resume, show, control)
        else:
            expanding = Expanding(wildcards, combinatorial, most)
            document = optimize.optimize(settings, learning, file, limit, show, control, instruction, column=column, expanding=expanding)  # type: ignore[arg-type]
    if as_json:
        return print_json(document)
    printing.print_optimized(document, console())
