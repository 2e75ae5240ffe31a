"""Coordinate search over effects: from the whole prompt at once to single phrases, with late words in the inner loop.

Candidates that differ only in late words share the first half of the denoising when drawn together, so the inner loop, which weighs the
late words, costs half. Single changes are tried side by side, then the best of them together: changes of different phrases seldom cancel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from limner.tools.prompt_language.assemble import Effect
from limner.tools.solvers.df_prompt.effects import DEFAULT, GRID, LATE, RANGES, WEIGHTS, Effects, hand_rule, random_effects
from limner.tools.solvers.df_prompt.phrases import Phrase

MOST_ROUNDS = 8
RANDOM_BATCH = 8


@dataclass
class Trials:
    """The effects tried so far and their values.

    `score`: returns the values of candidates evaluated together, higher is better, NaN where there is none; it charges the budget. `fits`:
    whether the budget allows such a request.
    """

    score: Callable[[Sequence[Effects]], Sequence[float]]
    fits: Callable[[Sequence[Effects]], bool]
    values: dict[Effects, float] = field(default_factory=dict)

    def ask(self, candidates: Iterable[Effects]) -> bool:
        """Scores the new candidates, in order, as many as the budget allows; returns whether that was all of them."""
        fresh = list(dict.fromkeys(item for item in candidates if item not in self.values))
        count = self._affordable(fresh)
        if count:
            self.values.update(zip(fresh[:count], self.score(fresh[:count]), strict=True))
        return count == len(fresh)

    @property
    def best(self) -> Effects:
        """The effects with the highest value."""
        return self.ranking()[0]

    def ranking(self) -> list[Effects]:
        """Returns all effects with a value, best first, equal ones in the order of evaluation."""
        there = [item for item, value in self.values.items() if not np.isnan(value)]
        return sorted(there, key=lambda item: -round(self.values[item], 4))

    def _affordable(self, fresh: Sequence[Effects]) -> int:
        """Returns the number of leading candidates that fit the budget, by bisection: shared rows make costs non-additive."""
        if not fresh or self.fits(fresh):
            return len(fresh)
        count, bound = 0, len(fresh)
        while bound - count > 1:
            middle = (count + bound) // 2
            count, bound = (middle, bound) if self.fits(fresh[:middle]) else (count, middle)
        return count


def coordinate_search(phrases: Sequence[Phrase], trials: Trials) -> None:
    """Fills `trials` until the budget allows no more, or a whole round finds nothing better."""
    count = len(phrases)
    default = (DEFAULT,) * count
    if not trials.ask([default, hand_rule(phrases)]) or not trials.ranking():
        return
    if not trials.ask((effect,) * count for effect in GRID):
        return
    for _ in range(MOST_ROUNDS):
        before = trials.best
        for moves in (_weights_of_late_words, _ranges, _neighbouring_weights, _weights_of_late_words):
            if not _step(trials, moves(trials.best)):
                return
        if trials.best == before:
            return


def random_search(phrases: Sequence[Phrase], trials: Trials, rng: np.random.Generator) -> None:
    """Fills `trials` with the default effects and with random ones until the budget allows no more: the baseline."""
    trials.ask([(DEFAULT,) * len(phrases)])
    while trials.ask(random_effects(phrases, rng) for _ in range(RANDOM_BATCH)):
        pass


Move = tuple[int, Effect]
"""Index of a phrase and its new effect."""


def _step(trials: Trials, moves: Sequence[Move]) -> bool:
    """Tries single changes of the best effects, then the helpful ones of different phrases together; returns whether all fit the budget."""
    start = trials.best
    complete = trials.ask(_moved(start, [move]) for move in moves)
    level = trials.values[start]
    gains = {move: trials.values.get(_moved(start, [move]), np.nan) - level for move in moves}
    helpful: list[Move] = []
    for move in sorted((move for move in moves if gains[move] > 0), key=lambda move: -gains[move]):
        if all(move[0] != other[0] for other in helpful):
            helpful.append(move)
    return trials.ask(_moved(start, helpful[:size]) for size in range(len(helpful), 1, -1)) and complete


def _moved(effects: Effects, moves: Sequence[Move]) -> Effects:
    changed = list(effects)
    for place, effect in moves:
        changed[place] = effect
    return tuple(changed)


def _weights_of_late_words(effects: Effects) -> list[Move]:
    """Returns moves of late phrases to other weights; all of them share half of the denoising."""
    late = [place for place, effect in enumerate(effects) if (effect.lo, effect.hi) == LATE]
    return [(place, effects[place]._replace(weight=weight)) for place in late for weight in WEIGHTS if weight != effects[place].weight]


def _ranges(effects: Effects) -> list[Move]:
    return [
        (place, Effect(*part, effect.weight)) for place, effect in enumerate(effects) for part in RANGES if part != (effect.lo, effect.hi)
    ]


def _neighbouring_weights(effects: Effects) -> list[Move]:
    """Returns moves one weight up and one down, for phrases that are not late."""
    moves = []
    for place, effect in enumerate(effects):
        if (effect.lo, effect.hi) != LATE and effect.weight in WEIGHTS:
            at = WEIGHTS.index(effect.weight)
            moves += [(place, effect._replace(weight=WEIGHTS[near])) for near in (at - 1, at + 1) if 0 <= near < len(WEIGHTS)]
    return moves
