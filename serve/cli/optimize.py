"""The command `optimize`: options in, a document or lines for a person out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limner.graph.plan import DEFAULT_BUDGET, DEFAULT_HELDOUT_SEEDS, LearningSettings
from limner.graph.settings import Settings
from limner.promptdb.errors import BadInput
from limner.serve.cli.options import SEARCHING, Json, takes_settings
from limner.serve.terminal.printing import console, print_json

_LEARNING = LearningSettings()


@takes_settings(*SEARCHING, budget=DEFAULT_BUDGET, heldout_seeds=DEFAULT_HELDOUT_SEEDS)
def optimize_command(
    settings: Settings,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="prompts: one a line, JSONL {prompt, pins}, or CSV")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="read so many prompts of the file")] = None,
    iterations: Annotated[int, typer.Option("--iterations", help="rounds of learning")] = _LEARNING.iterations,
    batch_size: Annotated[int, typer.Option("--batch-size", help="prompts a round")] = _LEARNING.batch_size,
    arms: Annotated[int, typer.Option("--arms", help="instructions that survive a round")] = _LEARNING.arms,
    selector: Annotated[str, typer.Option("--selector", help="who survives: ucb, ucb-e, greedy, epsilon, ...")] = _LEARNING.selector,
    professional: Annotated[bool, typer.Option(help="whether the prompt database takes part")] = _LEARNING.professional,
    compat: Annotated[str, typer.Option("--compat", help="maai: the reference's own order and UCB numbers")] = "",
    instruction: Annotated[str, typer.Option("--instruction", help="where to start from; by default the rewriter's own")] = "",
    resume: Annotated[str | None, typer.Option("--resume", help="go on with this run, as it was started")] = None,
    as_json: Json = False,
) -> None:
    """Learn an instruction on a file of prompts, and report what it is worth on prompts that it never saw."""
    from limner.graph.runner import Control
    from limner.serve.commands import optimize
    from limner.serve.terminal import printing, watching

    if (file is None) == (resume is None):
        raise BadInput("give either a FILE of prompts or --resume RUN; a resumed run keeps its prompts")
    learning = LearningSettings(iterations, batch_size, arms, selector, professional=professional, compat=compat)  # type: ignore[arg-type]
    control = Control()
    with watching.stop_on_signals(control):
        if resume:
            document = optimize.resume(settings, resume, watching.show_events, control)
        else:
            document = optimize.optimize(settings, learning, file, limit, watching.show_events, control, instruction)  # type: ignore[arg-type]
    if as_json:
        return print_json(document)
    printing.print_optimized(document, console())
