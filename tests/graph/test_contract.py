"""The contract over candidates of every method: violators are refused, counted and told; a trait must still be seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from limner.promptdb.errors import BadInput
from limner.tools.diffusion.card import Card
from tests.doubles import FakeImageModel, FakeScorer, value_of
from tests.graph.stage import PROMPT, likes, refined, stage
from tests.graph.test_solvers import Painter


def test_rewrites_and_proposals_with_banned_words_are_refused_and_counted(tmp_path: Path) -> None:
    painter = Painter(["a red apple, vivid colors, painted", "a red apple, painted"])
    context = stage(tmp_path, bans=("vivid colors",), solvers={"adapter": lambda: painter})
    state, events = refined(context)
    assert not any("vivid" in row["conditioning"]["text"] for row in state["population"])
    dropped = [(row["origin"], row["reason"], row["count"]) for row in state["dropped"]]
    assert ("rewrite", "banned word", 1) in dropped and ("adapter", "banned word", 1) in dropped
    assert sum(event["kind"] == "dropped" for event in events) >= 2


def test_a_trigger_is_kept_letter_by_letter(tmp_path: Path) -> None:
    variants = [("a red apple, OHWX, vivid", ""), ("a red apple, ohwx, sharp focus", "")]
    state, _ = refined(stage(tmp_path, variants=variants, triggers=("ohwx",)))
    assert [row["conditioning"]["text"] for row in state["population"]] == [PROMPT, "a red apple, ohwx, sharp focus"]


def test_a_candidate_in_whose_pictures_a_trait_is_no_longer_seen_cannot_win(tmp_path: Path) -> None:
    """The objective likes `sharp`; the alignment scorer sees the apple only where the prompt does not say `sharp`."""

    def seen(image: Image.Image, text: str) -> float:
        return 0.1 if text == "apple" and value_of(image) > 0.5 else 0.3

    scorers = [FakeScorer("liking"), FakeScorer("clip", seen)]
    free, _ = refined(stage(tmp_path / "free", FakeImageModel(likes("sharp")), scorers=scorers))
    assert free["outcome"]["improved"] and "sharp" in free["outcome"]["result"]["conditioning"]["text"]
    bound, _ = refined(stage(tmp_path / "bound", FakeImageModel(likes("sharp")), scorers=scorers, traits=("apple",)))
    assert {"origin": "pictures", "reason": "lost trait 'apple'", "count": 1} in bound["dropped"]
    assert bound["outcome"]["best"] is None or "sharp" not in bound["outcome"]["best"]["conditioning"]["text"]


def test_settings_refuse_a_contract_that_nothing_can_keep(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="both pinned and banned"):
        stage(tmp_path, pins=("apple",), bans=("apple",))


def test_without_a_scorer_that_sees_texts_nobody_is_accused(tmp_path: Path) -> None:
    state, _ = refined(stage(tmp_path, traits=("apple",)))
    assert Card().scorers == {} and not any("trait" in row["reason"] for row in state["dropped"])
