"""How prompts and images are shared out before an instruction is learned."""

from __future__ import annotations

import pytest

from limner.graph.plan import CHECKED, DEVELOPMENT_MOST, LearningSettings, plan_images, plan_learning, split_prompts
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


@pytest.mark.parametrize(
    ("budget", "search", "heldout", "population"),
    [(64, 2, 8, 24), (20, 2, 8, 2), (21, 2, 8, 2), (22, 2, 8, 3), (100, 1, 2, 96), (6, 1, 2, 2), (27, 3, 4, 6)],
)
def test_of_a_budget_for_one_prompt_the_check_is_kept_back_and_the_rest_is_searched(
    budget: int, search: int, heldout: int, population: int
) -> None:
    plan = plan_images(budget, search, heldout)
    assert (plan.heldout, plan.population) == (2 * heldout, population)


@pytest.mark.parametrize(("budget", "search", "heldout", "least"), [(19, 2, 8, 20), (1, 1, 2, 6), (13, 3, 4, 14)])
def test_a_budget_without_room_for_one_candidate_is_refused(budget: int, search: int, heldout: int, least: int) -> None:
    with pytest.raises(BadInput, match=rf"need {2 * search} to search .* and {2 * heldout} for .*raise --budget to {least} "):
        plan_images(budget, search, heldout)
    assert plan_images(least, search, heldout).population == 2


@pytest.mark.parametrize(
    ("budget", "available", "asked", "learning", "heldout_prompts"),
    [
        (1400, 60, 60, 460, 60),  # 8 images a held-out prompt: 480
        (1400, 10, 60, 660, 10),
        (1400, 60, 20, 620, 20),
        (400, 60, 60, 100, 25),  # the check takes half at most
        (40, 60, 60, 12, 2),  # and leaves 12 to each side
        (32, 60, 60, 12, 1),
        (48, 60, 60, 12, 3),
    ],
)
def test_of_a_budget_for_learning_the_check_has_half_at_most_and_the_rest_is_shared_evenly(
    budget: int, available: int, asked: int, learning: int, heldout_prompts: int
) -> None:
    plan = plan_learning(budget, LearningSettings(heldout_prompts=asked), available, 2, 2)
    assert (plan.learning, plan.suffix, plan.heldout, plan.heldout_prompts) == (learning, learning, 8 * heldout_prompts, heldout_prompts)


@pytest.mark.parametrize(("count", "asked", "learned_on", "kept"), [(2, 60, 1, 1), (5, 60, 3, 2), (40, 10, 30, 10), (200, 60, 64, 60)])
def test_half_of_the_prompts_are_kept_from_learning_at_most(count: int, asked: int, learned_on: int, kept: int) -> None:
    split = split_prompts(prompts(count), 0, asked)
    assert (len(split.development), len(split.heldout), split.shared) == (learned_on, kept, False)


@pytest.mark.parametrize(("compat", "reference"), [("", False), ("maai", True)])
def test_the_references_own_selection_is_asked_for_by_name(compat: str, reference: bool) -> None:
    assert LearningSettings(compat=compat).reference_ucb is reference  # type: ignore[arg-type]
