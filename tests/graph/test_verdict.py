"""What may be claimed: the verdict in all its states, from rows of scores alone, and the same words at every door."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from limner.graph.intent import missing_evidence, undrawable
from limner.graph.state import ScoreRow, Verdict
from limner.graph.verdict import PROMPTS, SEEDS, score_row, verdict, verdict_in
from limner.tools.diffusion.card import Card
from limner.tools.scoring.adversarial import Adversarial
from tests.doubles import FakeImageModel, FakeScorer
from tests.graph.stage import PROMPT, likes, refined, stage

WEIGHTS = Path(__file__).parents[2] / "tools" / "miniature" / "weights"
UP, DOWN, EVEN = (0.1, 0.3), (-0.3, -0.1), (-0.1, 0.2)
HIGHER = {"liking": True, "clip": True, "truth": True, "loss": False}


def row(ends: tuple[float, float] | None, up: int = 6, down: int = 2, n: int = 8) -> ScoreRow:
    count = n if ends else min(n, 1)
    return {"before": 0.0, "after": 0.1, "delta": 0.1, "ci95": list(ends) if ends else None, "n": count, "up": up, "down": down,
            "smallest": 0.01234567 if ends else None}  # fmt: skip


SEEN = "(smallest that could have been seen: 0.0123)"


@pytest.mark.parametrize(
    ("scores", "objective", "more", "kind", "words"),
    [
        ({"liking": row(UP, 8, 0)}, "liking", {}, "better", "Better on 8 of 8 fresh seeds by liking."),
        ({"liking": row(UP), "truth": row(EVEN)}, "liking", {}, "better", "Better on 6 of 8 fresh seeds by liking."),
        ({"liking": row(UP), "truth": row(UP)}, "liking", {"unit": PROMPTS}, "better", "Better on 6 of 8 held-out prompts by liking."),
        ({"liking": row(DOWN, 1, 7)}, "liking", {}, "worse", "Worse on 7 of 8 fresh seeds by liking."),
        ({"liking": row(DOWN, 1, 7), "truth": row(DOWN)}, "liking", {}, "worse", "Worse on 7 of 8 fresh seeds by liking."),
        ({"liking": row(EVEN)}, "liking", {}, "no difference found",
         f"No difference found {SEEN}: better on 6 of 8 fresh seeds by liking."),
        ({"liking": row(EVEN), "truth": row(DOWN)}, "liking", {}, "no difference found",
         f"No difference found {SEEN}: better on 6 of 8 fresh seeds by liking."),
        ({"liking": row((0.0, 0.2))}, "liking", {}, "no difference found",
         f"No difference found {SEEN}: better on 6 of 8 fresh seeds by liking."),
        ({"liking": row(UP), "truth": row(DOWN)}, "liking", {}, "traded",
         "Traded: better on 6 of 8 fresh seeds by liking, surely worse by truth."),
        ({"liking": row(UP), "clip": row(DOWN), "truth": row(DOWN)}, "liking", {}, "traded",
         "Traded: better on 6 of 8 fresh seeds by liking, surely worse by clip and truth."),
        ({"loss": row(DOWN, 0, 8)}, "loss", {}, "better", "Better on 8 of 8 fresh seeds by loss."),
        ({"loss": row(UP, 8, 0)}, "loss", {}, "worse", "Worse on 8 of 8 fresh seeds by loss."),
        ({"liking": row(UP), "loss": row(UP)}, "liking", {}, "traded",
         "Traded: better on 6 of 8 fresh seeds by liking, surely worse by loss."),
        ({"liking": row(UP), "loss": row(DOWN)}, "liking", {}, "better", "Better on 6 of 8 fresh seeds by liking."),
        ({"liking": row(None)}, "liking", {}, "cannot judge",
         "Cannot judge: liking has a value for 1 of the fresh seeds, and it takes two."),
        ({"liking": row(None, n=0)}, "liking", {}, "cannot judge",
         "Cannot judge: liking has a value for none of the fresh seeds, and it takes two."),
        ({}, "liking", {}, "cannot judge", "Cannot judge: liking has a value for none of the fresh seeds, and it takes two."),
        ({"liking": row(None), "truth": row(DOWN)}, "liking", {}, "cannot judge",
         "Cannot judge: liking has a value for 1 of the fresh seeds, and it takes two."),
        ({"liking": row(UP)}, "liking", {"nothing": "no candidate"}, "cannot judge", "Cannot judge: no candidate."),
        ({"liking": row(UP), "truth": row(None)}, "liking", {}, "better",
         "Better on 6 of 8 fresh seeds by liking. It cannot be judged by truth."),
        ({"liking": row(UP)}, "liking", {"undrawable": "it knows no cello"}, "cannot draw",
         "This checkpoint cannot draw this: it knows no cello."),
        ({"liking": row(UP), "truth": row(DOWN)}, "liking", {"undrawable": "it knows no cello", "missing": ["x"]}, "cannot draw",
         "This checkpoint cannot draw this: it knows no cello."),
        ({"liking": row(UP)}, "liking", {"missing": ["the first thing", "the second"]}, "better",
         "Better on 6 of 8 fresh seeds by liking. Not checked: the first thing. Not checked: the second."),
    ],
)  # fmt: skip
def test_every_state_of_the_verdict(scores: dict[str, ScoreRow], objective: str, more: dict[str, Any], kind: str, words: str) -> None:
    found = verdict(scores, HIGHER, objective, **more)
    assert (found["kind"], found["words"]) == (kind, words)


def test_the_verdict_has_its_numbers_and_what_each_scorer_says() -> None:
    rows = {"liking": row(UP, 7, 1), "clip": row(DOWN), "truth": row(None), "loss": row(EVEN)}
    found = verdict(rows, HIGHER, "liking", missing=["x"])
    assert found["scorers"] == {"liking": "better", "clip": "worse", "truth": "cannot judge", "loss": "no difference found"}
    assert (found["better_on"], found["n"], found["smallest"], found["lost"], found["missing"]) == (7, 8, 0.01234567, ["clip"], ["x"])
    for more in ({"undrawable": "no"}, {"nothing": "no"}):  # no number stands for what was not measured
        silent = verdict(rows, HIGHER, "liking", **more)
        assert set(silent["scorers"].values()) == {"cannot judge"}
        assert (silent["better_on"], silent["n"], silent["smallest"], silent["lost"]) == (0, 0, None, [])


@pytest.mark.parametrize(
    ("before", "after", "clusters", "n", "up", "down", "smallest"),
    [
        ([0.1, 0.2, 0.3], [0.2, 0.1, 0.3], None, 3, 1, 1, True),
        ([0.1, 0.2, math.nan], [0.2, math.nan, 0.4], None, 1, 1, 0, False),
        ([math.nan], [0.1], None, 0, 0, 0, False),
        # prompts count, not pictures: the first rises by 0.1 and falls by 0.3
        ([0.5, 0.5, 0.5, 0.5], [0.6, 0.2, 0.6, 0.6], [0, 0, 1, 1], 2, 1, 1, True),
        ([0.5, 0.5, 0.5, 0.5], [0.6, 0.6, 0.6, 0.1], [0, 0, 1, 2], 3, 2, 1, True),
    ],
)
def test_a_row_counts_where_a_scorer_rose_and_fell(
    before: list[float], after: list[float], clusters: list[int] | None, n: int, up: int, down: int, smallest: bool
) -> None:
    found = score_row(np.array(before), np.array(after), None if clusters is None else np.array(clusters), 0)
    assert (found["n"], found["up"], found["down"], found["smallest"] is not None) == (n, up, down, smallest)
    assert ("p" in found) is (clusters is not None)


def test_a_result_of_an_earlier_version_says_what_it_said() -> None:
    assert verdict_in({"improved": True})["words"] == "Improved." and verdict_in({"improved": True})["kind"] == "better"
    old = verdict_in({"improved": False})
    assert (old["kind"], old["better_on"], old["n"]) == ("no difference found", 0, 0)
    found: Verdict = verdict({}, {}, "liking", unit=SEEDS)
    assert verdict_in({"improved": True, "verdict": found}) is found


LIKING, CLIP, TASTE, TRUTH = FakeScorer("liking"), FakeScorer("clip"), FakeScorer("aesthetic"), FakeScorer("truth", held_out=True)
CARD = Card(intent="seen", scorers={"seen": {"kind": "clip"}, "pleasing": {"kind": "hps"}})
ALIGNMENT, OTHER = "whether the pictures still show what was asked for", "whether a scorer of another family agrees"


@pytest.mark.parametrize(
    ("scorers", "card", "asked"),
    [
        ([LIKING], Card(), [ALIGNMENT, OTHER]),
        ([LIKING, CLIP], Card(), [OTHER]),
        ([LIKING, TASTE], Card(), [ALIGNMENT]),
        ([LIKING, CLIP, TASTE], Card(), []),
        ([LIKING, CLIP, TRUTH], Card(), []),
        ([CLIP], Card(), [OTHER]),  # the objective is alignment itself
        ([CLIP, TASTE], Card(), []),
        ([CLIP, FakeScorer("spherical_clip")], Card(), [OTHER]),
        ([FakeScorer("hpsv2"), CLIP, FakeScorer("hpsv2.1")], Card(), [OTHER]),
        ([FakeScorer("pleasing"), FakeScorer("seen"), TASTE], CARD, []),
        ([FakeScorer("pleasing"), FakeScorer("seen"), FakeScorer("hpsv2")], CARD, [OTHER]),
        ([Adversarial(FakeScorer("spherical_clip")), CLIP, TASTE], Card(), []),
    ],
)
def test_evidence_that_no_scorer_gives_is_asked_for(tmp_path: Path, scorers: list[Any], card: Card, asked: list[str]) -> None:
    found = missing_evidence(replace(stage(tmp_path, scorers=scorers), card=card))
    assert [text.split(",")[0] for text in found] == asked
    names = {scorer.name for scorer in scorers}
    assert all(text.split("--scorer ")[1].rstrip(")") not in names for text in found)


def test_a_candidate_that_pleases_and_shows_less_by_a_scorer_aside_is_traded_and_not_taken(tmp_path: Path) -> None:
    def contrary(image: Any, text: str) -> float:
        return 1 - FakeScorer("liking").value(image, text)

    scorers = [FakeScorer("liking"), FakeScorer("truth", contrary, held_out=True)]
    state, _ = refined(stage(tmp_path, FakeImageModel(likes("sharp")), scorers=scorers), "rewrite")
    outcome = state["outcome"]
    assert outcome["verdict"]["kind"] == "traded" and outcome["verdict"]["lost"] == ["truth"]
    assert not outcome["improved"] and outcome["result"]["conditioning"]["text"] == PROMPT
    assert outcome["best"] is not None and "sharp" in outcome["best"]["conditioning"]["text"]


@pytest.mark.parametrize(
    ("prompt", "words"), [("portrait of an old fisherman, oil painting", ["fisherman"]), ("a red car on a beach", []), ("a sleepy cat", [])]
)
def test_the_embedded_checkpoint_says_what_it_cannot_draw(prompt: str, words: list[str]) -> None:
    reason = undrawable(Card.read(WEIGHTS), prompt)
    assert bool(reason) is bool(words) and all(word in reason for word in words)
    assert undrawable(Card(), prompt) == ""
