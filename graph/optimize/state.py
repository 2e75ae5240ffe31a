"""The state of `optimize`: what the next node needs, and no more.

The trials are in promptdb (`trials.py`), so that a checkpoint is as small after many iterations as after one.
"""

from __future__ import annotations

import operator
from typing import Annotated

from typing_extensions import TypedDict

from limner.graph.state import ArmRow, LearnOutcome, PathRow, SuffixRow


def added(before: dict[str, int], now: dict[str, int]) -> dict[str, int]:
    """Returns the sums of two counts by kind."""
    return {kind: before.get(kind, 0) + now.get(kind, 0) for kind in {**before, **now}}


class PromptRow(TypedDict):
    """A prompt, and words that no rewriting of it may lose."""

    text: str
    pins: list[str]


class OptimizeState(TypedDict, total=False):
    """The state of a run that learns an instruction.

    `arms`: those not yet eliminated. `batch`: the prompts of this iteration. `low`: the arm of which the text gradient is taken. `steady`:
    iterations that the winner has led. `counters`: of `--compat maai`. `stop`: why there is no further iteration. `cut`: rewritings cut at
    the encoder's limit.
    """

    run: str
    prompts: list[PromptRow]
    heldout: list[PromptRow]
    shared: bool
    initial: str
    iteration: int
    arms: list[ArmRow]
    children: list[ArmRow]
    batch: list[PromptRow]
    low: str
    winner: str
    steady: int
    counters: dict[str, int]
    stop: str
    suffix: SuffixRow | None
    cut: int
    outcome: LearnOutcome
    dropped: Annotated[dict[str, int], added]
    warnings: Annotated[list[str], operator.add]
    path: list[PathRow]
