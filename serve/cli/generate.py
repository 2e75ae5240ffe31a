"""The commands `generate` and `score`: they draw and judge, nothing else."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from limner.graph.settings import Settings
from limner.graph.sources import Given
from limner.promptdb.errors import BadInput
from limner.serve.cli.options import DRAWING, Combinatorial, Json, Most, Wildcards, takes_settings
from limner.serve.terminal.printing import console, print_json


@takes_settings(*DRAWING)
def generate_command(
    settings: Settings,
    given: Mapping[str, Given],
    prompts: Annotated[list[str] | None, typer.Argument(metavar="PROMPT...", help="what to draw")] = None,
    negative: Annotated[str, typer.Option("--negative", help="what not to draw")] = "",
    count: Annotated[int, typer.Option("--count", min=1, help="pictures of each prompt, on seeds from --seed on")] = 1,
    source: Annotated[Path | None, typer.Option("--from", help="a picture that says how it was made, to be drawn again")] = None,
    schedule: Annotated[bool, typer.Option("--schedule", help="show which words act at which step")] = False,
    lenient: Annotated[bool, typer.Option("--lenient", help="brackets that begin no triple are plain text")] = False,
    weights: Annotated[str, typer.Option("--weights", help="mean_restore, none, norm_restore, lerp_from_empty; else the dialect's")] = "",
    ranges: Annotated[str, typer.Option("--ranges", help="what ranges are parts of: step or sigma (the noise level)")] = "step",
    wildcards: Wildcards = None,
    combinatorial: Combinatorial = False,
    most: Most = None,
    as_json: Json = False,
) -> None:
    """Draw prompts in any dialect, DF-Prompts such as "a cat, [sharp focus:0-0.5:1.25]" among them, nothing else. With --from: draw
    again what a picture says of itself, made here or by another tool."""
    from limner.promptdb.generated.a1111 import is_infotext
    from limner.serve.commands import generate
    from limner.serve.commands.generate import Manner
    from limner.serve.commands.templates import Expanding
    from limner.serve.terminal import printing

    if source is not None and prompts:
        raise BadInput("give either prompts or --from IMAGE.png; an image brings its own prompt")
    manner = Manner(lenient, weights, ranges)
    if source is not None:
        document = generate.redraw(settings, source, given, count, negative)
    elif prompts and len(prompts) == 1 and is_infotext(prompts[0]):
        document = generate.redraw(settings, prompts[0], given, count, negative)
    else:
        document = generate.generate(settings, prompts or [], negative, count, manner, expanding=Expanding(wildcards, combinatorial, most))
    if as_json:
        return print_json(document)
    if schedule:
        printing.print_schedule(document["schedule"], console())
    printing.print_rows(document["images"], ("path", "seed", "prompt"), console())
    for row in document.get("templates", []):
        more = ", the first of more; see --most" if row["more"] else ""
        print(f"{row['prompts']} {'prompt' if row['prompts'] == 1 else 'prompts'} made of {row['template']!r}{more}", file=sys.stderr)
    printing.print_notes([line for read in document.get("readings", []) for line in (*read["notes"], *read["acts"])], console())
    print_not_carried(document)


def print_not_carried(document: dict[str, Any]) -> None:
    """Prints on stderr what of a picture that was made elsewhere a run did not carry."""
    if missed := document.get("from", {}).get("not_carried"):
        print(f"not carried from {document['from']['picture']}: {'; '.join(missed)}", file=sys.stderr)


PICTURE = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")


@takes_settings("checkpoint", "device", "dtype", "dialect", "scorer")
def score_command(
    settings: Settings,
    pictures: Annotated[list[str], typer.Argument(metavar="PICTURE...", help="picture files; a last one that is no file is the prompt")],
    prompt: Annotated[str | None, typer.Option("--prompt", help="what they should show; by default what each says of itself")] = None,
    as_json: Json = False,
) -> None:
    """Judge pictures for a prompt, by every scorer, nothing else."""
    from limner.graph.models import ModelPool
    from limner.serve.commands import generate
    from limner.serve.terminal import printing

    last = pictures[-1]
    if prompt is None and len(pictures) > 1 and not last.lower().endswith(PICTURE) and not Path(last).is_file():
        pictures, prompt = pictures[:-1], last
    pool = ModelPool()
    documents = [generate.score(settings, Path(picture), prompt, pool) for picture in pictures]
    if as_json:
        return print_json(documents[0] if len(documents) == 1 else documents)
    rows = [{"scorer": name, "value": value, **item} for item in documents for name, value in item["scores"].items()]
    shown = ("scorer", "value", *(("image",) if len(documents) > 1 else ()), *(("prompt",) if prompt is None else ()))
    printing.print_rows(rows, shown, console())
