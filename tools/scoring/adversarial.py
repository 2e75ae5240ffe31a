"""A scorer with its direction reversed, for attacks, which want its value worse (DPO-Diff, eq. 6)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from limner.tools.scoring.base import Scorer


class Adversarial:
    """`scorer` with `higher_is_better` negated. Name, version and values are the scorer's own, so stored scores serve both directions."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.name = scorer.name
        self.version = scorer.version
        self.higher_is_better = not scorer.higher_is_better
        self.held_out = scorer.held_out

    def score(self, images: Sequence[Image.Image], texts: Sequence[str]) -> np.ndarray:
        """Returns the inner scorer's values, unchanged."""
        return self.scorer.score(images, texts)
