"""The command `convert`: a prompt between dialects of weighting and timing. Options in, a document or a few lines out."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from limner.graph.settings import Settings
from limner.serve.cli.options import Json, takes_settings
from limner.serve.terminal.printing import print_json


@takes_settings("steps")
def convert_command(
    settings: Settings,
    text: Annotated[str, typer.Argument(help="a prompt, an infotext of A1111's, or a ComfyUI graph or DF-Prompt document in JSON")],
    to: Annotated[str, typer.Option("--to", help="a1111, comfyui, compel or df")],
    source: Annotated[str | None, typer.Option("--from", help="the same names; by default told from the prompt's marks")] = None,
    negative: Annotated[str, typer.Option("--negative", help="the negative prompt, in the same dialect")] = "",
    lenient: Annotated[bool, typer.Option("--lenient", help="df: brackets that begin no triple are plain text")] = False,
    as_json: Json = False,
) -> None:
    """Translate a prompt between dialects of weighting and timing, and say what is lost. With the --steps of the run
    that it is meant for, borders are exact."""
    from limner.serve.commands.convert import converted

    document = converted(text, to, source, settings.steps, negative, lenient)
    if as_json:
        return print_json(document)
    print(_text(document))
    print(f"{document['from']} -> {document['to']}: {document['fidelity']}", file=sys.stderr)
    for reason in document["reasons"]:
        words = f" ({reason['words']!r})" if reason["words"] else ""
        print(f"{reason['level']}: {reason['why']}{words}", file=sys.stderr)


def _text(document: dict[str, Any]) -> str:
    """What a person copies: the prompt, below it the negative prompt and the settings in the form in which A1111 writes them."""
    from limner.tools.prompt_language.infotext import settings_line

    output = document["output"]
    text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False, indent=2)
    lines = [f"Negative prompt: {document['negative']}"] if document["negative"] else []
    lines += [settings_line(document["settings"])] if document.get("settings") else []
    return "\n".join([text, *lines])
