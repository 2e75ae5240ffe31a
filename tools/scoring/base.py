"""What a scorer is: the duties that the Evaluator and every report rely on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from PIL import Image


@runtime_checkable
class Scorer(Protocol):
    """Judges images against texts.

    Duties: the same image and text give the same value whatever else is in the batch (to 1e-4); no state between calls; each
    implementation does its own preprocessing, since scorers differ in it; scoring never touches the Budget.
    """

    name: str
    """What the person types after `--scorer`: lower case, stable."""

    version: str
    """Changes whenever values change (weights hash or published version); stored with every score, part of the cache key."""

    higher_is_better: bool

    held_out: bool
    """True for a judge kept out of every search: the Evaluator refuses it as an objective."""

    def score(self, images: Sequence[Image.Image], texts: Sequence[str]) -> np.ndarray:
        """Value of each image for the text at the same place.

        images: RGB, any size. texts: as many, the *user's* prompts. Returns (n,) float32, finite.
        Raises ValueError where the lengths differ.
        """
        ...
