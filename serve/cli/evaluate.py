"""The command `evaluate`: measures what the project claims."""

from __future__ import annotations

from typing import Annotated

import typer

from limner.graph.settings import Settings
from limner.serve.cli.options import SEARCHING, Json, takes_settings
from limner.serve.terminal.printing import console, print_json


@takes_settings(*SEARCHING)
def evaluate_command(
    settings: Settings,
    suite: Annotated[str, typer.Argument(help="miniature, rewrite, batch-gradient, df-prompt or dpo-diff")],
    full: Annotated[bool, typer.Option("--full", help="the large version; started again, it goes on where it was")] = False,
    as_json: Json = False,
) -> None:
    """Measure what is claimed, as a table with confidence intervals."""
    from limner.serve.commands import evaluate
    from limner.serve.terminal import printing

    document = evaluate.evaluate(settings, suite, full)
    if as_json:
        return print_json(document)
    printing.print_rows(document["rows"], ("name", "value", "ci95", "n", "target", "pass"), console())
