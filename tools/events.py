"""What the Evaluator and the solvers report while they work: plain dictionaries, distinguished by their `kind`.

There is one class for each kind, and an `emit` is called with these alone. Nothing is checked while a search runs, since drawn pictures and
scores come by the thousand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from typing_extensions import TypedDict


class Drawn(TypedDict):
    """A new picture. `drawing`, `conditioning`: content ids. `image`: hash of its pixels, None where the model drew nothing usable."""

    kind: Literal["drawn"]
    drawing: str
    conditioning: str
    seed: int
    image: str | None


class Scored(TypedDict):
    """A new score of a drawing for a reference text, both by id."""

    kind: Literal["scored"]
    drawing: str
    reference: str
    scorer: str
    value: float


class BestFound(TypedDict):
    """A search has a new best candidate. `value`: its mean objective on the search seeds, never a result. `count`: candidates tried by
    then. `rows`: UNet rows spent by then."""

    kind: Literal["best"]
    text: str
    negative: str
    conditioning: str
    value: float
    count: int
    rows: float


class Learned(TypedDict):
    """An iteration of a search by gradients has ended. `value`: its loss. `rows`: UNet rows spent by then."""

    kind: Literal["learned"]
    iteration: int
    value: float
    rows: float


class Warned(TypedDict):
    """Something that a person should know, in one line."""

    kind: Literal["warning"]
    text: str


ToolEvent = Drawn | Scored | BestFound | Learned | Warned

Emit = Callable[[ToolEvent], None]
"""Called with each event as it happens, in the thread that works; an error that it raises ends the work."""


def ignore(event: ToolEvent) -> None:
    """An `emit` that does nothing."""
