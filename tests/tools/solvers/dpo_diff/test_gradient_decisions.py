"""Which gradient of a search for words is taken anew, who pays for it, and on how many seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from limner.tools.budget import Budget
from limner.tools.diffusion.checkpoint import Checkpoint
from limner.tools.diffusion.gradients.shortcut import Shortcut
from limner.tools.evaluator import Evaluator
from limner.tools.scoring.clip import ClipEncoder, SphericalClipScorer
from limner.tools.solvers.dpo_diff.preview import SwapPreview
from limner.tools.solvers.dpo_diff.text_gradient import SearchGradient
from limner.tools.solvers.dpo_diff.trials import Choice
from tests.tools.solvers.dpo_diff.test_text_gradient import evaluator_of, gradient_of, space


@pytest.fixture
def graded(models: dict[str, Checkpoint], encoder: ClipEncoder, tmp_path: Path) -> Callable[..., SearchGradient]:
    """A SearchGradient that shares its database with the others of the test."""

    def made(seeds: Sequence[int] = (0, 1), version: str = "", run: str = "", higher: bool = False, steps: int = 4) -> SearchGradient:
        evaluator = evaluator_of(tmp_path, models["sd1"], encoder)
        scorer = SphericalClipScorer(encoder)
        scorer.version += version
        scorer.higher_is_better = higher
        settings = replace(evaluator.settings, steps=steps)
        again = Evaluator(evaluator.model, [scorer], evaluator.db, evaluator.images, Budget(), settings, run)
        gradient = gradient_of(again, space())
        gradient.seeds = tuple(seeds)
        return gradient

    return made


WEIGHTS = [torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.5, 0.5]), torch.tensor([0.8, 0.1, 0.1]), torch.tensor([0.25] * 4)]
Ask = Callable[[SearchGradient, Choice, Shortcut], Any]
ASKS: dict[str, Ask] = {
    "of weights": lambda gradient, choice, shortcut: gradient.of_weights([WEIGHTS[0] + choice[0] / 10, *WEIGHTS[1:]], shortcut),
    "of swaps": lambda gradient, choice, shortcut: gradient.of_swaps(choice, shortcut, gradient.seeds),
    "of previews": lambda gradient, choice, shortcut: SwapPreview(gradient).of_swaps(choice, shortcut, gradient.seeds),
}
PLAIN, AT = (0, 0, 0, 0), Shortcut(1)


def price(gradient: SearchGradient, ask: Ask, choice: Choice = PLAIN, shortcut: Shortcut = AT) -> float:
    before = gradient.evaluator.budget.spent["unet_rows"]
    ask(gradient, choice, shortcut)
    return gradient.evaluator.budget.spent["unet_rows"] - before


@pytest.mark.parametrize(
    ("change", "choice", "shortcut", "pays"),
    [
        ({}, PLAIN, AT, False),
        ({"seeds": (0, 2)}, PLAIN, AT, True),
        ({"seeds": (0,)}, PLAIN, AT, True),
        ({"version": "+1"}, PLAIN, AT, True),
        ({"higher": True}, PLAIN, AT, True),
        ({"steps": 5}, PLAIN, AT, True),
        ({}, (1, 0, 0, 0), AT, True),
        ({}, PLAIN, Shortcut(2), True),
        ({"run": "run-2"}, PLAIN, AT, False),
    ],
    ids=["the same", "other seeds", "fewer seeds", "new version of the scorer", "other direction", "other steps", "other choice",
         "other step", "other run"],
)  # fmt: skip
@pytest.mark.parametrize("name", ASKS)
def test_a_gradient_is_taken_anew_where_anything_that_it_depends_on_differs(
    graded: Callable[..., SearchGradient], name: str, change: dict[str, Any], choice: Choice, shortcut: Shortcut, pays: bool
) -> None:
    assert price(graded(run="run-1"), ASKS[name]) > 0
    assert (price(graded(**{"run": "run-1", **change}), ASKS[name], choice, shortcut) > 0) is pays


@pytest.mark.parametrize(("run", "pays"), [("run-1", False), ("run-2", True), ("", True)])
def test_a_gradient_that_a_kill_lost_is_paid_for_by_other_runs_alone(graded: Callable[..., SearchGradient], run: str, pays: bool) -> None:
    class Killed(BaseException):
        pass

    dying = graded(run="run-1")

    def die(pictures: torch.Tensor) -> torch.Tensor:
        raise Killed

    dying.loss = die
    assert dying.cost.rest > 0  # counted before, without the kill
    with pytest.raises(Killed):
        dying.of_swaps(PLAIN, AT, dying.seeds)
    assert dying.evaluator.budget.spent["unet_rows"] > 0
    assert (price(graded(run=run), ASKS["of swaps"]) > 0) is pays


@pytest.mark.parametrize("name", ASKS)
def test_a_gradient_is_paid_for_on_every_seed(graded: Callable[..., SearchGradient], name: str) -> None:
    """Texts are encoded once whatever the number of seeds; all else is paid per seed."""
    one, two, four = (price(graded(seeds=range(count)), ASKS[name]) for count in (1, 2, 4))
    assert two > one > 0
    assert four - two == pytest.approx(2 * (two - one))
    assert two - one > 0.5 * one  # the encoding is the smaller part
