"""The effects that a search chooses from, and baselines: all effects at their default, a rule by hand, random effects.

The grid is that of PAE's policy (Mo et al., CVPR 2024): three ranges and five weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from limner.tools.prompt_language.assemble import Effect
from limner.tools.solvers.df_prompt.phrases import Phrase

HALF = Fraction(1, 2)
EARLY, FULL, LATE = (Fraction(0), HALF), (Fraction(0), Fraction(1)), (HALF, Fraction(1))
"""Parts of the elapsed denoising: the first half, all of it, the second half."""

RANGES = (EARLY, FULL, LATE)
WEIGHTS = tuple(Fraction(quarters, 4) for quarters in range(2, 7))
GRID = tuple(Effect(*part, weight) for part in RANGES for weight in WEIGHTS)
DEFAULT = Effect(*FULL, Fraction(1))

Effects = tuple[Effect, ...]
"""One effect for each movable phrase."""

_BY_HAND = {"quality": Effect(*LATE, Fraction(3, 4)), "artist": Effect(*EARLY, Fraction(1))}


def hand_rule(phrases: Sequence[Phrase]) -> Effects:
    """Returns a fixed rule's effects: quality words late and light, artists early, all others throughout."""
    return tuple(_BY_HAND.get(phrase.kind, DEFAULT) for phrase in phrases)


def random_effects(phrases: Sequence[Phrase], rng: np.random.Generator) -> Effects:
    """Returns for each phrase a uniformly drawn effect of the grid."""
    return tuple(GRID[int(rng.integers(len(GRID)))] for _ in phrases)
