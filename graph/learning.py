"""What a person may set for learning an instruction, how the prompts are split, and how the images are shared out.

Pure arithmetic on settings and texts; knows nothing of pictures or chat models.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from promptdb.errors import BadInput
from promptdb.prompt_file import BatchPrompt
from promptdb.records import text_id

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
