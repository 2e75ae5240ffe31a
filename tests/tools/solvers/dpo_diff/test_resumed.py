"""A search that was killed is played again from what is stored: it decides, counts and ends as one that was never killed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from limner.promptdb.records import Drawing
from limner.tools.budget import Budget, BudgetSpent
from limner.tools.evaluator import Evaluator
from limner.tools.solvers.dpo_diff.trials import Trials
from tests.doubles import FakeImageModel, FakeScorer, open_store
from tests.tools.solvers.dpo_diff.stage import PROMPT, SEEDS, distance, negative_space
from tests.tools.solvers.dpo_diff.test_searches import SEARCHES

TARGET = (3, 1, 0, 4)
SPACE = negative_space(4, 5)
IMAGES = 40


class Killed(BaseException):
    """As kill -9 between two batches."""


def searched(folder: Path, name: str, drawn: int = 0, kill_after: int | None = None) -> Trials:
    """A process of the run: its budget knows what earlier ones have paid for, `drawn` or lost in their kill."""
    db, images = open_store(folder)
    model = FakeImageModel(distance(TARGET, 0.3), bucket=2)

    def batch(drawings: list[Drawing]) -> None:
        if kill_after is not None and len(model.drawn) >= kill_after:
            raise Killed

    model.on_bucket = batch
    rows = model.default_settings.unet_rows
    budget = Budget(images=IMAGES, spent={"images": drawn, "unet_rows": drawn * rows, "llm_calls": 0})
    trials = Trials(SPACE, Evaluator(model, [FakeScorer("loss", higher_is_better=False)], db, images, budget, run="r1"), PROMPT, SEEDS)
    with suppress(BudgetSpent, Killed):
        SEARCHES[name](trials, np.random.default_rng(0))
    return trials


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("kills", [(1,), (7, 11), (20, 35)])
def test_a_search_that_was_killed_ends_as_one_that_was_not(tmp_path: Path, name: str, kills: tuple[int, ...]) -> None:
    whole = searched(tmp_path / "whole", name)
    drawn = 0
    for pictures in kills:
        drawn = searched(tmp_path / "killed", name, drawn, pictures).evaluator.budget.spent["images"]
    resumed = searched(tmp_path / "killed", name, drawn)
    assert [(trial.choice, trial.costs, trial.rows) for trial in resumed.trajectory()] == [
        (trial.choice, trial.costs, trial.rows) for trial in whole.trajectory()
    ]
    assert resumed.best == whole.best and resumed.tried == whole.tried
    assert resumed.evaluator.budget.spent["images"] == whole.evaluator.budget.spent["images"]
