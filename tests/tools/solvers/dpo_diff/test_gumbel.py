"""Learning by Gumbel-softmax: the law of its samples, the gradient's shape, the optimiser to the digit, and that it finds what is there.

Properties 2, 3, 13, 14 and 19 of DPO-Diff.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limner.tools.budget import BudgetSpent
from limner.tools.diffusion.gradients.shortcut import Shortcut
from limner.tools.solvers.dpo_diff.gumbel import RmsProp, first_logits, learn, sample, softmax, through_softmax
from limner.tools.solvers.dpo_diff.settings import GumbelSettings
from tests.tools.solvers.dpo_diff.stage import ToyGradient

PAPER = GumbelSettings()


def test_the_argmax_of_samples_follows_the_softmax_of_the_logits() -> None:
    rng, logits, count = np.random.default_rng(0), np.array([1.0, 0.0, 0.5, 2.0]), 20_000
    drawn = np.bincount([int(sample([logits], 1.0, rng)[0].argmax()) for _ in range(count)], minlength=4)
    expected = softmax(logits) * count
    assert ((drawn - expected) ** 2 / expected).sum() < 16.27  # chi-square of 3 degrees of freedom, p = 0.001


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=6), st.floats(-2, 2))
def test_the_gradient_of_a_slot_sums_to_zero_and_adding_a_constant_changes_nothing(logits: list[float], constant: float) -> None:
    row = np.array(logits)
    weights = softmax(row)
    slopes = np.cos(np.arange(len(row)) * 1.7)
    found = through_softmax(weights, slopes, 1.0)
    assert abs(found.sum()) < 1e-12
    assert np.allclose(softmax(row + constant), weights)
    leaf = torch.tensor(row, dtype=torch.float64, requires_grad=True)
    (torch.softmax(leaf, 0) @ torch.from_numpy(slopes)).backward()
    assert leaf.grad is not None and np.allclose(found, leaf.grad.numpy(), atol=1e-12)


def test_the_optimiser_is_torchs_step_by_step_and_its_first_step_is_one() -> None:
    rng = np.random.default_rng(0)
    free = GumbelSettings(lowest=-100, highest=100)
    logits, theirs = [np.zeros(5)], torch.zeros(5, dtype=torch.float64, requires_grad=True)
    ours = RmsProp(logits, free)
    reference = torch.optim.RMSprop([theirs], lr=0.1, alpha=0.99, eps=1e-8, momentum=0.5)
    for step in range(20):
        gradient = rng.normal(0, 0.02, 5)
        ours.step(logits, [gradient])
        theirs.grad = torch.from_numpy(np.clip(gradient, -1 / 40, 1 / 40))
        reference.step()
        assert np.allclose(logits[0], theirs.detach().numpy(), atol=1e-12)
        if step == 0:
            assert np.allclose(np.abs(logits[0]), 1.0, atol=1e-4)  # 0.1 / sqrt(1 - 0.99)


def test_gradients_are_clipped_and_logits_stay_in_their_range() -> None:
    rng = np.random.default_rng(0)
    one, other = [np.zeros(3)], [np.zeros(3)]
    first, second = RmsProp(one, PAPER), RmsProp(other, PAPER)
    first.step(one, [np.array([5.0, -5.0, 0.01])])
    second.step(other, [np.array([1 / 40, -1 / 40, 0.01])])
    assert np.array_equal(one[0], other[0])
    for _ in range(50):
        first.step(one, [rng.normal(0, 1, 3)])
        assert one[0].min() >= 0 and one[0].max() <= 3


def test_logits_begin_in_favour_of_what_changes_nothing() -> None:
    assert [row.tolist() for row in first_logits((2, 3), PAPER)] == [[1, 0], [1, 0, 0]]


def test_the_schedule_is_the_papers_at_fifty_steps_and_fits_any_sampler() -> None:
    assert [PAPER.done(iteration, 50) for iteration in range(20)] == [15 + iteration // 2 for iteration in range(20)]
    assert [PAPER.done(iteration, 20) for iteration in range(0, 20, 5)] == [6, 6, 8, 8]
    for calls in range(1, 60):
        for graded in range(1, calls + 1):
            found = [GumbelSettings(graded=graded, start=0.9).done(iteration, calls) for iteration in (0, 10, 19)]
            assert all(0 <= done <= calls - graded for done in found)


def test_learning_walks_through_the_schedule() -> None:
    gradient = ToyGradient((1,), (3,), np.random.default_rng(0))
    learn(gradient, (3,), PAPER, np.random.default_rng(0))
    assert gradient.shortcuts == [Shortcut(15 + iteration // 2, 1) for iteration in range(20)]


def test_a_gradient_that_is_not_finite_is_left_out_and_counted() -> None:
    class Broken(ToyGradient):
        def of_weights(self, weights: object, shortcut: Shortcut) -> tuple[float, list[np.ndarray]]:
            self.shortcuts.append(shortcut)
            return 0.0, [np.array([np.nan, 0, 0])]

    gradient = Broken((1,), (3,), np.random.default_rng(0))
    logits = learn(gradient, (3,), PAPER, np.random.default_rng(0))
    assert gradient.skipped == len(gradient.shortcuts) == 20
    assert logits[0].tolist() == [1, 0, 0]


def test_what_was_learned_before_the_budget_ended_is_kept() -> None:
    class Dear(ToyGradient):
        def of_weights(self, weights: object, shortcut: Shortcut) -> tuple[float, list[np.ndarray]]:
            if len(self.shortcuts) == 5:
                raise BudgetSpent("unet_rows", 5)
            return super().of_weights(weights, shortcut)  # type: ignore[arg-type]

    logits = learn(Dear((2,), (3,), np.random.default_rng(0)), (3,), PAPER, np.random.default_rng(0))
    assert not np.array_equal(logits[0], [1, 0, 0])


def test_it_raises_the_probability_of_the_best_candidate_in_nine_of_ten_runs() -> None:
    raised = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        sizes = (4, 6, 5)
        target = [int(rng.integers(1, size)) for size in sizes]
        logits = learn(ToyGradient(target, sizes, rng), sizes, PAPER, rng)
        before = [softmax(row) for row in first_logits(sizes, PAPER)]
        raised += [softmax(row)[best] > first[best] for row, best, first in zip(logits, target, before, strict=True)]
    assert np.mean(raised) > 0.9


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_samples_are_distributions(temperature: float) -> None:
    for row in sample([np.zeros(4), np.array([3.0, 0.0])], temperature, np.random.default_rng(0)):
        assert row.sum() == pytest.approx(1) and (row > 0).all()
