"""Reads settings: from flags, then LIMNER_* variables, then limner.toml, then the default. Every front end reads them here.

The fields are declared elsewhere (GROUPS). pydantic-settings reads them; an error names the source of the value that is wrong.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from limner.graph.plan import LearningSettings
from limner.graph.settings import RefineSettings, Settings
from limner.promptdb.errors import BadInput
from limner.tools.options import Declared, Option, options_of
from limner.tools.solvers.dpo_diff.settings import DpoSettings

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

CONFIG_FILE = "limner.toml"

GROUPS: tuple[type[Declared], ...] = (Settings, RefineSettings, DpoSettings, LearningSettings)
OPTIONS: dict[str, Option] = {item.name: item for group in GROUPS for item in options_of(group)}
"""Everything that can be set, by the name that it has on the command line."""

OTHER_VARIABLES = (
    "LIMNER_TOKEN",
    "LIMNER_CHAT_MODEL",
    "LIMNER_CHAT_METHOD",
    "LIMNER_CHAT_TIMEOUT",
    "LIMNER_CHAT_MAX_TOKENS",
    "LIMNER_CHAT_PARALLEL",
    "LIMNER_CHAT_PRICE_IN",
    "LIMNER_CHAT_PRICE_OUT",
    "LIMNER_IMAGES_BASE_URL",
    "LIMNER_IMAGES_SIZE",
    "LIMNER_IMAGES_TIMEOUT",
    "LIMNER_HPS_DIR",
    "LIMNER_CLIP_DIR",
    "LIMNER_CLIP_L_DIR",
    "LIMNER_AESTHETIC_DIR",
)
"""Variables that are read beside those of OPTIONS: the server's token, the chat server, the images endpoint, weights of scorers."""

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", list: "a list of texts"}

Group = TypeVar("Group", bound=Declared)


@dataclass(frozen=True, slots=True)
class Given:
    """A value that was set. `source`: the flag, the variable or the file. `over`: weaker sources that set it too, the strongest first."""

    value: Any
    source: str
    over: tuple[str, ...] = ()


def given_values(flags: Mapping[str, Any], names: Iterable[str] = tuple(OPTIONS), file: Path = Path(CONFIG_FILE)) -> dict[str, Given]:
    """Returns the values that are set of the options `names`, by name; options that are set nowhere are left out.

    `flags`: values that the caller was given explicitly. `file`: the configuration file. Raises BadInput, with the source of the value, for
    one that cannot be read or is out of bounds.
    """
    from pydantic import ValidationError
    from pydantic_settings import EnvSettingsSource

    items = [OPTIONS[name] for name in names]
    written = read_config(file)
    reader = _reader(items, written)
    variables = EnvSettingsSource(reader)()
    sources: dict[str, list[str]] = {}
    for item in items:
        layers = ((item.flag, flags), (item.variable, variables), (file.name, written))
        if said := [label for label, values in layers if item.name in values]:
            sources[item.name] = said

    def label(item: Option) -> str:
        first = sources[item.name][0]
        return f"{file.name}: {item.name}" if first == file.name else first

    try:
        read = reader(**{name: flags[name] for name in sources if name in flags})
    except ValidationError as error:
        wrong = error.errors()[0]
        item = OPTIONS[str(wrong["loc"][0])]
        raise BadInput(f"{label(item)} must be {_KINDS[item.kind]}, not {wrong['input']!r}") from None
    return {
        item.name: Given(item.clean(getattr(read, item.name), label(item)), sources[item.name][0], tuple(sources[item.name][1:]))
        for item in items
        if item.name in sources
    }


def _reader(items: Iterable[Option], written: Mapping[str, Any]) -> type[BaseSettings]:
    """The model by which pydantic-settings reads and converts values of these options; `written`: those of the file."""
    from pydantic import BeforeValidator, create_model
    from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

    class Reader(BaseSettings):
        model_config = SettingsConfigDict(env_prefix="LIMNER_", env_ignore_empty=True, enable_decoding=False, extra="ignore")

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, dict(written))

    texts = Annotated[list[str], BeforeValidator(_words)]
    fields: Any = {item.name: ((texts if item.kind is list else item.kind) | None, None) for item in items}
    return create_model("Reader", __base__=Reader, **fields)


def _words(value: Any) -> Any:
    """The texts of a list in a variable: JSON as in `["red car", "beach"]`, or words with spaces between them."""
    if not isinstance(value, str):
        return value
    return json.loads(value) if value.lstrip().startswith("[") else value.split()


def made(group: type[Group], given: Mapping[str, Given], defaults: Mapping[str, Any] | None = None) -> Group:
    """Returns the settings of one group made of `given`. `defaults`: defaults that differ from the declared ones, by option name.

    Raises BadInput for a value that the group does not accept.
    """
    values = {**(defaults or {}), **{name: item.value for name, item in given.items()}}
    return group(**{item.field: values[item.name] for item in options_of(group) if item.name in values})


def settings_from(group: type[Group], defaults: Mapping[str, Any] | None = None, **given: Any) -> Group:
    """Returns the settings of one group for a program without a command line.

    `given`, by option name, wins over LIMNER_* variables and limner.toml, and these win over `defaults`. Raises BadInput. Warns of LIMNER_*
    variables that nothing reads.
    """
    for line in unknown_variables(os.environ):
        warnings.warn(line, stacklevel=2)
    return made(group, given_values(given, [item.name for item in options_of(group)]), defaults)


def read_config(file: Path = Path(CONFIG_FILE)) -> dict[str, Any]:
    """Returns what a TOML file sets, by option name; empty where there is no file.

    Raises BadInput where the file is not valid, names an option that does not exist, or names one twice.
    """
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BadInput(f"{file} cannot be read as TOML: {error}") from error
    values: dict[str, Any] = {}
    for key, value in document.items():
        name = key.replace("-", "_")
        if name not in OPTIONS:
            raise BadInput(f"{file}: there is no option {name!r}{_nearest(name, OPTIONS) or '; there are ' + ', '.join(OPTIONS)}")
        if name in values:
            raise BadInput(f"{file} sets {name} twice, as {name} and as {name.replace('_', '-')}: leave one of them")
        values[name] = value
    return values


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Returns a line for each LIMNER_* variable that nothing reads, with the nearest known name."""
    known = [*(item.variable for item in OPTIONS.values()), *OTHER_VARIABLES]
    unknown = [name for name, value in environment.items() if name.startswith("LIMNER_") and value and name not in known]
    return [f"no setting reads the variable {name}{_nearest(name, known)}" for name in sorted(unknown)]


def _nearest(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), 1, 0.7)
    return f"; did you mean {found[0]}?" if found else ""
