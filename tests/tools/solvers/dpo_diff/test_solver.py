"""The solver on a tiny checkpoint and on a black box: end to end on one budget, what it says where there is nothing to search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning
from limner.tools.budget import Budget, BudgetSpent
from limner.tools.diffusion.checkpoint import Checkpoint
from limner.tools.diffusion.sampling.sampler import Sampler
from limner.tools.evaluator import Evaluator
from limner.tools.scoring.clip import ClipEncoder, SphericalClipScorer
from limner.tools.solvers.base import Task
from limner.tools.solvers.dpo_diff.settings import SEARCHES, DpoSettings, GumbelSettings
from limner.tools.solvers.dpo_diff.solver import DpoDiff
from tests.checked_events import TOOL_EVENTS
from tests.doubles import FakeImageModel, FakeScorer, open_store

PROMPT = "a red cat on the dog"


LISTS = {"red": ("blue", "bright"), "cat": ("dog photo", "sharp"), "dog": ("cat",)}


class Source:
    """Candidates for three words."""

    def synonyms(self, word: str) -> tuple[str, ...]:
        return LISTS.get(word.lower(), ())

    def antonyms(self, word: str) -> tuple[str, ...]:
        return self.synonyms(word)


def solver_of(search: str, space: str = "synonym+antonym", **settings: Any) -> DpoDiff:
    return DpoDiff(DpoSettings(space, search, gumbel=GumbelSettings(iterations=2), **settings), lambda prompt: Source())  # type: ignore[arg-type]


def evaluator_of(folder: Path, checkpoint: Checkpoint, encoder: ClipEncoder, images: int | None = None) -> Evaluator:
    db, store = open_store(folder)
    settings = replace(checkpoint.default_settings, scheduler="DDIMScheduler", steps=3, guidance_scale=3.0)
    return Evaluator(Sampler(checkpoint), [SphericalClipScorer(encoder)], db, store, Budget(images=images), settings)


def solve(
    solver: DpoDiff, evaluator: Evaluator, prompt: str = PROMPT, pins: tuple[str, ...] = (), starts: Sequence[str] = ()
) -> tuple[Any, list[Any]]:
    events: list[Any] = []
    task = Task(prompt, tuple(Conditioning(text) for text in (starts or [prompt])), (0, 1), pins)
    found = solver.solve(task, evaluator, np.random.default_rng(0), events.append)
    TOOL_EVENTS.validate_python(events, strict=True)
    return found, events


@pytest.mark.parametrize("search", SEARCHES)
def test_every_search_runs_on_one_budget_and_begins_with_the_prompt_itself(
    models: dict[str, Checkpoint], encoder: ClipEncoder, tmp_path: Path, search: str
) -> None:
    evaluator = evaluator_of(tmp_path, models["sd2"], encoder, images=24)
    solver = solver_of(search)
    found, events = solve(solver, evaluator)
    per_image = evaluator.settings.unet_rows
    assert evaluator.budget.spent["unet_rows"] <= 24 * per_image + 1e-6
    assert evaluator.budget.unet_rows is None and evaluator.budget.spent["images"] <= 24
    best = [event for event in events if event["kind"] == "best"]
    assert best[0]["text"] == PROMPT and best[0]["count"] == 1
    assert found and all(item != Conditioning(PROMPT) for item in found)
    assert solver.findings["tried"] > 1 and solver.findings["search"] == search
    assert solver.findings["trajectory"][0]["evaluations"] == 0
    if search in ("hybrid", "gradient"):  # a gradient is no picture, and still is paid for; limner may do without
        assert evaluator.budget.spent["unet_rows"] > per_image * evaluator.budget.spent["images"]


def test_what_was_drawn_and_graded_before_a_kill_is_not_paid_again(
    models: dict[str, Checkpoint], encoder: ClipEncoder, tmp_path: Path
) -> None:
    first = evaluator_of(tmp_path, models["sd1"], encoder, images=16)
    found, _ = solve(solver_of("hybrid"), first)
    again = evaluator_of(tmp_path, models["sd1"], encoder, images=16)
    again.budget.spent = dict(first.budget.spent)  # as a journal has it
    repeated, _ = solve(solver_of("hybrid"), again)
    assert list(repeated) == list(found)
    assert again.budget.spent == first.budget.spent


def test_the_first_start_is_searched_from(tmp_path: Path) -> None:
    found, _ = solve(solver_of("evolution", "antonym"), black_box(tmp_path), starts=[f"{PROMPT}, sharp", PROMPT])
    assert found and all("sharp" in item.text for item in found)


def black_box(folder: Path, images: int | None = 30) -> Evaluator:
    db, store = open_store(folder)
    model = FakeImageModel(lambda drawing: 0.2 if "blue" in drawing.conditioning.negative else 0.7)
    return Evaluator(model, [FakeScorer("loss", higher_is_better=False)], db, store, Budget(images=images))


@pytest.mark.parametrize("search", ["swap", "evolution", "random"])
def test_a_black_box_is_searched_without_gradients(tmp_path: Path, search: str) -> None:
    evaluator = black_box(tmp_path)
    solver = solver_of(search, "antonym")
    assert solver.missing(evaluator) == ""
    found, _ = solve(solver, evaluator)
    assert "blue" in found[0].negative


@pytest.mark.parametrize("search", ["hybrid", "gradient"])
def test_a_search_that_needs_gradients_says_so_on_a_black_box(tmp_path: Path, search: str) -> None:
    assert "black box" in solver_of(search).missing(black_box(tmp_path))


def test_a_scorer_without_a_gradient_is_named(models: dict[str, Checkpoint], tmp_path: Path) -> None:
    db, store = open_store(tmp_path)
    evaluator = Evaluator(Sampler(models["sd1"]), [FakeScorer("opinion")], db, store, Budget())
    assert "opinion has no gradient" in solver_of("hybrid").missing(evaluator)
    assert solver_of("swap").missing(evaluator) == ""


@pytest.mark.parametrize(("prompt", "pins"), [("...!?", ()), ("zebra under glass", ()), ("red cat", ("red", "cat"))])
def test_nothing_to_search_is_said_and_costs_nothing(tmp_path: Path, prompt: str, pins: tuple[str, ...]) -> None:
    evaluator = black_box(tmp_path)
    solver = solver_of("evolution", "antonym")
    found, events = solve(solver, evaluator, prompt, pins)
    assert list(found) == [] and evaluator.budget.spent["images"] == 0
    assert [event["kind"] for event in events] == ["warning"]
    assert solver.findings["slots"] == 0


def test_a_budget_below_one_candidate_is_reported_as_spent(tmp_path: Path) -> None:
    with pytest.raises(BudgetSpent):
        solve(solver_of("evolution", "antonym"), black_box(tmp_path, images=1))


def test_pinned_words_stay_and_are_never_opposed(tmp_path: Path) -> None:
    evaluator = black_box(tmp_path)
    found, _ = solve(solver_of("evolution"), evaluator, pins=("red",))
    assert all("red" in item.text.split() and "blue" not in item.negative for item in found)


def test_a_space_or_a_search_that_does_not_exist_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="swap"):
        solver_of("magic")
    with pytest.raises(BadInput, match="antonym"):
        solve(solver_of("evolution", "nplib"), black_box(tmp_path))


def test_words_are_told_with_what_they_gained(tmp_path: Path) -> None:
    solver = solver_of("evolution", "antonym")
    solve(solver, black_box(tmp_path, 60))
    gains = {row["candidate"]: row["gain"] for row in solver.findings["words"]}
    assert "blue" in gains
    assert gains["blue"] is None or gains["blue"] == pytest.approx(0.5, abs=1e-3)
