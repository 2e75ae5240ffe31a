"""How a budget of images is shared out: the held-out check first, since a result without evidence is none; the rest is search.

Pure arithmetic; knows nothing of prompts or pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

from promptdb.errors import BadInput

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
