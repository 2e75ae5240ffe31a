"""Limner: an agentic optimizer of text-to-image prompts. `limner.refine(prompt)` is where to begin; docs/python.md shows the rest."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limner.api import attack, generate, open_evaluator, optimize, refine, resume, score
    from limner.graph.events import Event
    from limner.graph.settings import Settings
    from limner.promptdb.errors import BadInput
    from limner.promptdb.records import Conditioning
    from limner.serve.results import Change, Learned, Picture, Refined
    from limner.tools.evaluator import Emit, Evaluator
    from limner.tools.scoring.base import Scorer
    from limner.tools.solvers.base import Solver, Task

__all__ = [
    "BadInput",
    "Change",
    "Conditioning",
    "Emit",
    "Evaluator",
    "Event",
    "Learned",
    "Picture",
    "Refined",
    "Scorer",
    "Settings",
    "Solver",
    "Task",
    "attack",
    "generate",
    "open_evaluator",
    "optimize",
    "refine",
    "resume",
    "score",
]

_PLACES = {
    "limner.api": ("attack", "generate", "open_evaluator", "optimize", "refine", "resume", "score"),
    "limner.graph.events": ("Event",),
    "limner.graph.settings": ("Settings",),
    "limner.promptdb.errors": ("BadInput",),
    "limner.promptdb.records": ("Conditioning",),
    "limner.serve.results": ("Change", "Learned", "Picture", "Refined"),
    "limner.tools.evaluator": ("Emit", "Evaluator"),
    "limner.tools.scoring.base": ("Scorer",),
    "limner.tools.solvers.base": ("Solver", "Task"),
}
_PLACE = {name: module for module, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Imports what is asked for when it is asked for, so that `import limner` loads neither torch nor LangGraph."""
    if name not in _PLACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
