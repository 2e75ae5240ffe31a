"""Adds a method of your own: it tries each of a few endings and leaves the choice to the held-out check.

    python examples/own_solver.py

A solver gets every number from the Evaluator, which counts what is drawn against the budget. To offer it under `--method endings` to every
command, name its class in your package's entry points, group `limner.solvers`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import limner

ENDINGS = ("sharp focus", "bright colors", "at sunset")


class Endings:
    """Puts one ending behind the best prompt found so far."""

    name = "endings"

    def missing(self, evaluator: limner.Evaluator) -> str:
        """What it lacks here, in one line; nothing."""
        return ""

    def solve(
        self, task: limner.Task, evaluator: limner.Evaluator, rng: np.random.Generator, emit: limner.Emit
    ) -> Sequence[limner.Conditioning]:
        """The endings, the best first on the search seeds."""
        start = task.start[0]
        found = [limner.Conditioning(f"{start.text}, {ending}", start.negative) for ending in ENDINGS]
        objective = evaluator.objective.name
        drawn = evaluator.evaluate(found, task.reference, task.seeds, [objective], emit)
        return [found[place] for place in drawn.ranking(objective)]


def main() -> None:
    refined = limner.refine("a red car on a beach", method=Endings(), budget=30, heldout_seeds=4)
    print(refined)
    print("the prompt to use:", refined.text)


if __name__ == "__main__":
    main()
