"""Who may win a refined prompt's comparison: the witness's word, who goes into the held-out check, what is a gain, whose turn is next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from langgraph.runtime import Runtime

from limner.agents.contract import Contract
from limner.graph.intent import lost_traits, shows_less, witness
from limner.graph.refine.auto import allot, ranked, starts, ucb
from limner.graph.refine.graph import select
from limner.graph.state import RefineState, SliceRow
from limner.graph.verdict import compare, is_gain
from limner.promptdb.records import Conditioning
from limner.tools.diffusion.card import Card
from limner.tools.evaluation import Evaluation
from limner.tools.scoring.adversarial import Adversarial
from tests.doubles import FakeImageModel, FakeScorer, value_of
from tests.graph.stage import PROMPT, refined, stage

PLAIN, ONE, TWO = (Conditioning(text) for text in (PROMPT, f"{PROMPT}, one", f"{PROMPT}, two"))
NAN = math.nan


def evaluation(values: Sequence[Sequence[float]], higher: bool = True) -> Evaluation:
    table = np.array(values, float)
    drawings = np.array([[f"{row}-{column}" for column in range(table.shape[1])] for row in range(len(table))], object)
    return Evaluation((PLAIN, ONE, TWO)[: len(table)], tuple(range(table.shape[1])), drawings, {"clip": table}, {"clip": higher})


@pytest.mark.parametrize(
    ("values", "accused"),
    [
        ([[0.5, 0.5], [0.6, 0.6], [0.4, 0.4]], [TWO]),
        ([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]], []),
        ([[0.5, 0.5], [0.4, 0.6], [0.3, 0.6]], [TWO]),  # by the mean over the seeds
        ([[0.5, 0.5], [0.49996, 0.5], [0.4998, 0.5]], [TWO]),  # to four digits
        ([[0.5, 0.5], [NAN, 0.1], [0.1, 0.1]], [TWO]),  # no number, no verdict
        ([[NAN, 0.5], [0.1, 0.1], [0.9, 0.9]], []),
    ],
)
@pytest.mark.parametrize("higher", [True, False])
def test_the_witness_accuses_whoever_shows_less_than_the_users_prompt(
    values: list[list[float]], accused: list[Conditioning], higher: bool
) -> None:
    table = np.array(values)
    assert shows_less(evaluation(table if higher else 1 - table, higher), "clip") == [item.id for item in accused]


@pytest.mark.parametrize("higher", [True, False])
def test_a_candidate_that_shows_less_loses_whichever_way_the_witness_counts(tmp_path: Path, higher: bool) -> None:
    """`sharp` pleases most and shows least, `vivid` pleases and shows as much."""

    def drawn(drawing):
        text = drawing.conditioning.text
        return 0.2 if "sharp" in text else 0.8 if "vivid" in text else 0.5

    def liking(image, text):
        return {0.2: 0.9, 0.8: 0.7}.get(round(value_of(image), 1), 0.1)

    def seen(image, text):
        return value_of(image) if higher else 1 - value_of(image)

    scorers = [FakeScorer("liking", liking), FakeScorer("clip", seen, higher_is_better=higher), FakeScorer("truth", held_out=True)]
    state, _ = refined(stage(tmp_path, FakeImageModel(drawn), scorers=scorers), method="rewrite")
    assert state["outcome"]["result"]["conditioning"]["text"] == "a red apple, vivid colors"
    assert state["unfaithful"] == [Conditioning("a red apple, sharp focus", "blurry").id]


LIKING, CLIP, OTHER = FakeScorer("liking"), FakeScorer("clip"), FakeScorer("alignment")
TRUTH, CLIP_HELD_OUT = FakeScorer("truth", held_out=True), FakeScorer("clip", held_out=True)
NAMED = Card(intent="liking")
OF_KIND = Card(scorers={"seen": {"kind": "clip"}})


@pytest.mark.parametrize(
    ("scorers", "card", "name"),
    [
        ([LIKING, CLIP], Card(), "clip"),
        ([LIKING, OTHER], Card(), "alignment"),
        ([LIKING, OTHER, CLIP], Card(), "alignment"),  # the first
        ([LIKING, TRUTH], Card(), None),
        ([LIKING, CLIP_HELD_OUT], Card(), None),  # the judge sees no search
        ([CLIP, LIKING], Card(), None),  # the objective is no witness
        ([CLIP, OTHER], Card(), "alignment"),
        ([LIKING, FakeScorer("seen")], OF_KIND, "seen"),
        ([LIKING, FakeScorer("seen")], Card(), None),
        ([CLIP, LIKING], NAMED, "liking"),
        ([OTHER, CLIP], NAMED, None),  # the card names one that is not there
        ([LIKING, CLIP], NAMED, None),  # or the objective
        ([Adversarial(LIKING), CLIP], Card(), None),  # an attack is after pictures that show less
    ],
)
def test_who_is_the_witness(tmp_path: Path, scorers: list[FakeScorer], card: Card, name: str | None) -> None:
    found = witness(replace(stage(tmp_path, scorers=scorers), card=card))
    assert (found and found.name) == name


@pytest.mark.parametrize(
    ("plain", "candidate", "higher", "lost"),
    [
        ([0.3, 0.3], [0.3, 0.3], True, False),
        ([0.3, 0.3], [0.21, 0.21], True, False),  # a third of 0.3 may be lost
        ([0.3, 0.3], [0.19, 0.19], True, True),
        ([0.3, 0.3], [0.1, 0.31], True, False),  # by the mean over the seeds: 0.095
        ([0.3, 0.3], [0.9, 0.9], True, False),
        ([-0.3, -0.3], [-0.41, -0.41], True, True),
        ([0.3, 0.3], [0.41, 0.41], False, True),
        ([0.3, 0.3], [0.1, 0.1], False, False),
    ],
)
def test_a_trait_is_lost_with_a_third_of_what_the_users_prompt_shows_of_it(
    tmp_path: Path, plain: list[float], candidate: list[float], higher: bool, lost: bool
) -> None:
    numbers = {PLAIN.text: plain, ONE.text: candidate}
    model = FakeImageModel(lambda drawing: (numbers[drawing.conditioning.text][drawing.seed] + 1) / 2)
    scorers = [FakeScorer("liking"), FakeScorer("clip", lambda image, text: 2 * value_of(image) - 1, higher_is_better=higher)]
    context = stage(tmp_path, model, scorers=scorers)
    context.evaluator.draw([PLAIN, ONE], [0, 1])
    places, dropped = lost_traits(context, Contract(traits=("apple",)), PROMPT, [ONE], [0, 1])
    assert (places, [row["count"] for row in dropped]) == (({0}, [1]) if lost else (set(), []))


@pytest.mark.parametrize(
    ("order", "unfaithful", "best", "note"),
    [
        ([ONE, TWO, PLAIN], [], ONE, "number 1 of 3 on the search seeds"),
        ([PLAIN, TWO, ONE], [], TWO, "number 2 of 3 on the search seeds"),  # the check decides, even where the user's was better here
        ([ONE, PLAIN, TWO], [ONE], TWO, "number 3 of 3 on the search seeds"),
        ([ONE, TWO, PLAIN], [ONE, TWO], None, "none of 2 candidates shows what was asked as well"),
        ([ONE, PLAIN], [ONE], None, "none of 1 candidates shows what was asked as well"),
        ([PLAIN], [], None, "no candidate"),
        ([], [], None, "no candidate"),
    ],
)
def test_who_goes_into_the_held_out_check(
    order: list[Conditioning], unfaithful: list[Conditioning], best: Conditioning | None, note: str
) -> None:
    state: RefineState = {
        "prompt": PROMPT,
        "search": {item.id: 1.0 - place / 10 for place, item in enumerate(order)},
        "unfaithful": [item.id for item in unfaithful],
    }
    update = select(state, Runtime(context=None))
    assert (update["best"], update["path"][0]["note"]) == (best and best.id, note)


@pytest.mark.parametrize(
    ("ci95", "higher", "gain"),
    [
        ([0.1, 0.2], True, True),
        ([0.0, 0.2], True, False),
        ([-0.1, 0.2], True, False),
        ([-0.2, -0.1], True, False),
        ([-0.2, -0.1], False, True),
        ([-0.2, 0.0], False, False),
        ([0.1, 0.2], False, False),
        (None, True, False),
        (None, False, False),
        ([NAN, NAN], True, False),
    ],
)
def test_a_gain_has_its_whole_interval_on_the_better_side(ci95: list[float] | None, higher: bool, gain: bool) -> None:
    assert is_gain({"before": 0.0, "after": 0.0, "delta": 0.0, "ci95": ci95, "n": 3}, higher) is gain


@pytest.mark.parametrize(
    ("values", "row"),
    [
        ([[0.1, 0.2, 0.3], [0.2, 0.3, 0.4]], (0.2, 0.3, 3)),
        ([[0.1, 0.2, NAN], [0.2, NAN, 0.4]], (0.1, 0.2, 1)),
        ([[0.1, NAN], [NAN, 0.2]], (None, None, 0)),
        ([[0.1, 0.2], [0.9, 0.9], [0.3, 0.4]], (0.15, 0.35, 2)),  # the first against the last
        ([[0.1, 0.3]], (0.2, 0.2, 2)),
    ],
)
def test_only_seeds_with_both_pictures_are_compared(values: list[list[float]], row: tuple[float | None, float | None, int]) -> None:
    found = compare(evaluation(values), "clip", 0)
    before, after, n = row
    assert found["n"] == n and (found["ci95"] is not None) == (n > 1)
    assert (found["before"], found["after"]) == pytest.approx((before, after))
    assert found["delta"] == (None if before is None or after is None else pytest.approx(after - before))
    if found["ci95"] is not None:
        assert found["ci95"][0] - 1e-9 <= found["delta"] <= found["ci95"][1] + 1e-9


def row_of(strategy: str, reward: float, candidates: int = 1) -> SliceRow:
    return {"strategy": strategy, "images": 4, "candidates": candidates, "gain": reward, "reward": reward}


@pytest.mark.parametrize(
    ("slices", "names", "indices"),
    [
        # 0.5 x the spread of all rewards x sqrt(2 ln N / n), N the slices of all, n its own
        ([("a", 1.0), ("b", 0.0)], "ab", [1 + 0.25 * math.sqrt(2 * math.log(2)), 0.25 * math.sqrt(2 * math.log(2))]),
        ([("a", 1.0), ("a", 1.0), ("b", 0.0), ("b", 0.0)], "ab", [1 + 0.25 * math.sqrt(math.log(4)), 0.25 * math.sqrt(math.log(4))]),
        (
            [("a", 1.0), ("a", 0.0), ("a", 0.5), ("b", 0.5)],
            "b",
            [0.5 + 0.5 * math.sqrt(0.125) * math.sqrt(2 * math.log(4))],
        ),  # a's count too
        ([("a", 1.0)], "ab", [1.0, math.inf]),
        ([], "ab", [math.inf, math.inf]),
        ([("a", 0.4), ("b", 0.4)], "ab", [0.4, 0.4]),
    ],
)
def test_the_next_slice_goes_to_the_highest_upper_bound(slices: list[tuple[str, float]], names: str, indices: list[float]) -> None:
    found = ucb([row_of(*item) for item in slices], list(names))
    assert [found[name] for name in names] == pytest.approx(indices)


def candidates(*items: Conditioning) -> list[dict[str, object]]:
    return [{"id": item.id, "conditioning": item.to_json(), "origin": "rewrite", "parent": None, "note": ""} for item in items]


@pytest.mark.parametrize(
    ("scores", "unfaithful", "sign", "order", "handed"),
    [
        ({ONE: 0.2, TWO: 0.8}, [], 1, [TWO, ONE], [TWO, ONE]),
        ({ONE: 0.2, TWO: 0.8}, [], -1, [ONE, TWO], [ONE, TWO]),
        ({ONE: 0.2, TWO: 0.8}, [TWO], 1, [ONE, TWO], [ONE]),
        ({ONE: None, TWO: 0.1}, [], 1, [TWO, ONE], [TWO, ONE]),
        ({ONE: -0.5}, [], 1, [ONE, TWO], [ONE, TWO]),  # one without a score comes last, though 0 is more than -0.5
        ({ONE: 0.2, TWO: 0.8}, [ONE, TWO], 1, None, []),
    ],
)
def test_a_solver_starts_from_the_best_that_may_win(
    scores: dict[Conditioning, float | None], unfaithful: list[Conditioning], sign: int, order: list[Conditioning] | None,
    handed: list[Conditioning],
) -> None:  # fmt: skip
    state: RefineState = {
        "candidates": candidates(ONE, TWO),  # type: ignore[typeddict-item]
        "search": {item.id: score for item, score in scores.items()},  # type: ignore[misc]
        "unfaithful": [item.id for item in unfaithful],
    }
    if order is not None:
        assert [row["id"] for row in ranked(state, sign)] == [item.id for item in order]
    assert [row["id"] for row in starts(state, sign)] == [item.id for item in handed]


class Present:
    """A Solver that is there."""

    name = "dpo-diff"

    def missing(self, evaluator: object) -> str:
        return ""


def slices_of(*rows: tuple[str, float, float, int]) -> list[SliceRow]:
    """(strategy, images, reward, candidates) each."""
    return [{**row_of(name, reward, candidates), "images": images} for name, images, reward, candidates in rows]


WRITE, SEARCH = "rewrite", "dpo-diff"


@pytest.mark.parametrize(
    ("slices", "chosen", "share"),
    [
        ([], WRITE, 24),  # of 72 images for the search a third each: two strategies, and one slice more
        ([(WRITE, 24, 1.0, 3)], SEARCH, 24),  # everybody has a first one
        ([(WRITE, 24, 1.0, 3), (SEARCH, 24, 0.0, 3)], WRITE, 24),
        ([(WRITE, 24, 0.0, 3), (SEARCH, 24, 1.0, 3)], SEARCH, 24),
        ([(WRITE, 24, 0.5, 3), (SEARCH, 24, 0.5, 3)], WRITE, 24),  # of equals the first
        ([(WRITE, 24, 1.0, 0), (SEARCH, 24, 0.0, 3)], SEARCH, 24),  # who found nothing new is asked no more
        ([(WRITE, 24, 1.0, 0), (WRITE, 4, 1.0, 2), (SEARCH, 24, 0.0, 3)], WRITE, 20),  # in its last slice
        ([(WRITE, 24, 1.0, 0), (SEARCH, 24, 1.0, 0)], "gather", 0),
        ([(WRITE, 30, 1.0, 3), (SEARCH, 30, 0.0, 3)], WRITE, 12),  # what is left
        ([(WRITE, 35, 1.0, 3), (SEARCH, 35, 0.0, 3)], WRITE, 2),  # one candidate on two seeds
        ([(WRITE, 35, 1.0, 3), (SEARCH, 36, 0.0, 3)], "gather", 0),
        ([(WRITE, 1, 1.0, 3)] * 14 + [(SEARCH, 1, 0.0, 3)], WRITE, 24),
        ([(WRITE, 1, 1.0, 3)] * 15 + [(SEARCH, 1, 0.0, 3)], "gather", 0),  # sixteen slices at most
    ],
)
def test_whose_turn_it_is_and_for_how_many_images(
    tmp_path: Path, slices: list[tuple[str, float, float, int]], chosen: str, share: int
) -> None:
    context = stage(tmp_path, solvers={SEARCH: Present}, images=80, heldout_seeds=4)
    state: RefineState = {"prompt": PROMPT, "slices": slices_of(*slices), "candidates": []}
    command = allot(state, Runtime(context=context))
    assert command.goto == chosen
    assert command.update["slice"] == {"strategy": "" if chosen == "gather" else chosen, "share": share}  # type: ignore[index]


@pytest.mark.parametrize(("slices", "chosen", "share"), [([], WRITE, 72), ([(WRITE, 20, 1.0, 3)], "gather", 0)])
def test_a_strategy_alone_has_one_slice_of_everything(
    tmp_path: Path, slices: list[tuple[str, float, float, int]], chosen: str, share: int
) -> None:
    context = stage(tmp_path, images=80, heldout_seeds=4)
    told: list[object] = []
    command = allot({"prompt": PROMPT, "slices": slices_of(*slices)}, Runtime(context=context, stream_writer=told.append))
    assert (command.goto, command.update["slice"]["share"]) == (chosen, share)  # type: ignore[index]
    skipped = [row["method"] for row in command.update["skipped"]]  # type: ignore[index]
    assert skipped == [event["method"] for event in told if event["kind"] == "skipped"]  # type: ignore[index]
    assert (SEARCH in skipped) is (not slices)
