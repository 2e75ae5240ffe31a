"""The command `convert`: a prompt between dialects of weighting and timing. Options in, a document or a few lines out."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from serve.commands.options import Json
from serve.terminal.output import print_json


def convert(
    text: Annotated[str, typer.Argument(help="a prompt, or a ComfyUI graph or DF-Prompt document in JSON")],
    to: Annotated[str, typer.Option("--to", help="a1111, comfyui, compel or df")],
    source: Annotated[str | None, typer.Option("--from", help="the same names; by default told from the prompt's marks")] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", envvar="LIMNER_STEPS", help="model calls of the run it is meant for: borders are then exact")
    ] = None,
    negative: Annotated[str, typer.Option("--negative", help="the negative prompt, in the same dialect")] = "",
    lenient: Annotated[bool, typer.Option("--lenient", help="df: brackets that begin no triple are plain text")] = False,
    as_json: Json = False,
) -> None:
    """Translate a prompt between dialects of weighting and timing, and say what is lost."""
    document = converted(text, to, source, steps, negative, lenient)
    if as_json:
        return print_json(document)
    print(_text(document))
    print(f"{document['from']} -> {document['to']}: {document['fidelity']}", file=sys.stderr)
    for reason in document["reasons"]:
        words = f" ({reason['words']!r})" if reason["words"] else ""
        print(f"{reason['level']}: {reason['why']}{words}", file=sys.stderr)


def converted(
    text: str, to: str, source: str | None = None, steps: int | None = None, negative: str = "", lenient: bool = False
) -> dict[str, Any]:
    """{from, to, steps, output, negative, fidelity, reasons, df_prompt}. `output` is a text, or for node graphs and lists of prompts a
    JSON value; `df_prompt` the canonical JSON of what was read. Raises BadInput for what cannot be read, or not in one way only."""
    from tools.df_prompt.convert import convert as translate
    from tools.df_prompt.document import to_document

    done = translate(text, to, source, steps, negative, lenient)
    return {
        "from": done.source,
        "to": done.target,
        "steps": steps,
        "output": done.written.output,
        "negative": done.written.negative,
        "fidelity": done.fidelity,
        "reasons": [reason.to_json() for reason in done.reasons],
        "df_prompt": to_document(done.conditioning),
    }


def _text(document: dict[str, Any]) -> str:
    """What a person copies: the prompt, and below it the negative prompt in the form in which A1111 writes it."""
    output = document["output"]
    text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False, indent=2)
    return text + (f"\nNegative prompt: {document['negative']}" if document["negative"] else "")
