"""How a budget of images is shared out: the held-out check first, since a result without evidence is none; the rest is search.

Pure arithmetic; knows nothing of prompts or pictures.

What a person may set for learning an instruction, how the prompts are split, and how the images are shared out.

Pure arithmetic on settings and texts; knows nothing of pictures or chat models.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from limner.promptdb.errors import BadInput
from limner.promptdb.files.prompt_file import BatchPrompt
from limner.promptdb.records import text_id

COMPARED = 2
"""Conditionings in the held-out check: the user's prompt and the best candidate."""


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """`heldout`: images kept back for the held-out check. `population`: candidates that the search affords, the user's prompt included."""

    heldout: int
    population: int


def plan_images(budget: int, search_seeds: int, heldout_seeds: int) -> ImagePlan:
    """Share out `budget` images, at worst, with nothing in the cache.

    Raises BadInput where it does not pay for the user's prompt and one candidate in both the search and the check.
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
class LearningSettings:
    """`batch_size`: prompts an iteration. `arms`: instructions that survive it. `children`: new instructions an iteration at most.
    `heldout_prompts`: at most so many are kept from learning. `professional`: whether the prompt database takes part. `compat`: "maai" is
    the reference's own order, pool sizes and UCB numbers."""

    iterations: int = 6
    batch_size: int = 3
    arms: int = 3
    selector: str = "ucb"
    children: int = 3
    heldout_prompts: int = 60
    professional: bool = True
    compat: Literal["", "maai"] = ""

    def __post_init__(self) -> None:
        for name in ("iterations", "batch_size", "arms", "children", "heldout_prompts"):
            if getattr(self, name) < 1:
                raise BadInput(f"--{name.replace('_', '-')} must be at least 1, not {getattr(self, name)}")
        if self.compat not in ("", "maai"):
            raise BadInput(f"--compat knows 'maai' alone, not {self.compat!r}")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> LearningSettings:
        return cls(**{name: value for name, value in document.items() if name in cls.__dataclass_fields__})


@dataclass(frozen=True, slots=True)
class Split:
    """Prompts to learn on and prompts to report on, drawn once. `shared`: they are the same, since there is one prompt alone."""

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
    """Half of the prompts, at most `heldout`, are kept from learning; the same file and seed give the same split, in any order of
    its lines."""
    drawn = sorted(prompts, key=lambda prompt: text_id(prompt.text))
    random.Random(seed).shuffle(drawn)
    if len(drawn) == 1:
        return Split(tuple(drawn), tuple(drawn), shared=True)
    kept = min(heldout, len(drawn) // 2)
    return Split(tuple(drawn[kept:][:DEVELOPMENT_MOST]), tuple(drawn[:kept]))


def plan_learning(budget: int, learning: LearningSettings, heldout_available: int, search_seeds: int, heldout_seeds: int) -> LearningPlan:
    """Share out `budget` images: the held-out check takes at most half, the rest goes in equal parts to learning and to its rival.

    Raises BadInput where that does not pay for one iteration of one arm.
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
