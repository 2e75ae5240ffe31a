"""Refining one prompt: what is claimed, on which evidence, at which cost."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limner.graph.intent import witness
from limner.graph.plan import plan_images
from limner.graph.runner import stream_refine
from limner.graph.settings import HELDOUT_FROM, Settings
from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning, Drawing
from limner.tools.diffusion.card import Card
from tests.doubles import FakeImageModel, FakeScorer, hashed_value, value_of
from tests.graph.stage import PROMPT, VARIANTS, likes, refined, run_of, stage
from tests.graph.test_solvers import Painter


def test_a_better_prompt_is_found_and_returned_with_an_interval_above_zero(tmp_path: Path) -> None:
    state, _ = refined(stage(tmp_path))
    outcome = state["outcome"]
    assert outcome["improved"]
    assert outcome["result"]["conditioning"] == {"text": "a red apple, sharp focus", "negative": "blurry"}
    row = outcome["scores"]["liking"]
    assert row["n"] == 8 and row["ci95"][0] > 0
    assert row["after"] - row["before"] == pytest.approx(row["delta"])


def test_without_a_gain_the_users_prompt_is_returned(tmp_path: Path) -> None:
    state, _ = refined(stage(tmp_path, FakeImageModel(hashed_value)))
    outcome = state["outcome"]
    assert not outcome["improved"]
    assert outcome["result"]["conditioning"] == {"text": PROMPT}
    lo, hi = outcome["scores"]["liking"]["ci95"]
    assert lo <= 0 <= hi


def test_a_candidate_that_shines_on_the_search_seeds_alone_is_not_claimed(tmp_path: Path) -> None:
    def lucky(drawing):  # worth more on search seeds, less on held-out ones
        gain = 0.0 if drawing.conditioning.text == PROMPT else 0.3 if drawing.seed < HELDOUT_FROM else -0.3
        return 0.5 + gain + 0.05 * hashed_value(drawing)

    state, _ = refined(stage(tmp_path, FakeImageModel(lucky)))
    plain = Conditioning(PROMPT).id
    assert state["search"][state["best"]] > state["search"][plain] + 0.2
    assert not state["outcome"]["improved"]
    assert state["outcome"]["scores"]["liking"]["delta"] < -0.2


def test_only_pictures_of_held_out_seeds_are_reported(tmp_path: Path) -> None:
    context = stage(tmp_path, seed=5)
    state, _ = refined(context)
    stored = context.db.stored_drawings([*state["outcome"]["before"], *state["outcome"]["after"]])
    assert {item.drawing.seed for item in stored.values()} == set(context.settings.heldout)
    assert not set(context.settings.heldout) & set(context.settings.search)
    assert {item.drawing.seed for item in stored.values()} == set(range(HELDOUT_FROM + 5, HELDOUT_FROM + 13))


def test_no_seed_is_ever_searched_in_one_run_and_held_out_in_another() -> None:
    ends = [Settings(seed=seed, search_seeds=count) for seed, count in ((0, 1), (0, 10_000), (HELDOUT_FROM - 10_000, 10_000))]
    assert max(max(item.search) for item in ends) < min(min(item.heldout) for item in ends)


def test_scorers_that_took_no_part_and_the_judge_are_always_reported(tmp_path: Path) -> None:
    calls = {"truth": 0}

    def judged(image, text):
        calls["truth"] += 1
        return value_of(image)

    scorers = [FakeScorer("liking"), FakeScorer("likeness"), FakeScorer("truth", judged, held_out=True)]
    state, _ = refined(stage(tmp_path, scorers=scorers))
    assert list(state["outcome"]["scores"]) == ["liking", "likeness", "truth"]
    assert calls["truth"] == 16  # the held-out pictures, and none of the search


def shows(word: str) -> Callable[[Drawing], float]:
    """Drawings that please by any word and show what was asked unless the prompt has `word`."""
    return lambda drawing: (0.2 if word in drawing.conditioning.text else 0.7) + 0.01 * hashed_value(drawing)


def test_a_candidate_that_shows_less_of_what_was_asked_cannot_win(tmp_path: Path) -> None:
    def liking(image, text):
        return 1 - value_of(image)  # the prettier, the less it shows

    scorers = [FakeScorer("liking", liking), FakeScorer("clip"), FakeScorer("truth", held_out=True)]
    state, _ = refined(stage(tmp_path, FakeImageModel(shows("sharp")), scorers=scorers))
    sharp = Conditioning("a red apple, sharp focus", "blurry").id
    assert next(iter(state["search"])) == sharp and sharp in state["unfaithful"]
    assert state["best"] != sharp


def test_where_every_candidate_shows_less_the_users_prompt_is_returned(tmp_path: Path) -> None:
    def liking(image, text):
        return 1 - value_of(image)

    scorers = [FakeScorer("liking", liking), FakeScorer("clip")]
    state, _ = refined(stage(tmp_path, FakeImageModel(shows(",")), scorers=scorers))
    assert len(state["unfaithful"]) == 3 and state["best"] is None
    assert not state["outcome"]["improved"] and state["outcome"]["result"]["conditioning"] == {"text": PROMPT}


def test_the_card_names_the_witness_and_the_objective_never_is_it(tmp_path: Path) -> None:
    scorers = [FakeScorer("clip"), FakeScorer("likeness"), FakeScorer("truth", held_out=True)]
    context = stage(tmp_path, scorers=scorers)
    assert witness(context) is None
    assert witness(replace(context, card=Card(intent="likeness"))).name == "likeness"
    assert witness(replace(context, card=Card(intent="truth"))) is None


def test_where_lower_is_better_a_fall_is_the_gain(tmp_path: Path) -> None:
    scorers = [FakeScorer("loss", lambda image, text: 1 - value_of(image), higher_is_better=False), FakeScorer("liking")]
    outcome = refined(stage(tmp_path, scorers=scorers))[0]["outcome"]
    assert outcome["improved"] and outcome["result"]["conditioning"]["text"].endswith("sharp focus")
    assert outcome["scores"]["loss"]["delta"] < 0 and outcome["scores"]["loss"]["ci95"][1] < 0


def test_the_whole_population_is_drawn_in_one_call_and_the_check_in_another(tmp_path: Path) -> None:
    model = FakeImageModel(likes("sharp"))
    state, _ = refined(stage(tmp_path, model))
    assert [row["conditioning"]["text"] for row in state["population"]] == [PROMPT, *(text for text, _ in VARIANTS)]
    assert model.calls == 2
    assert len(model.drawn) == 4 * 2 + 2 * 8


def test_the_same_prompt_again_draws_nothing(tmp_path: Path) -> None:
    refined(stage(tmp_path))
    model = FakeImageModel(likes("sharp"))
    context = stage(tmp_path, model, run="run-2")
    events = list(stream_refine(context, run_of(context, id="run-2")))
    assert events[-1]["outcome"]["improved"]
    assert model.drawn == [] and context.evaluator.budget.spent["images"] == 0


def test_the_reference_of_every_score_is_the_users_prompt(tmp_path: Path) -> None:
    texts: set[str] = set()

    def hearing(image, text):
        texts.add(text)
        return value_of(image)

    refined(stage(tmp_path, scorers=[FakeScorer("liking", hearing), FakeScorer("likeness", hearing)]))
    assert texts == {PROMPT}


def test_pictures_that_came_out_as_nan_are_left_out_of_both_sides_and_told(tmp_path: Path) -> None:
    bad = Settings(out=str(tmp_path)).heldout[:2]
    state, _ = refined(stage(tmp_path, FakeImageModel(likes("sharp"), nan_seeds=bad)))
    assert state["outcome"]["scores"]["liking"]["n"] == 6
    assert any("dropped" in text for text in state["outcome"]["warnings"])


def test_a_chat_model_without_an_answer_leaves_the_users_prompt_and_says_why(tmp_path: Path) -> None:
    state, events = refined(stage(tmp_path, variants=()))
    outcome = state["outcome"]
    assert not outcome["improved"] and outcome["best"] is None
    assert outcome["result"]["conditioning"] == {"text": PROMPT}
    assert outcome["scores"]["liking"]["delta"] == 0
    assert any("the server is away" in text for text in outcome["warnings"])
    assert any(event["kind"] == "warning" for event in events)


def test_refusals_duplicates_and_lost_pins_never_become_candidates(tmp_path: Path) -> None:
    variants = [
        ("I'm sorry, but I can't help with that.", ""),
        ("", ""),
        ("A RED apple", ""),
        ("red fruit, sharp focus", ""),
        ("a red apple, sharp focus", ""),
    ]
    context = stage(tmp_path, variants=variants, pins=("apple",))
    state, _ = refined(context)
    assert [row["conditioning"]["text"] for row in state["candidates"]] == ["a red apple, sharp focus"]
    assert sum(row["count"] for row in state["dropped"]) == 4
    assert [item.conditioning.text for item in context.db.candidates("run-1")] == [PROMPT, "a red apple, sharp focus"]


@given(budget=st.integers(1, 60), search=st.integers(1, 4), heldout=st.integers(2, 9))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_budget_is_ever_overdrawn_and_the_check_is_always_whole(budget: int, search: int, heldout: int) -> None:
    with TemporaryDirectory() as folder:
        model = FakeImageModel(likes("sharp"))
        context = stage(Path(folder), model, images=budget, search_seeds=search, heldout_seeds=heldout)
        try:
            plan_images(budget, search, heldout)
        except BadInput:
            assert budget < 2 * (search + heldout)
            return
        state, _ = refined(context)
        assert len(model.drawn) <= budget
        assert state["outcome"]["scores"]["liking"]["n"] == heldout
        assert state["outcome"]["best"] is not None


def test_a_budget_without_room_for_a_check_says_how_much_is_needed() -> None:
    with pytest.raises(BadInput, match="raise --budget to 20"):
        plan_images(19, search_seeds=2, heldout_seeds=8)
    assert plan_images(20, search_seeds=2, heldout_seeds=8).population == 2


def test_state_is_plain_data_and_small(tmp_path: Path) -> None:
    state, _ = refined(stage(tmp_path))
    assert len(json.dumps(state)) < 20_000
    assert json.loads(json.dumps(state)) == state


def test_the_path_tells_every_node_with_its_time(tmp_path: Path) -> None:
    state, events = refined(stage(tmp_path))
    nodes = [row["node"] for row in state["path"]]
    slices = ["allot", "rewrite", "weigh", "allot"]
    assert nodes == ["retrieve", *slices, "gather", "search", "select", "heldout", "finish"]
    assert nodes == [event["node"] for event in events if event["kind"] == "node" and event["phase"] == "end"]
    assert all(row["seconds"] >= 0 for row in state["path"])


@pytest.mark.parametrize(
    ("method", "first"),
    [
        ("rewrite", ["retrieve", "rewrite"]),
        ("adapter", ["retrieve", "rewrite", "adapter"]),
        ("df-prompt", ["retrieve", "rewrite", "df-prompt"]),
        ("dpo-diff", ["dpo-diff"]),
    ],
)
def test_a_method_has_the_nodes_that_it_wants_and_no_other(tmp_path: Path, method: str, first: list[str]) -> None:
    context = stage(tmp_path, solvers={method: lambda: Painter([])})
    state, _ = refined(context, method)
    assert [row["node"] for row in state["path"]] == [*first, "gather", "search", "select", "heldout", "finish"]
    assert context.chat.asked == ("rewrite" in first)  # type: ignore[attr-defined]


def test_the_same_seed_gives_the_same_outcome(tmp_path: Path) -> None:
    one, other = (refined(stage(tmp_path / name))[0]["outcome"] for name in ("one", "other"))
    assert one == other
