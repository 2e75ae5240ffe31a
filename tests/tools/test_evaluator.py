"""The Evaluator: nothing is drawn or judged twice, nothing is drawn unpaid, candidates meet on common seeds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning, Drawing
from limner.tools.budget import Budget, BudgetSpent
from limner.tools.diffusion.base import Drawn, Hooks, PromptTooLong
from limner.tools.evaluator import Evaluation, Evaluator
from tests.checked_events import TOOL_EVENTS
from tests.doubles import FakeClock, FakeImageModel, FakeScorer, hashed_value, open_store, value_of

CANDIDATES = tuple(Conditioning(text) for text in ("a cat", "a cat, sharp", "a cat, blurry"))
SEEDS = (11, 12)


def evaluator_in(
    folder: Path,
    model: FakeImageModel | None = None,
    scorers: tuple[FakeScorer, ...] = (FakeScorer(),),
    budget: Budget | None = None,
    run: str = "",
) -> Evaluator:
    db, images = open_store(folder)
    return Evaluator(model or FakeImageModel(), scorers, db, images, budget or Budget(), run=run)


def test_every_candidate_is_drawn_on_every_seed_in_one_batched_call(tmp_path: Path) -> None:
    model = FakeImageModel()
    evaluation = evaluator_in(tmp_path, model).evaluate(CANDIDATES, "a cat", SEEDS)
    assert model.calls == 1 and len(model.drawn) == 6
    expected = [[hashed_value(Drawing(c, seed, model.default_settings, model.fingerprint)) for seed in SEEDS] for c in CANDIDATES]
    np.testing.assert_allclose(evaluation.values["fake"], expected, atol=1e-6)
    np.testing.assert_allclose(evaluation.mean("fake"), np.mean(expected, axis=1), atol=1e-6)
    assert evaluation.drawings[1, 0] == Drawing(CANDIDATES[1], 11, model.default_settings, model.fingerprint).id


def test_a_second_request_draws_and_judges_nothing_even_from_another_process(tmp_path: Path) -> None:
    first = evaluator_in(tmp_path).evaluate(CANDIDATES, "a cat", SEEDS)
    model, scorer = FakeImageModel(), FakeScorer()
    again = evaluator_in(tmp_path, model, (scorer,))
    second = again.evaluate(CANDIDATES, "a cat", SEEDS)
    assert model.rows == 0 and scorer.judged == 0 and again.budget.spent["images"] == 0
    np.testing.assert_array_equal(first.values["fake"], second.values["fake"])


def test_a_candidate_asked_for_twice_in_one_request_is_drawn_once(tmp_path: Path) -> None:
    model = FakeImageModel()
    evaluation = evaluator_in(tmp_path, model).evaluate([CANDIDATES[0], Conditioning("  a cat ")], "a cat", SEEDS)
    assert len(model.drawn) == 2
    np.testing.assert_array_equal(evaluation.values["fake"][0], evaluation.values["fake"][1])


class Narrow(FakeScorer):
    """Judges prompts on cats alone, and gives full marks to all others if it is asked."""

    def recognises(self, text: str) -> bool:
        return "cat" in text


def test_a_scorer_is_not_asked_for_what_it_does_not_recognise_and_no_picture_is_lost_by_it(tmp_path: Path) -> None:
    evaluator_in(tmp_path, scorers=(FakeScorer("narrow", lambda image, text: 1.0),)).evaluate(CANDIDATES[:1], "a dog", SEEDS)
    scorer = Narrow("narrow")
    evaluator = evaluator_in(tmp_path, scorers=(FakeScorer(), scorer))  # the values of before, stored under the same name, do not count
    found = evaluator.evaluate(CANDIDATES, ["a cat", "a dog", "a black cat"], SEEDS)
    assert np.isnan(found.values["narrow"]).tolist() == [[False, False], [True, True], [False, False]]
    assert not np.isnan(found.values["fake"]).any() and scorer.judged == 4 and evaluator.dropped == 0
    assert np.isnan(evaluator.known(CANDIDATES[:1], "a dog", SEEDS).values["narrow"]).all()


@pytest.mark.parametrize("change", ["version", "reference", "name"])
def test_scores_are_kept_apart_by_scorer_version_and_reference(tmp_path: Path, change: str) -> None:
    evaluator_in(tmp_path).evaluate(CANDIDATES, "a cat", SEEDS)
    other = FakeScorer("other" if change == "name" else "fake", lambda image, text: 7.0, version="2" if change == "version" else "1")
    model = FakeImageModel()
    evaluation = evaluator_in(tmp_path, model, (other,)).evaluate(CANDIDATES, "a dog" if change == "reference" else "a cat", SEEDS)
    assert model.rows == 0
    assert np.all(evaluation.values[other.name] == 7.0)


def test_each_candidate_may_have_its_own_reference(tmp_path: Path) -> None:
    scorer = FakeScorer(value=lambda image, text: float(len(text)))
    evaluation = evaluator_in(tmp_path, scorers=(scorer,)).evaluate(CANDIDATES, ["a", "bbb", "cc"], SEEDS)
    np.testing.assert_array_equal(evaluation.mean("fake"), [1, 3, 2])
    with pytest.raises(ValueError, match="as many reference prompts"):
        evaluator_in(tmp_path).evaluate(CANDIDATES, ["a", "b"], SEEDS)


def test_only_the_scorers_asked_for_are_used(tmp_path: Path) -> None:
    scorers = (FakeScorer("goal"), FakeScorer("judge", held_out=True))
    evaluation = evaluator_in(tmp_path, scorers=scorers).evaluate(CANDIDATES, "a cat", SEEDS, scorers=["goal"])
    assert list(evaluation.values) == ["goal"] and scorers[1].judged == 0
    with pytest.raises(BadInput, match="'nope' was not opened, only goal, judge"):
        evaluator_in(tmp_path, scorers=scorers).evaluate(CANDIDATES, "a cat", SEEDS, scorers=["nope"])


def test_what_a_budget_affords_is_what_it_will_not_refuse(tmp_path: Path) -> None:
    evaluator = evaluator_in(tmp_path, budget=Budget(images=4, unet_rows=24))
    evaluator.draw(CANDIDATES[:1], SEEDS[:1])
    drawings = [evaluator.drawing(CANDIDATES[0], seed) for seed in (11, 12, 13, 14, 15)]
    assert evaluator.affords(drawings[:3]) and not evaluator.affords(drawings[:4])  # the first is stored; rows for two are left
    assert not evaluator.within(Budget(images=2), reuse_cache=False).affords(drawings[:3])
    clock = FakeClock()
    timed = evaluator.within(Budget(seconds=1, clock=clock))
    assert timed.affords(drawings)
    clock.advance(1)
    assert not timed.affords(drawings)


def test_cancel_and_hooks_are_handed_to_the_model(tmp_path: Path) -> None:
    class Cancel:
        def check(self) -> None:
            raise InterruptedError

    handed: list[object] = []

    class Model(FakeImageModel):
        def draw(self, drawings: Any, on_drawn: Any = None, *, cancel: Any = None, hooks: Any = None) -> list[Drawn]:
            handed.append(hooks)
            return super().draw(drawings, on_drawn, cancel=cancel, hooks=hooks)

    db, images = open_store(tmp_path)
    hooks = Hooks()
    evaluator = Evaluator(Model(), [FakeScorer()], db, images, Budget(), run="r", cancel=Cancel())
    with pytest.raises(InterruptedError):
        evaluator.with_hooks(hooks).draw(CANDIDATES, SEEDS)
    assert handed == [hooks]


def test_a_held_out_judge_is_refused_as_objective_but_reported(tmp_path: Path) -> None:
    judge = FakeScorer("judge", held_out=True)
    evaluator = evaluator_in(tmp_path, scorers=(judge,))
    with pytest.raises(BadInput, match="kept out of every search"):
        _ = evaluator.objective
    assert not np.isnan(evaluator.evaluate(CANDIDATES, "a cat", SEEDS).values["judge"]).any()
    with pytest.raises(BadInput, match="--scorer"):
        _ = evaluator_in(tmp_path, scorers=()).objective


@pytest.mark.parametrize(("caps", "unit", "images"), [({"images": 4}, "images", 4), ({"unet_rows": 43}, "unet_rows", 5)])
def test_over_budget_the_whole_pictures_that_fit_are_drawn_candidate_by_candidate(
    tmp_path: Path, caps: dict[str, Any], unit: str, images: int
) -> None:
    model = FakeImageModel()  # 8 UNet rows a picture
    evaluator = evaluator_in(tmp_path, model, budget=Budget(**caps))
    with pytest.raises(BudgetSpent) as caught:
        evaluator.evaluate(CANDIDATES, "a cat", SEEDS)
    assert caught.value.unit == unit
    assert len(model.drawn) == images == evaluator.budget.spent["images"]
    assert evaluator.budget.spent["unet_rows"] == model.rows == 8 * images
    known = evaluator.known(CANDIDATES, "a cat", SEEDS)
    assert np.isnan(known.values["fake"]).ravel().tolist() == [False] * images + [True] * (6 - images)
    with pytest.raises(BudgetSpent):
        evaluator.evaluate(CANDIDATES, "a cat", SEEDS)
    assert len(model.drawn) == images


def test_shared_rows_are_paid_once(tmp_path: Path) -> None:
    class Sharing(FakeImageModel):
        def unet_rows(self, drawings: object) -> int:
            return 5 + len(list(drawings))  # type: ignore[call-overload]

    model = Sharing()
    evaluator = evaluator_in(tmp_path, model, budget=Budget(unet_rows=8))
    with pytest.raises(BudgetSpent):
        evaluator.draw(CANDIDATES, SEEDS)
    assert len(model.drawn) == 3 and evaluator.budget.spent == {"images": 3, "unet_rows": 8, "llm_calls": 0, "usd": 0}


def test_a_refused_prompt_costs_nothing(tmp_path: Path) -> None:
    evaluator = evaluator_in(tmp_path, FakeImageModel(limit=2), budget=Budget(images=6))
    with pytest.raises(PromptTooLong):
        evaluator.draw([Conditioning("far too many words")], SEEDS)
    assert evaluator.budget.spent == {"images": 0, "unet_rows": 0, "llm_calls": 0, "usd": 0}


def test_pictures_that_came_out_nan_are_dropped_counted_and_not_drawn_again(tmp_path: Path) -> None:
    evaluator = evaluator_in(tmp_path, FakeImageModel(nan_seeds=[12]))
    evaluation = evaluator.evaluate(CANDIDATES, "a cat", SEEDS)
    assert np.isnan(evaluation.values["fake"][:, 1]).all() and not np.isnan(evaluation.values["fake"][:, 0]).any()
    assert evaluator.dropped == 3
    evaluator.evaluate(CANDIDATES, "a cat", SEEDS)
    assert evaluator.dropped == 3 and evaluator.budget.spent["images"] == 6
    assert evaluator_in(tmp_path, model := FakeImageModel()).evaluate(CANDIDATES, "a cat", SEEDS).complete("fake").sum() == 0
    assert model.rows == 0
    with pytest.raises(BadInput, match="NaN"):
        evaluator.image(evaluation.drawings[0, 1])


def test_scores_that_are_not_finite_are_dropped_and_never_stored(tmp_path: Path) -> None:
    broken = FakeScorer(value=lambda image, text: float("nan"))
    evaluator = evaluator_in(tmp_path, scorers=(broken,))
    evaluation = evaluator.evaluate(CANDIDATES, "a cat", SEEDS)
    assert np.isnan(evaluation.values["fake"]).all() and evaluator.dropped == 6
    mended = evaluator_in(tmp_path).evaluate(CANDIDATES, "a cat", SEEDS)
    assert not np.isnan(mended.values["fake"]).any()


def test_a_picture_whose_file_was_lost_is_drawn_again(tmp_path: Path) -> None:
    evaluator = evaluator_in(tmp_path, model := FakeImageModel())
    drawings = evaluator.draw(CANDIDATES, SEEDS)
    stored = evaluator.db.stored_drawing(drawings[0, 0])
    assert stored and stored.image
    evaluator.images.path(stored.image).unlink()
    assert not np.isnan(evaluator.evaluate(CANDIDATES, "a cat", SEEDS).values["fake"]).any()
    assert len(model.drawn) == 7 and model.drawn[-1].id == drawings[0, 0]
    assert evaluator.image(drawings[0, 0]).size == (8, 8)


def test_a_lost_picture_that_comes_out_otherwise_is_judged_anew(tmp_path: Path) -> None:
    first = evaluator_in(tmp_path, FakeImageModel(lambda drawing: 0.25))
    drawing = first.evaluate(CANDIDATES[:1], "a cat", [11]).drawings[0, 0]
    stored = first.db.stored_drawing(drawing)
    assert stored and stored.image
    first.images.path(stored.image).unlink()
    other_device = evaluator_in(tmp_path, FakeImageModel(lambda drawing: 0.5))
    assert other_device.evaluate(CANDIDATES[:1], "a cat", [11]).values["fake"].item() == 0.5
    assert value_of(other_device.image(drawing)) == 0.5


def test_events_tell_of_each_new_picture_and_score(tmp_path: Path) -> None:
    events: list[dict[str, object]] = []
    evaluator = evaluator_in(tmp_path)
    evaluation = evaluator.evaluate(CANDIDATES, "a cat", SEEDS, emit=events.append)
    evaluator.evaluate(CANDIDATES, "a cat", SEEDS, emit=events.append)
    TOOL_EVENTS.validate_python(events, strict=True)
    assert [event["kind"] for event in events] == ["drawn"] * 6 + ["scored"] * 6
    assert {event["drawing"] for event in events} == set(evaluation.drawings.ravel())


KILLED = """
import os, sys
from pathlib import Path
from limner.promptdb.records import Conditioning
from tests.checked_events import TOOL_EVENTS
from tests.doubles import FakeImageModel, FakeScorer, open_store
from limner.tools.budget import Budget
from limner.tools.evaluator import Evaluator
model = FakeImageModel(bucket=2)
model.on_bucket = lambda batch: os._exit(9) if len(model.drawn) == 4 else None
db, images = open_store(Path(sys.argv[1]))
Evaluator(model, [FakeScorer()], db, images, Budget(), run="run-1").draw([Conditioning("a cat")], range(10))
"""


def test_a_kill_loses_at_most_the_batch_in_flight_and_the_repeat_is_counted(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=root, timeout=60, check=False)
    assert killed.returncode == 9
    model = FakeImageModel(bucket=2)
    resumed = evaluator_in(tmp_path, model, run="run-1")
    undisturbed = evaluator_in(tmp_path / "other", run="run-1")
    conditioning = [Conditioning("a cat")]
    after = resumed.evaluate(conditioning, "a cat", range(10))
    assert [drawing.seed for drawing in model.drawn] == [4, 5, 6, 7, 8, 9]
    assert resumed.budget.repeated == 2
    expected = undisturbed.evaluate(conditioning, "a cat", range(10))
    np.testing.assert_array_equal(after.values["fake"], expected.values["fake"])
    assert undisturbed.budget.repeated == 0
    assert evaluator_in(tmp_path, run="run-1").draw(conditioning, range(12)).shape == (1, 12)


def test_seeds_must_differ(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="seeds must differ"):
        evaluator_in(tmp_path).draw(CANDIDATES, [1, 1])


def test_nothing_asked_is_nothing_drawn(tmp_path: Path) -> None:
    evaluator = evaluator_in(tmp_path)
    assert evaluator.evaluate([], "a cat", SEEDS).values["fake"].shape == (0, 2)
    empty = evaluator.evaluate(CANDIDATES, "a cat", [])
    assert empty.values["fake"].shape == (3, 0) and np.isnan(empty.mean("fake")).all()


def test_a_scorer_named_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="once"):
        evaluator_in(tmp_path, scorers=(FakeScorer(), FakeScorer()))


def _evaluation(values: list[list[float]], *, higher_is_better: bool = True) -> Evaluation:
    array = np.array(values)
    conditionings = tuple(Conditioning(f"candidate {index}") for index in range(len(values)))
    return Evaluation(conditionings, tuple(range(array.shape[1])), np.empty(array.shape, object), {"s": array}, {"s": higher_is_better})


def test_ranking_follows_the_direction_of_the_scorer() -> None:
    assert _evaluation([[0.1], [0.3], [0.2]]).ranking("s") == [1, 2, 0]
    assert _evaluation([[0.1], [0.3], [0.2]], higher_is_better=False).ranking("s") == [0, 2, 1]


def test_scores_equal_to_four_decimals_are_ranked_by_id() -> None:
    evaluation = _evaluation([[0.50001], [0.50002], [0.49998], [0.50004]])
    ids = [conditioning.id for conditioning in evaluation.conditionings]
    assert evaluation.ranking("s") == sorted(range(4), key=ids.__getitem__)


def test_a_candidate_short_of_seeds_never_outranks_a_complete_one() -> None:
    evaluation = _evaluation([[0.9, np.nan], [0.1, 0.2], [np.nan, np.nan], [0.3, 0.3]])
    assert evaluation.ranking("s") == [3, 1, 0, 2]
    assert np.isnan(evaluation.mean("s")).tolist() == [True, False, True, False]


def test_differences_pair_the_seeds_that_both_have() -> None:
    evaluation = _evaluation([[0.25, 0.5, np.nan], [0.5, np.nan, 0.5]])
    assert evaluation.differences("s", before=0, after=1).tolist() == [0.25]


def test_what_is_not_wanted_is_in_the_negative_prompt_of_all_but_what_the_person_would_have_got(tmp_path: Path) -> None:
    model = FakeImageModel()
    typed = Conditioning("a pier, fog", "boats")
    evaluator = evaluator_in(tmp_path, model).carrying(typed).avoiding(["people", "boats"], ["a pier, fog"])
    evaluator.draw([Conditioning("a pier, fog"), Conditioning("a pier, fog, dawn"), Conditioning("a pier", "People, blur")], [3])
    assert [item.conditioning.negative for item in model.drawn] == ["boats", "boats, people", "boats, People, blur"]
    assert evaluator.carrying(typed).unwanted == ("people", "boats")
    assert evaluator_in(tmp_path).avoiding([], []).as_drawn(typed) == typed
