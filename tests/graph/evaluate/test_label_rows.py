"""Labels beside a judge become rows, one a head, from the labelled pictures drawn again; without labels there are none."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from limner.graph.evaluate.label_rows import label_rows, labels_of
from limner.graph.state import Context
from limner.promptdb.errors import BadInput
from limner.tools.diffusion.card import Card
from limner.tools.miniature.train import WEIGHTS
from limner.tools.scoring.judge import Judge
from tests.doubles import FakeImageModel, FakeScorer
from tests.graph.stage import stage


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A checkpoint that paints plain colours, with the embedded one's judge."""
    shutil.copytree(WEIGHTS / "judge", tmp_path / "judge", ignore=shutil.ignore_patterns("labels.jsonl"))
    judge = Judge.open(tmp_path / "judge")
    made = stage(tmp_path / "run", FakeImageModel(), scorers=[FakeScorer("liking"), judge], images=100)
    card = Card(folder=tmp_path, judge="judge", document={"scorers": {"judge": {"path": "judge"}}})
    return replace(made, card=card)


def write(context: Context, *labels: dict[str, object]) -> None:
    (context.card.folder / "judge" / "labels.jsonl").write_text("".join(json.dumps(label) + "\n" for label in labels))


def label(prompt: str, seed: int, **told: object) -> dict[str, object]:
    unsaid = {"things": [], "colours": [], "count": None, "relation": None, "background": None, "style": None, "defects": None}
    return {"prompt": prompt, "seed": seed, **unsaid, **told}


def test_no_labels_no_rows(context: Context) -> None:
    assert labels_of(context) == [] and label_rows(context, lambda event: None) == []


def test_each_head_is_held_against_what_the_judge_sees_in_the_same_picture(context: Context) -> None:
    asked = [("a cat", 7), ("a dog", 3), ("a bus", 7)]
    evaluator, judge = context.evaluator, context.evaluator.scorers[1]
    assert isinstance(judge, Judge)
    write(context, *(label(prompt, seed) for prompt, seed in asked))
    label_rows(context, lambda event: None)
    drawn = {(drawing.conditioning.text, drawing.seed): drawing.id for drawing in evaluator.model.drawn}  # type: ignore[attr-defined]
    assert set(drawn) == set(asked)
    sights = dict(zip(asked, judge.see([evaluator.image(drawn[key]) for key in asked]), strict=True))
    right = [
        label(*key, things=list(sights[key].things), colours=[None] * len(sights[key].things), style=sights[key].style) for key in asked
    ]
    right[1]["style"] = "no style of this world"
    write(context, *right)
    rows = {row.name.rsplit(": ", 1)[1]: row for row in label_rows(context, lambda event: None)}
    assert rows["style"].value == pytest.approx(2 / 3) and rows["style"].n == 3 and rows["style"].passed is False
    assert "background" not in rows
    assert len(evaluator.model.drawn) == 3  # type: ignore[attr-defined]


def test_labels_that_cannot_be_read_are_refused(context: Context) -> None:
    write(context, {"prompt": "a cat"})
    with pytest.raises(BadInput, match=r"labels\.jsonl, line 1"):
        label_rows(context, lambda event: None)


def test_the_embedded_labels_speak_of_two_hundred_pictures(context: Context) -> None:
    shutil.copy(WEIGHTS / "judge" / "labels.jsonl", context.card.folder / "judge" / "labels.jsonl")
    assert len({(label.prompt, label.seed) for label in labels_of(context)}) == 200
