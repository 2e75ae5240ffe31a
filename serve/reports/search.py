"""The search of an `optimize` run for its report: the gain of every arm in each iteration, the tree of instructions, the leading arms.

All of it was measured on development prompts and search seeds: it shows how the winner was found, and is no result.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from limner.graph.optimize.arms import PROFESSIONAL, gain
from limner.promptdb.trials import Arm, Standing, Trial
from limner.serve.reports import page
from limner.serve.reports.refine import word_diff
from limner.tools.stats import Interval, paired_bootstrap

DEEPEST = 12  # most levels of indentation of the tree; every row also names its parent
FATES = {"born": "joined"}  # displayed names, where they differ


@dataclass(frozen=True)
class Search:
    """The records of a run. `winner`: id of the winning arm."""

    arms: list[Arm]
    trials: list[Trial]
    standings: list[Standing]
    winner: str
    higher_is_better: bool

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Numbers of the arms in the order of creation; the initial instruction is 0."""
        return {arm.instruction.id: number for number, arm in enumerate(self.arms)}

    @cached_property
    def gains(self) -> dict[tuple[str, int], Interval]:
        """Mean gain over the plain prompt by arm and iteration, resampling whole prompts; all professional prompts form one arm.

        Higher is better whatever the scorer. Arms without a usable picture are left out.
        """
        rows: dict[tuple[str, int], list[Trial]] = {}
        for trial in self.trials:
            arm = PROFESSIONAL if trial.instruction.startswith(PROFESSIONAL) else trial.instruction
            rows.setdefault((arm, trial.iteration), []).append(trial)
        measured = {key: self._gain(own) for key, own in rows.items()}
        return {key: found for key, found in measured.items() if found.n}

    def gain_of(self, arm: str) -> Interval:
        """Returns the mean gain over all pulls of an arm."""
        return self._gain([trial for trial in self.trials if trial.instruction == arm])

    def professional(self) -> tuple[float, float, Interval] | None:
        """Returns the mean score of the professional prompts, that of the plain ones on the same prompts and seeds, and the gain.

        None where no professional prompt has a usable picture.
        """
        own = [trial for trial in self.trials if trial.instruction.startswith(PROFESSIONAL)]
        pairs = [(trial.value, trial.plain) for trial in own if trial.value is not None and trial.plain is not None]
        if not pairs:
            return None
        values, plain = zip(*pairs, strict=True)
        return math.fsum(values) / len(pairs), math.fsum(plain) / len(pairs), self._gain(own)

    def leaders(self) -> dict[int, str]:
        """Returns the arm that the selector ranked first, by iteration."""
        first: dict[int, str] = {}
        for standing in self.standings:
            if standing.value is not None:
                first.setdefault(standing.iteration, standing.instruction)
        return first

    def lineage(self) -> set[str]:
        """Returns the winner and all its ancestors."""
        parents = {arm.instruction.id: arm.instruction.parent for arm in self.arms}
        found: set[str] = set()
        arm: str | None = self.winner
        while arm is not None and arm not in found:
            found.add(arm)
            arm = parents.get(arm)
        return found

    def _gain(self, trials: Iterable[Trial]) -> Interval:
        own = list(trials)
        return paired_bootstrap([gain(trial, self.higher_is_better) for trial in own], [trial.prompt for trial in own])


def tree_view(search: Search) -> list[dict[str, Any]]:
    """Returns every instruction below its parent, with the text gradient that led to it and its fate."""
    texts = {arm.instruction.id: arm.instruction.text for arm in search.arms}
    last = {standing.instruction: standing for standing in search.standings}
    lineage = search.lineage()
    rows = []
    for arm, depth in _walk(search.arms):
        key, parent = arm.instruction.id, arm.instruction.parent
        measured = search.gain_of(key)
        standing = last.get(key)
        rows.append(
            {
                "number": search.numbers[key],
                "parent": search.numbers.get(parent) if parent else None,
                "depth": min(depth, DEEPEST),
                "finding": arm.instruction.finding,
                "diff": word_diff(texts.get(parent or "", arm.instruction.text), arm.instruction.text),
                "born": arm.born + 1,
                "fate": f"{FATES.get(standing.fate, standing.fate)} in iteration {standing.iteration + 1}" if standing else "not ranked",
                "pulls": standing.pulls if standing else 0,
                "gain": page.signed(measured.mean),
                "interval": page.interval([measured.lo, measured.hi]),
                "initial": search.numbers[key] == 0,
                "learned": key == search.winner,
                "ancestor": key in lineage,
            }
        )
    return rows


def _walk(arms: list[Arm]) -> Iterator[tuple[Arm, int]]:
    """Yields each arm before its children, with its depth; an arm whose parent was not made before it is a root."""
    children: dict[str | None, list[Arm]] = {}
    made: set[str] = set()
    for arm in arms:
        children.setdefault(arm.instruction.parent if arm.instruction.parent in made else None, []).append(arm)
        made.add(arm.instruction.id)
    waiting = [(arm, 0) for arm in reversed(children.get(None, []))]
    while waiting:
        arm, depth = waiting.pop()
        yield arm, depth
        waiting += [(child, depth + 1) for child in reversed(children.get(arm.instruction.id, []))]
