"""The settings of DPO-Diff (Wang et al. 2024, sec. 7 and appendix) and of this project's own search."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from limner.tools.options import Declared, option

SEARCHES = ("swap", "hybrid", "gradient", "evolution", "random")
OLDER_NAMES = {"limner": "swap"}
"""What searches were called in runs of before."""

PARTS = ("synonym", "antonym", "library")

NEGATIVE = "antonym+library"  # the paper's space for better pictures
WIDEST = "synonym+antonym+library"


@dataclass(frozen=True, slots=True)
class GumbelSettings:
    """Settings for learning a distribution over candidates by Gumbel-softmax gradients: the paper's values.

    `iterations` updates by RMSprop with `learning_rate`, `smoothing` (alpha), `epsilon` and `momentum`; gradients are clipped to +-`clip`
    elementwise, logits clamped to [`lowest`, `highest`]. Logits start at `first` for the candidate that changes nothing and at 0 elsewhere.
    `graded` is K; t rises from `start` of the steps by `pace` every `every` iterations: 15, 15, 16, ... 24, 24 of 50.
    """

    iterations: int = 20
    temperature: float = 1.0
    learning_rate: float = 0.1
    smoothing: float = 0.99
    momentum: float = 0.5
    epsilon: float = 1e-8
    clip: float = 1 / 40
    lowest: float = 0.0
    highest: float = 3.0
    first: float = 1.0
    graded: int = 1
    start: float = 15 / 50
    pace: float = 1 / 50
    every: int = 2

    def done(self, iteration: int, calls: int) -> int:
        """Returns t of an iteration for a sampler with `calls` model calls: 0 <= t <= calls - K."""
        share = self.start + self.pace * (iteration // self.every)
        return max(0, min(int(share * calls + 1e-9), calls - self.graded))


@dataclass(frozen=True, slots=True)
class EvolutionSettings:
    """Settings of the evolutionary search: the paper's values.

    `explore`: probability that a gene of the first population is uniform instead of drawn from the learned distribution. `attempts`: draws
    for each new candidate before the space counts as exhausted.
    """

    population: int = 20
    parents: int = 10
    mutants: int = 10
    crossovers: int = 10
    mutation: float = 0.1
    explore: float = 0.0
    attempts: int = 10


@dataclass(frozen=True, slots=True)
class SwapSettings:
    """Our own search: swaps ranked at the best candidate, the best of them raced.

    `ranker`: rank by previews (one call with each swap in place) or by one gradient. `at`: fraction of the steps before that call. `share`:
    largest share of the remaining rows that a new ranking may cost. `swaps`: single swaps in a round; `jumps`: sizes of candidates that
    combine several of the best swaps; `keep`: how many of a round are drawn on all seeds. `sure`: confidence of a gain at which the search
    ends once `stalled` rounds have not raised it; needs six seeds. At the end `finalists` and the baseline are drawn on up to `fresh` more
    seeds, for which `kept_back` of the rows is reserved: the best of many on few seeds is partly the luckiest.
    """

    ranker: Literal["preview", "gradient"] = "preview"
    at: float = 0.3
    share: float = 0.15
    swaps: int = 6
    jumps: tuple[int, ...] = (2, 4)
    keep: int = 2
    stalled: int = 2
    sure: float = 0.99
    finalists: int = 3
    fresh: int = 4
    kept_back: float = 0.25


def unknown_space(name: str) -> str:
    """What is wrong with the name of a search space; empty when nothing is."""
    parts = name.split("+")
    if set(parts) <= set(PARTS) and len(set(parts)) == len(parts):
        return ""
    return f"there is no search space {name!r}: join some of {', '.join(PARTS)} with +, as in antonym+library"


@dataclass(frozen=True)
class DpoSettings(Declared):
    """What a person chooses, and the numbers of the searches as published. Raises BadInput for a space or a search that does not exist."""

    space: str = option(WIDEST, f"of dpo-diff: {', '.join(PARTS)}, joined by +", refuse=unknown_space)
    search: str = option(
        SEARCHES[0], f"of dpo-diff: {', '.join(SEARCHES[:-1])} or {SEARCHES[-1]}", choices=lambda: SEARCHES, aliases=OLDER_NAMES
    )
    gumbel: GumbelSettings = field(default_factory=GumbelSettings)
    evolution: EvolutionSettings = field(default_factory=EvolutionSettings)
    swap: SwapSettings = field(default_factory=SwapSettings)
