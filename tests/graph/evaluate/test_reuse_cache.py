"""Searches compared: each pays for all that it looks at, whoever drew it before, and what is drawn is drawn once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning
from limner.tools.budget import Budget, BudgetSpent
from limner.tools.diffusion.base import Hooks
from tests.doubles import FakeImageModel
from tests.graph.stage import likes, stage

CAT, DOG = Conditioning("a cat"), Conditioning("a dog, sharp")


def test_a_second_search_pays_as_much_as_the_first_and_draws_nothing(tmp_path: Path) -> None:
    context = stage(tmp_path, FakeImageModel(likes("sharp")), images=100)
    spent, values = [], []
    for _ in range(2):
        search = context.evaluator.within(Budget(images=4), reuse_cache=False)
        assert len(search.unpaid(search.drawing(CAT, seed) for seed in (1, 1, 2))) == 2
        values.append(search.evaluate([CAT, DOG], "a cat", [1, 2]).values["liking"].tolist())
        assert not search.unpaid(search.drawing(CAT, seed) for seed in (1, 2))
        with pytest.raises(BudgetSpent):
            search.draw([CAT], [3])
        spent.append(dict(search.budget.spent))
    assert spent[0] == spent[1] and values[0] == values[1]
    assert context.evaluator.budget.spent["images"] == 4


def test_a_search_with_other_scorers_sees_only_what_it_paid_for_and_what_is_refused_is_given_back_to_both(tmp_path: Path) -> None:
    context = stage(tmp_path, FakeImageModel(likes("sharp"), limit=3), images=100)
    outer = context.evaluator
    outer.draw([CAT], [1, 2])
    search = outer.within(Budget(images=5), [outer.scorer("likeness")], reuse_cache=False)
    assert search.objective.name == "likeness" and outer.objective.name == "liking" and not search.reuse_cache and outer.reuse_cache
    assert np.isnan(search.known([CAT], "a cat", [1, 2]).values["likeness"]).all()
    assert not np.isnan(search.evaluate([CAT], "a cat", [1]).values["likeness"]).any()
    with pytest.raises(BadInput):
        search.draw([CAT, Conditioning("far too many words")], [2])
    assert search.budget.spent["images"] == 1 and outer.budget.spent["images"] == 2
    assert len(search.unpaid([search.drawing(CAT, 2)])) == 1


def test_a_part_of_its_budget_pays_for_nothing_twice(tmp_path: Path) -> None:
    context = stage(tmp_path, FakeImageModel(likes("sharp")), images=100)
    search = context.evaluator.within(Budget(images=10), reuse_cache=False)
    part = search.within(search.budget.slice(images=2))
    part.draw([CAT], [1, 2])
    search.draw([CAT], [1, 2])
    assert part.budget.spent["images"] == 2 and search.budget.spent["images"] == 2


def test_gradients_are_paid_again_and_one_at_a_picture_just_paid_for_costs_as_if_it_were_just_drawn(tmp_path: Path) -> None:
    context = stage(tmp_path, FakeImageModel(likes("sharp")), images=100)
    outer = context.evaluator
    outer.draw([CAT], [1])
    search = outer.within(Budget(), reuse_cache=False)
    before = outer.budget.spent["unet_rows"]
    search.charge(5.0, stored=True)
    search.charge(3.0)
    assert search.budget.spent["unet_rows"] == 8 and outer.budget.spent["unet_rows"] == before + 3
    watching = search.with_hooks(Hooks())
    pictures = [search.drawing(CAT, 1)]
    assert not watching.counts_as_drawn(pictures) and not outer.counts_as_drawn(pictures)
    watching.draw([CAT], [1])
    assert watching.counts_as_drawn(pictures) and not search.with_hooks(Hooks()).counts_as_drawn(pictures)
