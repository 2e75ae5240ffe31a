"""DF-Prompt as a solver, on a model whose liking for one late word is planted."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning, Drawing, EffectSpan
from limner.tools.budget import Budget
from limner.tools.evaluator import Evaluator
from limner.tools.solvers.base import Task
from limner.tools.solvers.df_prompt.effects import LATE
from limner.tools.solvers.df_prompt.solver import DfPrompt
from tests.doubles import FakeImageModel, FakeScorer, hashed_value, open_store

TEXT = "a cat, sharp focus, golden hour, oil painting"


def likes_late_sharpness(drawing: Drawing) -> float:
    item = drawing.conditioning
    gain = 0.0
    for span in item.spans:
        if "sharp" in item.text[span.start : span.end] and (span.lo, span.hi) == LATE:
            gain += 0.3 + 0.2 * float(span.weight)
    return 0.05 * hashed_value(drawing) + gain


def evaluator_in(folder: Path, **budget: float) -> tuple[Evaluator, FakeImageModel]:
    db, images = open_store(folder)
    model = FakeImageModel(likes_late_sharpness)
    return Evaluator(model, [FakeScorer("liking")], db, images, Budget(**budget)), model  # type: ignore[arg-type]


def solve(evaluator: Evaluator, *start: Conditioning, pins: tuple[str, ...] = ()) -> list[Conditioning]:
    task = Task("a cat", start or (Conditioning(TEXT, "blurry"),), (0, 1), pins)
    return list(DfPrompt().solve(task, evaluator, np.random.default_rng(0), lambda event: None))


def test_it_finds_the_range_and_the_weight_that_are_liked(tmp_path: Path) -> None:
    evaluator, _ = evaluator_in(tmp_path)
    first, *others = solve(evaluator)
    assert (first.text, first.negative) == (TEXT, "blurry")
    assert EffectSpan(7, 18, *LATE, Fraction(3, 2)) in first.spans or any(
        span.start <= 7 and span.end >= 18 and (*LATE, Fraction(3, 2)) == span.effect for span in first.spans
    )
    assert len(others) == 2 and len({item.id for item in (first, *others)}) == 3
    assert DfPrompt().missing(evaluator) == ""


@pytest.mark.parametrize("cap", [{"images": 30}, {"unet_rows": 30 * 8}])
def test_a_cap_is_never_crossed_and_nearly_reached(tmp_path: Path, cap: dict[str, int]) -> None:
    evaluator, model = evaluator_in(tmp_path, **cap)
    assert solve(evaluator)
    assert 25 < len(model.drawn) <= 30


@pytest.mark.parametrize("unit", ["images", "unet_rows"])
def test_with_next_to_nothing_to_spend_it_proposes_nothing(tmp_path: Path, unit: str) -> None:
    evaluator, model = evaluator_in(tmp_path, **{unit: 1})
    assert solve(evaluator) == [] and not model.drawn


def test_the_best_of_the_prompts_it_is_given_is_worked_on(tmp_path: Path) -> None:
    evaluator, _ = evaluator_in(tmp_path)
    late = Conditioning("a cat, 8k")
    assert {item.text for item in solve(evaluator, late, Conditioning(TEXT))} <= {late.text, TEXT}
    assert solve(evaluator, Conditioning("a cat")) == []
    assert solve(evaluator, Conditioning("a cat"), Conditioning(TEXT))[0].text == TEXT


def test_the_user_s_own_modifiers_are_worked_on_too(tmp_path: Path) -> None:
    evaluator, _ = evaluator_in(tmp_path)
    task = Task(TEXT, (Conditioning("a cat"),), (0, 1))
    found = DfPrompt().solve(task, evaluator, np.random.default_rng(0), lambda event: None)
    assert {item.text for item in found} == {TEXT}


def test_a_model_that_knows_plain_words_alone_is_not_searched(tmp_path: Path) -> None:
    def plain_words_only(drawings: list[Drawing]) -> None:
        raise BadInput("plain words alone")

    evaluator, model = evaluator_in(tmp_path)
    model.check = plain_words_only  # type: ignore[attr-defined]
    assert DfPrompt().missing(evaluator) == "plain words alone"


def test_pinned_words_act_throughout_at_weight_one(tmp_path: Path) -> None:
    evaluator, _ = evaluator_in(tmp_path)
    found = solve(evaluator, pins=("sharp", "oil painting"))
    assert found
    for item in found:
        assert {item.text[span.start : span.end] for span in item.spans} == {"golden hour"}


def test_the_same_folder_again_costs_nothing_and_finds_the_same(tmp_path: Path) -> None:
    first = solve(evaluator_in(tmp_path)[0])
    evaluator, model = evaluator_in(tmp_path)
    assert solve(evaluator) == first and not model.drawn
