"""The commands `generate` and `score`: they draw and judge, nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from limner.graph.settings import Settings
from limner.promptdb.errors import BadInput
from limner.serve.cli.options import DRAWING, Combinatorial, Json, Most, Wildcards, takes_settings
from limner.serve.terminal.printing import console, print_json


@takes_settings(*DRAWING)
def generate_command(
    settings: Settings,
    prompts: Annotated[list[str] | None, typer.Argument(metavar="PROMPT...", help="what to draw")] = None,
    negative: Annotated[str, typer.Option("--negative", help="what not to draw")] = "",
    count: Annotated[int, typer.Option("--count", min=1, help="pictures of each prompt, on seeds from --seed on")] = 1,
    source: Annotated[Path | None, typer.Option("--from", help="an image that Limner wrote, to be drawn again")] = None,
    schedule: Annotated[bool, typer.Option("--schedule", help="show which words act at which step")] = False,
    lenient: Annotated[bool, typer.Option("--lenient", help="brackets that begin no triple are plain text")] = False,
    weights: Annotated[str, typer.Option("--weights", help="mean_restore, none, norm_restore or lerp_from_empty")] = "mean_restore",
    ranges: Annotated[str, typer.Option("--ranges", help="what ranges are parts of: step or sigma (the noise level)")] = "step",
    wildcards: Wildcards = None,
    combinatorial: Combinatorial = False,
    most: Most = None,
    as_json: Json = False,
) -> None:
    """Draw prompts, DF-Prompts such as "a cat, [sharp focus:0-0.5:1.25]" among them, nothing else. With --from: draw again what an image
    says of itself."""
    from limner.serve.commands import generate
    from limner.serve.commands.generate import Reading
    from limner.serve.commands.templates import Expanding
    from limner.serve.terminal import printing

    if source is not None and prompts:
        raise BadInput("give either prompts or --from IMAGE.png; an image brings its own prompt")
    reading = Reading(lenient, weights, ranges)
    if source is not None:
        document = generate.redraw(settings, source)
    else:
        document = generate.generate(settings, prompts or [], negative, count, reading, expanding=Expanding(wildcards, combinatorial, most))
    if as_json:
        return print_json(document)
    if schedule:
        printing.print_schedule(document["schedule"], console())
    printing.print_rows(document["images"], ("path", "seed", "prompt"), console())
    for row in document.get("templates", []):
        more = ", the first of more; see --most" if row["more"] else ""
        print(f"{row['prompts']} {'prompt' if row['prompts'] == 1 else 'prompts'} made of {row['template']!r}{more}", file=sys.stderr)


@takes_settings("checkpoint", "device", "dtype", "scorer")
def score_command(
    settings: Settings,
    image: Annotated[Path, typer.Argument(help="an image file")],
    prompt: Annotated[str, typer.Argument(help="what it should show")],
    as_json: Json = False,
) -> None:
    """Judge an image for a prompt, by every scorer, nothing else."""
    from limner.serve.commands import generate
    from limner.serve.terminal import printing

    document = generate.score(settings, image, prompt)
    if as_json:
        return print_json(document)
    rows = [{"scorer": name, "value": value} for name, value in document["scores"].items()]
    printing.print_rows(rows, ("scorer", "value"), console())
