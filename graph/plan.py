"""Shares out a budget of images: the held-out check first, since no result counts without it, the rest to the search.

Also the settings of learning an instruction, and the split of its prompts. Arithmetic on numbers and texts; knows nothing of pictures or
chat models.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limner.promptdb.errors import BadInput
from limner.promptdb.records import text_id
from limner.tools.options import Declared, option

if TYPE_CHECKING:  # every command's options are declared here, and --help reads no files
    from limner.promptdb.files.prompt_file import BatchPrompt

COMPARED = 2
"""Conditionings in the held-out check: the user's prompt and the best candidate."""


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """`heldout`: images reserved for the held-out check. `population`: candidates that the search can draw, the user's prompt included."""

    heldout: int
    population: int


def plan_images(budget: int, search_seeds: int, heldout_seeds: int) -> ImagePlan:
    """Shares out `budget` images for the worst case, in which nothing is stored.

    Raises BadInput where the budget does not cover the user's prompt and one candidate in both the search and the check.
    """
    heldout = COMPARED * heldout_seeds
    population = (budget - heldout) // search_seeds
    if population < COMPARED:
        least = heldout + COMPARED * search_seeds
        raise BadInput(
            f"a budget of {budget} images is too small: the user's prompt and one candidate need {COMPARED * search_seeds} to search "
            f"({search_seeds} seeds each) and {heldout} for the held-out check ({heldout_seeds} seeds each); raise --budget to {least} "
            "or more, or lower --heldout-seeds"
        )
    return ImagePlan(heldout, population)


CHECKED = 4
"""Conditionings of a held-out prompt that are compared: plain, by the initial instruction, by the learned one, with a fixed suffix."""

DEVELOPMENT_MOST = 64
"""Prompts to learn on; of a longer file a sample is drawn."""

DEFAULT_BUDGET, DEFAULT_HELDOUT_SEEDS = 1400, 2


@dataclass(frozen=True)
class LearningSettings(Declared):
    """How an instruction is learned. `compat`: the way of the released code of the reference instead of `selector`."""

    iterations: int = option(6, "rounds of learning", ge=1)
    batch_size: int = option(3, "prompts a round", ge=1)
    arms: int = option(3, "instructions that survive a round", ge=1)
    selector: str = option("ucb", "who survives: ucb, ucb-e, greedy, epsilon, ...")
    children: int = option(3, "new instructions of a round at most", ge=1)
    heldout_prompts: int = option(60, "prompts kept from learning at most, to measure on", ge=1)
    professional: bool = option(True, "whether the prompt database takes part")
    compat: str = option("", "maai: the reference's own order and UCB numbers", choices=lambda: ("", "maai"))

    @property
    def reference_ucb(self) -> bool:
        """Whether order, pool sizes and UCB numbers are those of the reference's released code."""
        return self.compat == "maai"


@dataclass(frozen=True, slots=True)
class Split:
    """Prompts to learn on and prompts to report on. `shared`: both are the same one prompt."""

    development: tuple[BatchPrompt, ...]
    heldout: tuple[BatchPrompt, ...]
    shared: bool = False


@dataclass(frozen=True, slots=True)
class LearningPlan:
    """Images for learning, for the search of a fixed suffix at equal cost, and for the check of `heldout_prompts` prompts."""

    learning: int
    suffix: int
    heldout: int
    heldout_prompts: int


def split_prompts(prompts: Sequence[BatchPrompt], seed: int, heldout: int) -> Split:
    """Holds out half of the prompts, at most `heldout`; of the rest at most DEVELOPMENT_MOST are learned on.

    The same prompts and seed give the same split, in whatever order the prompts come.
    """
    drawn = sorted(prompts, key=lambda prompt: text_id(prompt.text))
    random.Random(seed).shuffle(drawn)
    if len(drawn) == 1:
        return Split(tuple(drawn), tuple(drawn), shared=True)
    kept = min(heldout, len(drawn) // 2)
    return Split(tuple(drawn[kept:][:DEVELOPMENT_MOST]), tuple(drawn[:kept]))


def plan_learning(budget: int, learning: LearningSettings, heldout_available: int, search_seeds: int, heldout_seeds: int) -> LearningPlan:
    """Shares out `budget` images: at most half to the held-out check, the rest in equal parts to learning and to the search of a suffix.

    Raises BadInput where that does not cover one iteration of one arm.
    """
    least = 2 * learning.batch_size * search_seeds  # plain prompts and the initial instruction
    each = CHECKED * heldout_seeds
    prompts = min(heldout_available, learning.heldout_prompts, max(1, min(budget // 2, budget - 2 * least) // each))
    left = budget - prompts * each
    if left // 2 < least:
        needed = 2 * least + each
        raise BadInput(
            f"a budget of {budget} images is too small: one iteration needs {least}, the search for a fixed suffix as many, and one "
            f"held-out prompt {each}; raise --budget to {needed} or more, or lower --batch-size"
        )
    return LearningPlan(left // 2, left // 2, prompts * each, prompts)
