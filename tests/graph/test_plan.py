"""How prompts and images are shared out before an instruction is learned."""

from __future__ import annotations

import pytest

from limner.graph.plan import CHECKED, DEVELOPMENT_MOST, LearningSettings, plan_learning, split_prompts
from limner.promptdb.errors import BadInput
from limner.promptdb.files.prompt_file import BatchPrompt


def prompts(count: int) -> list[BatchPrompt]:
    return [BatchPrompt(f"prompt {number}") for number in range(count)]


@pytest.mark.parametrize("count", [2, 3, 40, 121, 10_000])
def test_what_is_learned_on_is_never_reported_on(count: int) -> None:
    split = split_prompts(prompts(count), 0, 60)
    assert not set(split.development) & set(split.heldout) and not split.shared
    assert 1 <= len(split.heldout) == min(60, count // 2)
    assert 1 <= len(split.development) <= DEVELOPMENT_MOST


def test_the_split_hangs_on_prompts_and_seed_alone() -> None:
    forward, backward = split_prompts(prompts(40), 3, 60), split_prompts(prompts(40)[::-1], 3, 60)
    assert forward == backward != split_prompts(prompts(40), 4, 60)


def test_one_prompt_alone_is_both_and_says_so() -> None:
    split = split_prompts(prompts(1), 0, 60)
    assert split.shared and split.development == split.heldout


@pytest.mark.parametrize("budget", [48, 64, 200, 1000, 5000])
def test_a_plan_never_exceeds_its_budget_and_keeps_learning_and_rival_equal(budget: int) -> None:
    plan = plan_learning(budget, LearningSettings(), 60, 2, 2)
    assert plan.learning == plan.suffix >= 12
    assert plan.heldout == CHECKED * 2 * plan.heldout_prompts
    assert plan.learning + plan.suffix + plan.heldout <= budget
    assert 1 <= plan.heldout_prompts <= 60


def test_a_budget_too_small_says_how_much_is_needed() -> None:
    with pytest.raises(BadInput, match="raise --budget to 32") as caught:
        plan_learning(20, LearningSettings(), 60, 2, 2)
    assert plan_learning(32, LearningSettings(), 60, 2, 2).heldout_prompts == 1
    assert "too small" in str(caught.value)


@pytest.mark.parametrize("change", [{"iterations": 0}, {"batch_size": 0}, {"arms": 0}, {"children": 0}, {"compat": "other"}])
def test_settings_out_of_range_are_refused(change: dict) -> None:  # type: ignore[type-arg]
    with pytest.raises(BadInput):
        LearningSettings(**change)
