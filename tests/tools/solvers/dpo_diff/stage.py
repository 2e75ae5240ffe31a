"""A stage for searches without weights: a space of numbered words, and pictures whose value follows from the words chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from limner.promptdb.records import Conditioning, Drawing
from limner.tools.budget import Budget
from limner.tools.diffusion.gradients.shortcut import Shortcut
from limner.tools.evaluator import Evaluator
from limner.tools.solvers.dpo_diff.space import Slot, Space, Words
from limner.tools.solvers.dpo_diff.trials import Choice, Trials
from tests.doubles import FakeImageModel, FakeScorer, hashed_value, open_store

PROMPT = "a red car"
SEEDS = (0, 1)


def negative_space(slots: int, words: int) -> Space:
    """`slots` negative slots of `words` words each, "w0x1" and so on, and nothing."""
    made = [Slot("negative", ("", *(f"w{slot}x{word}" for word in range(1, words + 1)))) for slot in range(slots)]
    return Space(Conditioning(PROMPT), Words.split(PROMPT), tuple(made))


def distance(target: Choice, noise: float = 0.0) -> Callable[[Drawing], float]:
    """A loss: the share of slots that differ from `target`, and as much noise of the drawing as asked for."""

    def value(drawing: Drawing) -> float:
        said = drawing.conditioning.negative.split(", ")
        wrong = sum((f"w{slot}x{word}" if word else "") not in (said if word else [""]) for slot, word in enumerate(target))
        wrong += sum(int(word[word.index("x") + 1 :]) != target[int(word[1 : word.index("x")])] for word in said if word)
        return min(0.99, 0.5 * wrong / (2 * len(target)) + noise * hashed_value(drawing))

    return value


def trials_of(
    folder: Path,
    space: Space,
    value: Callable[[Drawing], float],
    images: int | None = None,
    seeds: Sequence[int] = SEEDS,
    allowed: Callable[[Conditioning], bool] = lambda conditioning: True,
    higher: bool = False,
) -> Trials:
    """On a real database; the scorer reads the model's number. `drawn` of the model tells what was paid for."""
    db, images_store = open_store(folder)
    model = FakeImageModel(value)
    evaluator = Evaluator(model, [FakeScorer("loss", higher_is_better=higher)], db, images_store, Budget(images=images))
    return Trials(space, evaluator, PROMPT, tuple(seeds), allowed)


class ToyGradient:
    """A differentiable generator: the loss of a mixture is linear in its weights, least where each slot's weight lies on its target."""

    calls = 50

    def __init__(self, target: Sequence[int], sizes: Sequence[int], rng: np.random.Generator, noise: float = 0.02) -> None:
        self.slopes = [rng.normal(0, 0.02, size) for size in sizes]
        for row, best in zip(self.slopes, target, strict=True):
            row[best] -= 0.1
        self.noise, self.rng, self.skipped = noise, rng, 0
        self.shortcuts: list[Shortcut] = []

    def of_weights(self, weights: Sequence[object], shortcut: Shortcut) -> tuple[float, list[np.ndarray]]:
        self.shortcuts.append(shortcut)
        noisy = [row + self.rng.normal(0, self.noise, row.shape) for row in self.slopes]
        loss = sum(float(np.asarray(weight) @ row) for weight, row in zip(weights, noisy, strict=True))
        return loss, noisy

    def of_swaps(self, choice: Choice, shortcut: Shortcut, seeds: Sequence[int]) -> list[np.ndarray]:
        return [row - row[chosen] for row, chosen in zip(self.slopes, choice, strict=True)]
