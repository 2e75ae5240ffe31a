"""The seams that all parts rely on, pinned: changing one of these is changing what every stored result means."""

from __future__ import annotations

import unicodedata
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from limner.promptdb.errors import BadInput
from limner.promptdb.records import AdapterSetting, Conditioning, Drawing, EffectSpan, Instruction, SamplerSettings, Score, text_id
from limner.tools.budget import Budget, BudgetSpent
from limner.tools.diffusion.base import Drawn, ImageModel
from limner.tools.evaluator import Evaluator
from limner.tools.scoring.aesthetic import AestheticScorer
from limner.tools.scoring.base import Scorer
from limner.tools.scoring.clip import ClipScorer, SphericalClipScorer
from limner.tools.scoring.hps import HpsScorer
from limner.tools.scoring.judge import Judge
from tests.doubles import FakeImageModel, FakeScorer, open_store, picture_of, value_of

CAT = Conditioning("a cat")
FULL = Conditioning(
    "a red cat on a mat, oil painting",
    "blurry",
    spans=(EffectSpan(20, 32, Fraction(1, 4), Fraction(1), Fraction(6, 5)),),
    negative_spans=(EffectSpan(0, 6, Fraction(1, 2)),),
    adapter=AdapterSetting("w1", (0.25, 0.75), 0.5),
)


# ids: databases written by older versions hold these very digits


def test_ids_are_these_and_stay_these() -> None:
    assert CAT.id == "8e8f6399b433f6aca4a7cc9f"
    assert FULL.id == "b718b3528fd7b5abaf600c87"
    assert Drawing(CAT, 7, SamplerSettings(), "abc").id == "7bff08ec43d0bdbc6cf73bea"
    assert text_id("A  Cat") == text_id("a cat") == "73afd8893a1b063046ec02f8"
    assert Instruction("Rewrite.").id == "5902f19741398aab9fe8b9ba"


def test_a_conditioning_survives_its_json() -> None:
    assert Conditioning.from_json(FULL.to_json()) == FULL
    assert CAT.to_json() == {"text": "a cat"}  # defaults are left out, so that old ids outlive new fields


@pytest.mark.parametrize(
    "same",
    [
        Conditioning("  a cat\n"),
        Conditioning("a cat", spans=(EffectSpan(0, 1),)),
        Conditioning("a cat", weight_mode="none"),
        Conditioning("a cat", range_unit="sigma"),
        Conditioning("a cat", adapter=AdapterSetting("w1", scale=0)),
    ],
)
def test_two_ways_of_saying_the_same_are_one_conditioning(same: Conditioning) -> None:
    assert same == CAT and same.id == CAT.id and hash(same) == hash(CAT)


def test_texts_are_kept_in_canonical_unicode() -> None:
    composed, decomposed = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")
    assert composed != decomposed and Conditioning(composed).id == Conditioning(decomposed).id
    assert Conditioning("a  cat").id != CAT.id  # inner blanks are the user's


def test_numbers_are_held_as_written_and_spans_in_order() -> None:
    decimal = Conditioning("a red cat", spans=(EffectSpan(6, 9, 0.29, 1, 1.1), EffectSpan(2, 5, 0, 0.5)))  # type: ignore[arg-type]
    early, late = EffectSpan(2, 5, Fraction(0), Fraction(1, 2)), EffectSpan(6, 9, Fraction(29, 100), Fraction(1), Fraction(11, 10))
    assert decimal.id == Conditioning("a red cat", spans=(early, late)).id


def test_every_part_of_a_drawing_is_part_of_its_identity() -> None:
    drawing = Drawing(CAT, 7, SamplerSettings(), "abc")
    others = [replace(drawing, conditioning=FULL), replace(drawing, seed=8), replace(drawing, checkpoint="abd")]
    changed: dict[str, Any] = {
        "scheduler": "PNDMScheduler",
        "steps": 21,
        "guidance_scale": 7.0,
        "width": 72,
        "height": 72,
        "dtype": "float16",
    }
    assert set(changed) == {field.name for field in fields(SamplerSettings)}
    others += [replace(drawing, settings=replace(drawing.settings, **{name: value})) for name, value in changed.items()]
    assert len({drawing.id, *(other.id for other in others)}) == 1 + len(others)
    assert replace(drawing, settings=SamplerSettings(guidance_scale=7.5, steps=20)).id == drawing.id
    assert Drawing(CAT, 7, SamplerSettings(guidance_scale=8), "abc").id == Drawing(CAT, 7, SamplerSettings(guidance_scale=8.0), "abc").id


def test_bucket_and_device_are_no_part_of_a_drawing(tmp_path: Path) -> None:
    db, images = open_store(tmp_path)
    drawing = Drawing(CAT, 7, SamplerSettings(), "abc")
    db.add_drawing(drawing, images.put(picture_of(0.5)), 4, "cpu")
    db.add_drawing(drawing, images.put(picture_of(0.5)), 8, "cuda (H200)")
    stored = db.stored_drawing(drawing.id)
    assert stored is not None and stored.drawing == drawing and (stored.bucket, stored.device) == (4, "cpu")


def test_a_score_is_one_scorers_of_one_version_for_one_reference(tmp_path: Path) -> None:
    db, _ = open_store(tmp_path)
    drawing = Drawing(CAT, 7, SamplerSettings(), "abc")
    db.add_drawing(drawing, None, 1, "cpu")
    reference, other = db.register_text("a cat"), db.register_text("a dog")
    score = Score(drawing.id, reference, "clip", "1", 0.25)
    db.add_scores(
        [score, replace(score, version="2", value=0.5), replace(score, reference=other, value=0.75), replace(score, scorer="hps")]
    )
    assert db.scores([drawing.id], reference, "clip", "1") == {drawing.id: 0.25}
    assert db.scores([drawing.id], reference, "clip", "2") == {drawing.id: 0.5}
    assert db.scores([drawing.id], other, "clip", "1") == {drawing.id: 0.75}
    assert len(db.scores_of(drawing.id)) == 4


# the cost of a picture


def test_a_step_with_guidance_costs_two_rows_and_one_without_costs_one() -> None:
    assert SamplerSettings(steps=20, guidance_scale=7.5).unet_rows == 40
    assert SamplerSettings(steps=20, guidance_scale=1).unet_rows == 20
    assert SamplerSettings(steps=20, guidance_scale=0).unet_rows == 20


# image models


def test_an_image_model_answers_in_order_and_tells_of_each_picture_as_it_comes() -> None:
    model: ImageModel = FakeImageModel(bucket=2)
    prompts = [Conditioning(f"prompt {index}") for index in range(3)]
    drawings = [Drawing(prompt, seed, model.default_settings, model.fingerprint) for prompt in prompts for seed in (1, 2)]
    heard: list[Drawn] = []
    results = model.draw(drawings, heard.append)
    assert [drawn.drawing for drawn in results] == drawings == [drawn.drawing for drawn in heard]
    assert all(drawn.bucket == 2 and drawn.image is not None for drawn in results)
    assert model.unet_rows(drawings) == 6 * model.default_settings.unet_rows
    alone = model.draw([drawings[3]])[0]
    assert alone.image is not None and results[3].image is not None
    assert value_of(alone.image) == value_of(results[3].image)  # whatever its place in the batch


# scorers


@pytest.mark.parametrize(
    ("kind", "higher_is_better"),
    [(ClipScorer, True), (SphericalClipScorer, False), (HpsScorer, True), (AestheticScorer, True), (Judge, True)],
)
def test_every_scorer_says_which_way_is_better(kind: type, higher_is_better: bool) -> None:
    assert kind.higher_is_better is higher_is_better  # type: ignore[attr-defined]
    assert callable(kind.score)  # type: ignore[attr-defined]


def test_a_scorer_answers_each_pair_by_itself_and_refuses_uneven_ones() -> None:
    scorer: Scorer = FakeScorer(value=lambda image, text: value_of(image) + len(text))
    assert isinstance(scorer, Scorer)
    pictures, texts = [picture_of(0.25), picture_of(0.5), picture_of(0.75)], ["a", "", "abc"]
    together = scorer.score(pictures, texts)
    assert together.dtype == np.float32 and together.tolist() == [1.25, 0.5, 3.75]
    assert [scorer.score([picture], [text])[0] for picture, text in zip(pictures, texts, strict=True)] == together.tolist()
    with pytest.raises(ValueError, match="as many texts"):
        scorer.score(pictures, texts[:2])


# the Evaluator


def test_the_second_request_for_a_picture_costs_no_unet_row(tmp_path: Path) -> None:
    model, scorer, budget = FakeImageModel(), FakeScorer(), Budget(images=2)
    db, images = open_store(tmp_path)
    evaluator = Evaluator(model, [scorer], db, images, budget)
    first = evaluator.evaluate([CAT], "a cat", [1, 2])
    rows = model.rows
    second = evaluator.evaluate([CAT], "a cat", [1, 2])
    assert model.rows == rows == budget.spent["unet_rows"] == 2 * model.default_settings.unet_rows
    assert scorer.judged == 2
    np.testing.assert_array_equal(first.values["fake"], second.values["fake"])


def test_a_cap_is_held_to_the_unit(tmp_path: Path) -> None:
    model = FakeImageModel()
    db, images = open_store(tmp_path)
    evaluator = Evaluator(model, [FakeScorer()], db, images, Budget(images=3))
    evaluator.draw([CAT], [1, 2])
    with pytest.raises(BudgetSpent):
        evaluator.draw([FULL], [1, 2])
    assert len(model.drawn) == 3
    evaluator.draw([CAT], [1, 2])  # what is stored may still be asked for
    evaluator.draw([FULL], [1])
    assert len(model.drawn) == 3


def test_a_held_out_judge_is_never_an_objective(tmp_path: Path) -> None:
    db, images = open_store(tmp_path)
    judge, goal = FakeScorer("judge", held_out=True), FakeScorer("goal")
    with pytest.raises(BadInput, match="'judge' is kept out of every search"):
        _ = Evaluator(FakeImageModel(), [judge, goal], db, images, Budget()).objective
    evaluator = Evaluator(FakeImageModel(), [goal, judge], db, images, Budget())
    assert evaluator.objective is goal and evaluator.held_out == (judge,)


def test_scores_are_of_the_users_prompt_never_of_the_optimized_one(tmp_path: Path) -> None:
    db, images = open_store(tmp_path)
    asked: list[str] = []

    def note(image: Image.Image, text: str) -> float:
        asked.append(text)
        return 0.0

    scorer = FakeScorer(value=note)
    evaluation = Evaluator(FakeImageModel(), [scorer], db, images, Budget()).evaluate([CAT, FULL], "The Cat", [1])
    assert asked == ["The Cat", "The Cat"]
    (stored,) = db.scores_of(evaluation.drawings[1, 0])
    assert stored.reference == text_id("the cat") and stored.scorer == "fake" and stored.version == "1"
