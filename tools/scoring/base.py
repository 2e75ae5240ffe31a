"""The interface of scorers, on which the Evaluator and all reports rely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from PIL import Image


@runtime_checkable
class Scorer(Protocol):
    """Rates images for texts.

    An implementation gives the same value for the same image and text whatever else is in the batch (to 1e-4), has no state between calls,
    does its own preprocessing, since scorers differ in it, and never uses the Budget.
    """

    name: str
    """The name given to `--scorer`: lower case, stable."""

    version: str
    """Changes whenever values change (hash of the weights or published version); stored with every score and part of the cache key."""

    higher_is_better: bool

    held_out: bool
    """True for a judge that no search may use: the Evaluator refuses it as an objective."""

    def score(self, images: Sequence[Image.Image], texts: Sequence[str]) -> np.ndarray:
        """Returns the value of each image for the text at the same index, (n,) float32, finite; NaN for a text that it cannot judge.

        `images`: RGB, any size. `texts`: equally many, the *user's* prompts. Raises ValueError where the lengths differ.
        """
        ...


@runtime_checkable
class Recognising(Protocol):
    """A scorer that says beforehand which texts it can judge, as one with a vocabulary does. Its values of all others are NaN."""

    def recognises(self, text: str) -> bool:
        """Returns whether the scorer knows anything of what `text` asks for."""
        ...


def can_judge(scorer: Scorer, text: str) -> bool:
    """Returns whether `scorer` can judge pictures for `text`; True for one that does not say."""
    return scorer.recognises(text) if isinstance(scorer, Recognising) else True
