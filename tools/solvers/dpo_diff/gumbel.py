"""Learns a distribution over candidates by gradients of Gumbel-softmax samples (DPO-Diff, sec. 6.1.2, eq. 7).

Each iteration draws one soft prompt, shared by all seeds, and updates the logits with RMSprop on the loss of the shortcut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from limner.tools.budget import BudgetSpent
from limner.tools.diffusion.gradients.shortcut import Shortcut
from limner.tools.solvers.dpo_diff.settings import GumbelSettings

if TYPE_CHECKING:
    import torch


class WeightGradient(Protocol):
    """The gradient that learning needs. `calls`: the sampler's model calls; `skipped`: gradients that were not finite."""

    calls: int
    skipped: int

    def of_weights(self, weights: Sequence[torch.Tensor], shortcut: Shortcut) -> tuple[float, list[np.ndarray]]:
        """Returns the loss of a soft prompt and its gradient with respect to each slot's weights."""


class RmsProp:
    """torch.optim.RMSprop with one state for each slot, without bias correction; the first step is 1 for any gradient."""

    def __init__(self, logits: Sequence[np.ndarray], settings: GumbelSettings) -> None:
        self.settings = settings
        self.square = [np.zeros_like(row) for row in logits]
        self.moment = [np.zeros_like(row) for row in logits]

    def step(self, logits: list[np.ndarray], gradients: Sequence[np.ndarray]) -> None:
        """Updates the logits in place, with clipping and clamping. Gradients must be finite."""
        given = self.settings
        for row, gradient, square, moment in zip(logits, gradients, self.square, self.moment, strict=True):
            gradient = np.clip(gradient, -given.clip, given.clip)
            square *= given.smoothing
            square += (1 - given.smoothing) * gradient**2
            moment *= given.momentum
            moment += gradient / (np.sqrt(square) + given.epsilon)
            row -= given.learning_rate * moment
            np.clip(row, given.lowest, given.highest, out=row)


def first_logits(sizes: Sequence[int], settings: GumbelSettings) -> list[np.ndarray]:
    """Returns initial logits in favour of the candidate that changes nothing."""
    rows = [np.zeros(size) for size in sizes]
    for row in rows:
        row[0] = settings.first
    return rows


def learn(
    gradient: WeightGradient,
    sizes: Sequence[int],
    settings: GumbelSettings,
    rng: np.random.Generator,
    heard: Callable[[int, float], None] = lambda iteration, loss: None,
) -> list[np.ndarray]:
    """Returns the logits after all iterations, or after those that the budget allowed. `heard`: called with iteration and loss."""
    import torch

    logits = first_logits(sizes, settings)
    optimizer = RmsProp(logits, settings)
    for iteration in range(settings.iterations):
        weights = sample(logits, settings.temperature, rng)
        shortcut = Shortcut(settings.done(iteration, gradient.calls), settings.graded).within(gradient.calls)
        try:
            loss, found = gradient.of_weights([torch.from_numpy(row) for row in weights], shortcut)
        except BudgetSpent:
            break
        gradients = [through_softmax(row, back, settings.temperature) for row, back in zip(weights, found, strict=True)]
        if not np.isfinite(loss) or not all(np.isfinite(row).all() for row in gradients):
            gradient.skipped += 1
            continue
        optimizer.step(logits, gradients)
        heard(iteration, loss)
    return logits


def sample(logits: Sequence[np.ndarray], temperature: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Returns softmax((a + g) / tau) with Gumbel noise g for each slot; its argmax is a draw from softmax(a)."""
    return [softmax((row + rng.gumbel(size=row.shape)) / temperature) for row in logits]


def softmax(row: np.ndarray) -> np.ndarray:
    """Returns the softmax of a vector."""
    shifted = np.exp(row - row.max())
    return shifted / shifted.sum()


def through_softmax(weights: np.ndarray, gradient: np.ndarray, temperature: float) -> np.ndarray:
    """Turns the gradient with respect to the weights into that with respect to the logits: p (g - <p, g>) / tau, which sums to 0."""
    return weights * (gradient - float(weights @ gradient)) / temperature
