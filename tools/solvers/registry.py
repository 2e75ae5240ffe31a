"""The methods by which a prompt can be refined, one line for each.

A new method is added here, or in a package of its own as an entry point of the group `limner.solvers`, whose name is the method's and whose
value the "module:factory" of its solver. Names, help texts, the nodes of the graphs, what HTTP and MCP accept and what `auto` shares the
budget among derive from this table. Imports no solver.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, cast

from limner.promptdb.errors import BadInput

if TYPE_CHECKING:
    from limner.tools.solvers.base import Solver

GROUP = "limner.solvers"


@dataclass(frozen=True, slots=True)
class Method:
    """A method. `help`: one line. `solver`: the "module:factory" of its solver; empty where this version has none.

    `searches`: whether it is a solver, with a node of its own after the rewriter's.
    """

    name: str
    help: str
    solver: str = ""
    searches: bool = True

    def open(self) -> Solver:
        """Imports the solver and makes one. Raises BadInput where its package is broken."""
        module, _, factory = self.solver.partition(":")
        try:
            return cast("Solver", getattr(import_module(module), factory)())
        except (ImportError, AttributeError) as error:
            raise BadInput(f"the solver of the method {self.name}, {self.solver}, cannot be opened: {error}") from error


REGISTRY = (
    Method("auto", "all that can run here share the budget, by what each has gained so far", searches=False),
    Method("rewrite", "a chat model, or rules, write variants", searches=False),
    Method("adapter", "a trained adapter writes the prompt"),
    Method("df-prompt", "words that act for a part of the denoising", "limner.tools.solvers.df_prompt.solver:DfPrompt"),
    Method("dpo-diff", "single words are swapped, or put into the negative prompt", "limner.tools.solvers.dpo_diff.solver:DpoDiff"),
)

_NAMES = [method.name for method in REGISTRY]
HELP = f"{', '.join(_NAMES[:-1])} or {_NAMES[-1]}; or one that an installed package adds"
"""Help of the option `--method`, which must not wait for packages to be searched."""


@cache
def registry() -> dict[str, Method]:
    """Returns all methods by name: those of REGISTRY in its order, then those that installed packages add."""
    from importlib.metadata import entry_points

    found = {method.name: method for method in REGISTRY}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        package = point.dist.name if point.dist else "a package"
        if point.name in found:
            warnings.warn(f"{package} adds a method {point.name!r}, which there is already: it is left out", stacklevel=2)
            continue
        found[point.name] = Method(point.name, f"of {package}", point.value)
    return found


def methods() -> tuple[str, ...]:
    """Returns the names of methods that may be asked for."""
    return tuple(registry())


def searching() -> tuple[str, ...]:
    """Returns the names of the methods that are solvers, in the order in which they run."""
    return tuple(name for name, method in registry().items() if method.searches)


def solvers() -> dict[str, Callable[[], Solver]]:
    """Returns the factories of the available solvers, by method; nothing is imported before one is called."""
    return {name: method.open for name, method in registry().items() if method.solver}
