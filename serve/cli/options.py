"""The options that commands share, made from the declared settings: their names, help, defaults and variables.

Knows nothing of what a command does, and imports nothing heavy, so that --help answers at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from limner.graph.plan import LearningSettings
from limner.graph.settings import Settings
from limner.graph.sources import GROUPS, OPTIONS, Given, given_values, made
from limner.promptdb.errors import BadInput
from limner.tools.options import Option, options_of

DRAWING = ("checkpoint", "device", "dtype", "steps", "guidance_scale", "scorer", "budget", "dialect", "seed", "truncate", "out", "db")
SEARCHING = tuple(item.name for item in options_of(Settings))
LEARNING = tuple(item.name for item in options_of(LearningSettings))
STORED = ("out", "db")

Verbose = Annotated[bool, typer.Option("--verbose", help="show every step of the graph by its name, with its seconds")]
Wildcards = Annotated[Path | None, typer.Option("--wildcards", metavar="FOLDER", help="text and YAML files that __name__ stands for")]
Combinatorial = Annotated[bool, typer.Option("--combinatorial", help="every prompt of a template in turn, not one a seed")]
Most = Annotated[int | None, typer.Option("--most", min=1, help="prompts made of one template at most")]
Column = Annotated[str | None, typer.Option("--column", help="the column that holds the prompts, where it has another name")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on stdout, everything else on stderr")]


def takes_settings(*names: str, **defaults: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Returns a decorator that gives a command the options of these names, passed with their values checked in its parameters of the
    declared settings.

    `defaults`: the command's own, by option name. A parameter `given` gets everything that is set, with its sources. A command with
    --resume refuses options that would change the run.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        asked = inspect.signature(function, eval_str=True).parameters
        groups = {name: item.annotation for name, item in asked.items() if item.annotation in GROUPS}
        own = [item for name, item in asked.items() if name not in groups and name != "given"]
        parameters = [*own, *(_parameter(OPTIONS[name], defaults) for name in names)]

        @wraps(function)
        def command(**arguments: Any) -> None:
            flags = {name: value for name in names if (value := arguments.pop(name)) is not None}
            changed = [OPTIONS[name].flag for name in flags if name not in STORED]
            if changed and arguments.get("resume") and not (arguments.get("prompt") or arguments.get("file")):
                raise BadInput(f"--resume goes on with a run as it was started: leave out {', '.join(changed)}")
            given: Mapping[str, Given] = given_values(flags, OPTIONS if "given" in asked else names)
            taken = {name: item for name, item in given.items() if name in names}
            settings = {name: made(group, taken, defaults) for name, group in groups.items()}
            function(**settings, **arguments, **({"given": given} if "given" in asked else {}))

        vars(command)["__signature__"] = inspect.Signature([item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in parameters])
        command.__annotations__ = {item.name: item.annotation for item in parameters}
        return command

    return decorate


def _parameter(item: Option, defaults: Mapping[str, Any]) -> inspect.Parameter:
    """The parameter that typer makes an option of. Its default is None, so that a typed value differs from one that was not typed."""
    value = defaults.get(item.name, item.default)
    shown = "" if value in (None, "", ()) or value is False else f"; default: {value}"
    names = [f"{item.flag}/--no-{item.flag[2:]}"] if item.kind is bool else [item.flag]
    info = typer.Option(*names, help=f"{item.help}  [env var: {item.variable}{shown}]")
    kind: Any = list[str] if item.kind is list else item.kind
    return inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, info])
