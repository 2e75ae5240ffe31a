"""The `runs` commands: parse, call commands/run_list.py and commands/export.py, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limner.graph.settings import Settings
from limner.serve.cli.options import STORED, Json, takes_settings
from limner.serve.terminal.printing import console, print_json

app = typer.Typer(help="What was done.", rich_markup_mode=None)


@app.command("list")
@takes_settings(*STORED)
def runs_list(settings: Settings, limit: Annotated[int, typer.Option("--limit", min=1)] = 50, as_json: Json = False) -> None:
    """List runs, newest first."""
    from limner.serve.commands import run_list
    from limner.serve.terminal import printing

    rows = run_list.runs(settings, limit)
    if as_json:
        return print_json(rows)
    printing.print_rows(rows, ("run", "command", "status", "started", "prompt"), console())


@app.command("show")
@takes_settings(*STORED)
def runs_show(settings: Settings, run: str, as_json: Json = False) -> None:
    """Show one run: its settings, its result, its candidates."""
    from limner.serve.commands import run_list
    from limner.serve.terminal import printing

    document = run_list.run(settings, run)
    if as_json:
        return print_json(document)
    printing.print_tree(document, console())


@app.command("export")
@takes_settings(*STORED)
def runs_export(
    settings: Settings,
    run: str,
    form: Annotated[str, typer.Option("--to", "--as", help="preset-json, comfyui, a1111 or system-prompt")] = "preset-json",
    file: Annotated[Path | None, typer.Option("--file", help="write it there instead of on stdout")] = None,
) -> None:
    """Export what a run found, an instruction or a prompt, as something that other tools load."""
    from limner.serve.commands import export

    text = export.exported(settings, run, form)
    if file is None:
        print(text)
    else:
        export.write(text, file)
