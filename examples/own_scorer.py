"""Searches by a scorer of your own: here, how warm a picture is.

    python examples/own_scorer.py

A scorer is any object with these five names; `limner.Scorer` is the protocol that a type checker holds it against. To offer it under
`--scorer warmth` to every command, name a function that returns it in your package's entry points, group `limner.scorers`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

import limner


class Warmth:
    """Mean of red less mean of blue, in -1..1."""

    name = "warmth"
    version = "1"  # part of the key under which scores are stored: change it with the formula
    higher_is_better = True
    held_out = False

    def score(self, images: Sequence[Image.Image], texts: Sequence[str]) -> np.ndarray:
        pixels = [np.asarray(image.convert("RGB"), np.float32) / 255 for image in images]
        return np.array([picture[..., 0].mean() - picture[..., 2].mean() for picture in pixels], np.float32)


def main() -> None:
    refined = limner.refine("a castle", scorers=[Warmth()], method="rewrite", budget=24, variants=3, heldout_seeds=4)
    print(refined)
    warmth = refined.scores["warmth"]
    print(f"warmth {warmth.before:+.3f} -> {warmth.after:+.3f}; the others were no objective:", ", ".join(refined.scores))


if __name__ == "__main__":
    main()
