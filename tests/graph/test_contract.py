"""The contract over candidates of every method: violators are refused, counted and told; a trait must still be seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from limner.agents.contract import Contract
from limner.graph.intent import contract_of
from limner.graph.state import Context, RefineState
from limner.promptdb.errors import BadInput
from limner.tools.diffusion.card import Card
from limner.tools.prompt_language.reader import read_prompt
from limner.tools.scoring.adversarial import Adversarial
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


DROPPING = [
    ("three apples, a sign, sharp focus", ""),
    ('some red apples, "OPEN"', ""),
    ('three red apples, "OPEN", dogs', ""),
    ('three ripe red apples, "OPEN", vivid', "blurry"),
]
LITERAL = 'three red apples, a sign "OPEN", no dogs'


def refined_literal(folder: Path, **settings: Any) -> tuple[RefineState, Context]:
    context = stage(folder, variants=DROPPING, **settings)
    return refined(context, "rewrite", LITERAL)[0], context


def test_rewrites_that_lose_what_the_prompt_says_to_the_letter_are_refused_without_a_pin(tmp_path: Path) -> None:
    state, _ = refined_literal(tmp_path)
    assert [row["conditioning"]["text"] for row in state["population"]] == [LITERAL, 'three ripe red apples, "OPEN", vivid']
    assert {row["reason"]: row["count"] for row in state["dropped"]} == {"lost pin": 2, "banned word": 1}


@pytest.mark.parametrize(("let_go", "left"), [(("all",), 4), (("quotes", "colours"), 2), (("negations",), 2), (("three apples",), 2)])
def test_what_is_let_go_of_may_be_lost(tmp_path: Path, let_go: tuple[str, ...], left: int) -> None:
    state, _ = refined_literal(tmp_path, let_go=let_go)
    assert len(state["candidates"]) == left


def test_solvers_are_told_what_must_stay_and_their_proposals_are_checked(tmp_path: Path) -> None:
    painter = Painter(["three red apples painted, sign OPEN", "two red apples painted, sign OPEN"])
    state, _ = refined(stage(tmp_path, variants=DROPPING, solvers={"adapter": lambda: painter}), "adapter", LITERAL)
    assert painter.tasks[0].pins == ('"OPEN"', "three", "apples", "red")
    proposed = [row["conditioning"]["text"] for row in state["population"] if row["origin"] == "adapter"]
    assert proposed == ["three red apples painted, sign OPEN"]


def test_weighted_words_must_stay_since_their_weight_could_not(tmp_path: Path) -> None:
    context = stage(tmp_path, variants=[("a red apple, shiny", ""), ("a red apple, glossy leaf, dew", "")])
    typed = read_prompt("a red apple, (glossy leaf:1.3)").conditioning
    context = replace(context, evaluator=context.evaluator.carrying(typed))
    state, _ = refined(context, "rewrite", typed.text)
    assert [row["conditioning"]["text"] for row in state["candidates"]] == ["a red apple, glossy leaf, dew"]
    assert [item.kind for item in contract_of(context, typed.text).automatic] == ["weight", "colour"]


def test_an_attack_keeps_nothing_by_itself(tmp_path: Path) -> None:
    attack = stage(tmp_path, scorers=[Adversarial(FakeScorer("liking"))], pins=("sign",))
    assert contract_of(attack, LITERAL) == Contract(pins=("sign",))
