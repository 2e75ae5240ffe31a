"""The options that commands share, declared once: flags, then LIMNER_* variables, then limner.toml, then the default.

Turns them into Settings; knows nothing of what a command does, and imports nothing heavy, so that --help answers at once.
"""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from limner.graph.settings import Settings
from limner.promptdb.errors import BadInput

CONFIG_FILE = "limner.toml"

_DEFAULTS = Settings()


def _option(name: str, kind: Any, help: str, default: Any = None) -> inspect.Parameter:
    field = _FIELDS.get(name, name)
    flag = "--" + name.replace("_", "-")
    info = typer.Option(flag, envvar=f"LIMNER_{name.upper()}", help=help)
    value = getattr(_DEFAULTS, field, default)
    default = list(value) if isinstance(value, tuple) else value
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info])


_FIELDS = {"scorer": "scorers", "pin": "pins", "trigger": "triggers", "ban": "bans", "trait": "traits"}
"""Repeatable options carry a singular name; all others are called as the field of Settings."""

OPTIONS = {
    parameter.name: parameter
    for parameter in (
        _option("checkpoint", str, "miniature, a folder in diffusers' format, a hub id, or openai:NAME"),
        _option("device", str | None, "cpu, cuda, cuda:1...; by default the first GPU, else the CPU"),
        _option("dtype", str | None, "float32, float16 or bfloat16"),
        _option("steps", int | None, "denoising steps; by default what the checkpoint recommends"),
        _option("guidance_scale", float | None, "classifier-free guidance; by default what the checkpoint recommends"),
        _option("scorer", list[str], "repeatable; the first is the objective, the others are reported beside it"),
        _option("budget", int, "images to draw at most"),
        _option("seed", int, "first of the search seeds"),
        _option("search_seeds", int, "seeds on which candidates are compared"),
        _option("heldout_seeds", int, "seeds, never searched, on which the result is measured"),
        _option("variants", int, "rewritten prompts to ask for"),
        _option("pin", list[str], "words that no candidate may lose; repeatable"),
        _option("trigger", list[str], "trigger token of a LoRA or embedding, kept letter by letter; repeatable"),
        _option("ban", list[str], "words that no candidate may bring in; repeatable"),
        _option("trait", list[str], "what must still be seen in the pictures, by the alignment scorer; repeatable"),
        _option("truncate", bool, "cut prompts over the text encoder's limit instead of refusing them"),
        _option("out", str, "folder for runs, reports and pictures"),
        _option("db", str | None, "prompt database; by default limner.db in the folder given by --out"),
    )
}

DRAWING = ("checkpoint", "device", "dtype", "steps", "guidance_scale", "scorer", "budget", "seed", "truncate", "out", "db")
SEARCHING = tuple(OPTIONS)
STORED = ("out", "db")

Json = Annotated[bool, typer.Option("--json", help="one JSON document on stdout, everything else on stderr")]


def takes_settings(*names: str, **defaults: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of these names and hand it their values as `settings`, checked. `defaults`: its own, by option name."""
    options = {name: option.replace(default=defaults.get(name, option.default)) for name, option in OPTIONS.items()}

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = [item for item in inspect.signature(function, eval_str=True).parameters.values() if item.name != "settings"]
        parameters = [*own, *(options[name] for name in names)]

        @wraps(function)
        def command(**given: Any) -> None:
            values: dict[str, Any] = {_FIELDS.get(name, name): given.pop(name) for name in names}
            fixed: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
            function(settings=Settings(**fixed), **given)

        vars(command)["__signature__"] = inspect.Signature([item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in parameters])
        command.__annotations__ = {item.name: item.annotation for item in parameters}
        return command

    return decorate


def read_config(app: typer.Typer, path: Path = Path(CONFIG_FILE)) -> dict[str, Any]:
    """Defaults for every command of `app` from a TOML file; keys are option names. Empty without a file.

    Raises BadInput where it is not valid or names an option that does not exist.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as TOML: {error}") from error
    values = {key.replace("-", "_"): value for key, value in document.items()}
    unknown = sorted(set(values) - set(OPTIONS))
    if unknown:
        raise BadInput(f"{path}: there is no option {unknown[0]!r}; there are {', '.join(OPTIONS)}")
    return _for_commands(app, values)


def _for_commands(app: typer.Typer, values: dict[str, Any]) -> dict[str, Any]:
    names = [item.name or getattr(item.callback, "__name__", "") for item in app.registered_commands]
    # Recipes have a --seed and an --out of their own, with another meaning.
    groups = {group.name: group.typer_instance for group in app.registered_groups if group.name and group.name != "train"}
    return {name: values for name in names} | {name: _for_commands(group, values) for name, group in groups.items() if group}
