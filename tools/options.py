"""Declares options in one place: a field of a frozen dataclass with its default, help and bounds.

The command line, the variables, `limner.toml`, HTTP, MCP and the web page take names, help and bounds from here; the dataclass checks its
own values. Imports nothing heavy, so that --help answers at once: pydantic models are built elsewhere from these declarations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self, get_args, get_type_hints

from limner.promptdb.errors import BadInput

_DECLARED = "option"


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    `field`: its name in the dataclass and in requests. `name`: its name on the command line, singular where it is repeatable. `kind`: int,
    float, bool, str, or list for texts. `least`, `most`: bounds, inclusive. `choices`: returns the allowed texts. `aliases`: older names of
    choices. `refuse`: returns what is wrong with a value that no bound describes, empty where nothing is.
    """

    field: str
    name: str
    kind: type
    default: Any
    help: str
    least: float | None = None
    most: float | None = None
    choices: Callable[[], tuple[str, ...]] | None = None
    aliases: Mapping[str, str] | None = None
    refuse: Callable[[Any], str] | None = None

    @property
    def flag(self) -> str:
        """Returns the flag as it is typed on the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """Returns the name of the environment variable that sets it."""
        return f"LIMNER_{self.name.upper()}"

    def refusal(self, value: Any, label: str = "", most: float | None = None) -> str:
        """Returns what is wrong with a value; empty where nothing is. `label`: what to call the option. `most`: a lower bound
        than its own.
        """
        if value is None:
            return ""
        highest = self.most if most is None else most
        if self.least is not None and not value >= self.least:  # so that NaN does not pass
            return f"{label} must be at least {self.least}, not {value}".lstrip()
        if highest is not None and value > highest:
            return f"{label} must be at most {highest}, not {value}".lstrip()
        if value == math.inf:
            return f"{label} must be finite".lstrip()
        if self.choices and value not in (known := self.choices()):
            named = [name for name in known if name]
            if len(named) == 1:
                return f"{label} knows {named[0]!r} alone, not {value!r}".lstrip()
            return f"there is no {self.name} {value!r}; choose one of {', '.join(named)}"
        return self.refuse(value) if self.refuse else ""

    def clean(self, value: Any, label: str = "", most: float | None = None) -> Any:
        """Returns the value as it is stored: lists as tuples, older names replaced. Takes the arguments of `refusal`. Raises BadInput."""
        if self.kind is list:
            return tuple(value)
        if self.aliases:
            value = self.aliases.get(value, value)
        if why := self.refusal(value, label, most):
            raise BadInput(why)
        return value


def option(
    default: Any,
    help: str,
    *,
    ge: float | None = None,
    le: float | None = None,
    choices: Callable[[], tuple[str, ...]] | None = None,
    aliases: Mapping[str, str] | None = None,
    refuse: Callable[[Any], str] | None = None,
    each: str = "",
) -> Any:
    """Declares a field that is an option; see Option for the arguments. `each`: the singular name of a repeatable one."""
    declared = {"help": help, "least": ge, "most": le, "choices": choices, "aliases": aliases, "refuse": refuse, "name": each}
    return field(default=default, metadata={_DECLARED: declared})


_found: dict[type, tuple[Option, ...]] = {}


def options_of(group: type[Declared]) -> tuple[Option, ...]:
    """Returns the options that a dataclass declares, in its order."""
    if group in _found:
        return _found[group]
    hints = get_type_hints(group)
    found = []
    for item in fields(group):
        if declared := item.metadata.get(_DECLARED):
            kind = hints[item.name]
            kind = next((part for part in get_args(kind) if part in (int, float, str)), kind) if not isinstance(kind, type) else kind
            kind = list if isinstance(item.default, tuple) else kind
            found.append(Option(item.name, kind=kind, default=item.default, **{**declared, "name": declared["name"] or item.name}))
    return _found.setdefault(group, tuple(found))


@dataclass(frozen=True)
class Declared:
    """A dataclass whose fields are declared by `option`; values are checked when it is made. Raises BadInput that names the flag."""

    def __post_init__(self) -> None:
        for item in options_of(type(self)):
            object.__setattr__(self, item.field, item.clean(getattr(self, item.field), item.flag))

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as a run stores them."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Reads what a run has stored. Fields that an older or newer version named otherwise are left out, or at their default."""
        return cls(**{item.name: document[item.name] for item in fields(cls) if item.name in document})
