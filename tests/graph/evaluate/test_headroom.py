"""Headroom is found where there is some and not where there is none; the searches choose on other seeds than those that tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from limner.graph.evaluate import headroom, miniature, style_rows
from limner.graph.evaluate.base import Row
from limner.graph.evaluate.heldout import REPORT_FROM
from limner.graph.state import Context
from limner.promptdb.records import Drawing
from limner.tools.diffusion.card import Card
from limner.tools.scoring.judge import Verdict
from tests.doubles import FakeImageModel, hashed_value
from tests.graph.stage import stage

CROWDED = [f"a red apple, number {place}, sharp focus, bokeh, 8k" for place in range(8)]


def context_for(folder: Path, value: Callable[[Drawing], float]) -> Context:
    """A checkpoint with eight crowded and eight hard prompts, whose pictures are worth `value`."""
    rows = {"crowded": CROWDED, "hard": [f"a red apple in meadow {place}" for place in range(8)]}
    for name, prompts in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in prompts))
    groups = {"nouns": {}, "groups": {"food": ["apple", "pear", "cake"], "places": ["meadow", "beach"]}, "colours": ["red", "blue"]}
    (folder / "world.json").write_text(json.dumps(groups))
    document = {"prompts": {"crowded.heldout": "crowded.jsonl", "hard.heldout": "hard.jsonl"}}
    context = stage(folder, FakeImageModel(value), images=None)
    context.evaluator.budget.images = None
    return replace(context, card=Card(folder=folder, judge="truth", document=document))


def late(drawing: Drawing) -> float:
    """Worth more the more tags act in the second half alone."""
    timed = sum(span.lo == Fraction(1, 2) for span in drawing.conditioning.spans)
    return 0.1 * hashed_value(drawing) + 0.15 * timed


def row(rows: list[Row], start: str) -> Row:
    return next(item for item in rows if item.name.startswith(f"headroom: {start}"))


def test_tags_are_what_stands_behind_the_first_comma() -> None:
    text = "a cat, sharp focus,bokeh, , 8k"
    assert [text[start:end] for start, end in headroom.tag_spans(text)] == ["sharp focus", "bokeh", "8k"]
    assert headroom.tag_spans("a cat") == []


def test_timing_that_matters_is_found_and_told_by_seeds_that_no_search_saw(tmp_path: Path) -> None:
    context = context_for(tmp_path, late)
    found = row(headroom._timing(context, 8, lambda event: None), "timing")
    assert found.passed is True and found.value > 1 and found.n == 8
    searched = {drawing.seed for drawing in context.evaluator.model.drawn if drawing.conditioning.spans}  # type: ignore[attr-defined]
    assert {seed for seed in searched if seed < REPORT_FROM} == {0, 1}
    assert len(searched) == 2 + headroom.REPORT_SEEDS


def test_timing_that_does_nothing_is_not_found(tmp_path: Path) -> None:
    found = row(headroom._timing(context_for(tmp_path, hashed_value), 8, lambda event: None), "timing")
    assert found.passed is False or (found.ci95 is not None and found.ci95[0] < 0)


def test_the_number_of_pictures_is_no_less_than_what_is_asked_for(tmp_path: Path) -> None:
    context = context_for(tmp_path, late)
    most = headroom.pictures(context, full=False)
    headroom.headroom_rows(context, False, lambda event: None)
    assert context.evaluator.budget.used()["images"] <= most


@pytest.mark.parametrize(("word", "helps"), [("pear", True), ("nothing of the kind", False)])
def test_negatives_of_contrast_words(tmp_path: Path, word: str, helps: bool) -> None:
    def value(drawing: Drawing) -> float:
        return 0.1 * hashed_value(drawing) + (0.5 if word in drawing.conditioning.negative else 0.0)

    context = context_for(tmp_path, value)
    context = replace(context, card=replace(context.card, vocabulary_file=""))
    groups = {"groups": {"food": ["apple", "pear", "cake"]}}
    object.__setattr__(context.card, "vocabulary", lambda: groups)
    found = row(headroom._negatives(context, 8, lambda event: None), "best of 30")
    assert found.passed is helps
    assert (found.value < -0.4) is helps


def test_random_negatives_take_each_word_once() -> None:
    rng = np.random.default_rng(0)
    found = list(headroom._random_negatives([["pear", "cake"], ["beach"]], rng))
    assert len(found) == headroom.NEGATIVES
    assert {len(text.split(", ")) for text in found} == {1, 2}
    assert all(len({*text.split(", ")} & {"pear", "cake"}) <= 1 for text in found)
    assert list(headroom._random_negatives([], rng)) == []


def test_a_checkpoint_without_styles_has_no_rows_of_them(tmp_path: Path) -> None:
    context = context_for(tmp_path, late)
    assert style_rows.style_rows(context, False, lambda event: None, 0.8) == []
    assert style_rows.pictures(context, True) == 0


def seen(*defects: str) -> Verdict:
    return Verdict((True,), (None,), None, None, None, defects, 1.0)


def test_the_defect_rate_is_lowered_by_a_share_of_itself() -> None:
    before = [[seen("blurry"), seen()], [seen("dull"), seen("dull")]] * 3
    after = [[seen(), seen()], [seen("dull"), seen()]] * 3
    lowered = miniature._lowered("x", before, after, 0, miniature.Target(">=", 0.4))
    assert lowered.value == pytest.approx(2 / 3)
    assert lowered.passed is True
    assert lowered.ci95 is not None and lowered.ci95[0] < 2 / 3 < lowered.ci95[1]
    none = miniature._lowered("x", [[seen()]], [[seen()]], 0, miniature.Target(">=", 0.4))
    assert none.passed is False


def test_targets_follow_the_size_of_the_world() -> None:
    small, large = (miniature.faithfulness([[seen()]], 0, big)[0].target for big in (False, True))
    assert (str(small), str(large)) == (">= 0.8", ">= 0.95")


def test_a_checkpoint_that_brings_only_heldout_prompts_is_measured_by_those(tmp_path: Path) -> None:
    context = context_for(tmp_path, late)
    document = {"prompts": {"heldout": "hard.jsonl"}, "tags": {"positive": "sharp", "negative": "dull"}}
    context = replace(context, card=replace(context.card, document=document))
    assert miniature.SUITE.pictures(context, full=False) >= 3 * miniature.SEEDS * 8
