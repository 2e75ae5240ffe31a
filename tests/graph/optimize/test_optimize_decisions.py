"""Who is kept while an instruction is learned: which pulls count, which children are taken in, who may not be dropped, what is an
improvement."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langgraph.runtime import Runtime

from limner.agents.instructions import bandit
from limner.agents.instructions.bandit import ArmRecord, Choice
from limner.agents.instructions.bandit import best as best_arm
from limner.agents.rewriter import DEFAULT_INSTRUCTION
from limner.graph.optimize import arms
from limner.graph.optimize.graph import heldout, select
from limner.graph.state import ArmRow, Context
from limner.promptdb.records import Conditioning, Drawing, Instruction
from limner.promptdb.trials import Arm, Trial, Trials
from tests.chat_server import ChatServer, Reply, answer
from tests.doubles import FakeImageModel, FakeScorer, hashed_value
from tests.graph.optimize.optimize_stage import PROMPTS, optimize_stage, optimized
from tests.hidden_rule import PHRASES
from tests.hidden_rule import reply as learned_reply

Pull = tuple[str, int, float | None, float | None]
"""Prompt, seed, value, and value of the plain prompt."""


def row_of(text: str, born: int = -1) -> ArmRow:
    return {"id": Instruction(text).id, "text": text, "parent": None, "finding": "", "born": born}


PARENT, CHILD, THIRD = row_of("parent"), row_of("child", 0), row_of("third")


def trials_in(context: Context, pulls: dict[str, Sequence[Pull]], iteration: int = 0) -> Trials:
    trials = Trials(context.db, "run-1")
    trials.add_arms([Arm(Instruction(text), -1) for text in pulls])
    for text, own in pulls.items():
        written = [
            Trial(iteration, Instruction(text).id, prompt, seed, Conditioning(f"{prompt}, {text}"), value, plain)
            for prompt, seed, value, plain in own
        ]
        trials.add_trials(written)
    return trials


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return optimize_stage(tmp_path)[0]


@pytest.mark.parametrize(
    ("child", "parent", "fate"),
    [
        ([("a", 0, 0.6, 0.4)], [("a", 0, 0.5, 0.4)], "born"),
        ([("a", 0, 0.5, 0.4)], [("a", 0, 0.5, 0.4)], "born"),  # as good as its parent
        ([("a", 0, 0.4, 0.4)], [("a", 0, 0.5, 0.4)], "rejected"),
        ([("a", 0, 0.49, 0.4)], [("a", 0, 0.5, 0.4)], "rejected"),
        ([("a", 0, 0.9, 0.4), ("a", 1, 0.3, 0.4)], [("a", 0, 0.5, 0.4), ("a", 1, 0.5, 0.4)], "born"),  # by the mean
        ([("a", 0, 0.6, 0.4), ("a", 1, 0.3, 0.4)], [("a", 0, 0.5, 0.4), ("a", 1, 0.5, 0.4)], "rejected"),
        ([("a", 0, 0.6, 0.4), ("b", 0, 0.1, 0.4)], [("a", 0, 0.5, 0.4)], "born"),  # on the pulls of both
        ([("b", 0, 0.9, 0.4)], [("a", 0, 0.5, 0.4)], "rejected"),  # on none
        ([("a", 0, None, 0.4)], [("a", 0, 0.5, 0.4)], "rejected"),
        ([("a", 0, 0.9, 0.4)], [("a", 0, None, 0.4)], "rejected"),
        ([("a", 0, 0.9, 0.4), ("a", 1, None, 0.4)], [("a", 0, 0.5, 0.4), ("a", 1, 0.5, 0.4)], "born"),
        ([], [("a", 0, 0.5, 0.4)], "rejected"),
    ],
)
@pytest.mark.parametrize("higher", [True, False])
def test_a_child_is_taken_in_where_it_gains_no_less_than_its_parent(
    tmp_path: Path, child: list[Pull], parent: list[Pull], fate: str, higher: bool
) -> None:
    def turned(pulls: list[Pull]) -> list[Pull]:
        return [(prompt, seed, value if value is None or higher else 1 - value, plain) for prompt, seed, value, plain in pulls]

    context = optimize_stage(tmp_path, scorers=[FakeScorer("liking", higher_is_better=higher)])[0]
    trials = trials_in(context, {"parent": turned(parent), "child": turned(child)})
    kept = arms.accepted(context, trials, 0, PARENT["id"], [CHILD])
    assert kept == ([CHILD] if fate == "born" else [])
    assert [(row.instruction, row.fate) for row in trials.standings()] == [(CHILD["id"], fate)]


def test_another_iteration_says_nothing_of_a_child(context: Context) -> None:
    trials = trials_in(context, {"parent": [("a", 0, 0.9, 0.4)], "child": [("a", 0, 0.1, 0.4)]}, iteration=0)
    trials_in(context, {"parent": [("a", 0, 0.5, 0.4)], "child": [("a", 0, 0.6, 0.4)]}, iteration=1)
    assert arms.accepted(context, trials, 1, PARENT["id"], [CHILD]) == [CHILD]
    assert arms.accepted(context, trials, 0, PARENT["id"], [CHILD]) == []


@pytest.mark.parametrize(
    ("iterations", "pulls", "latest"),
    [
        ([[("a", 0, 0.6, 0.4)]], 1, 1),
        ([[("a", 0, 0.6, 0.4), ("a", 1, 0.8, 0.4)]], 2, 1.5),
        ([[("a", 0, 0.6, 0.4), ("b", 0, 0.8, 0.4)]], 2, 1.5),
        ([[("a", 0, 0.6, 0.4)], [("a", 0, 0.6, 0.4)]], 1, 1),  # the same picture again is no second pull
        ([[("a", 0, 0.6, 0.4)], [("a", 0, 0.6, 0.4), ("b", 0, 0.8, 0.4)]], 2, 1.5),
        ([[("a", 0, 0.6, 0.4)], [("b", 0, 0.8, 0.4)]], 2, 2),  # the last batch alone is the latest
        ([[("a", 0, 0.6, 0.4), ("b", 0, None, 0.4)]], 1, 1),
        ([[("a", 0, 0.6, 0.4), ("b", 0, 0.8, None)]], 1, 1),
        ([[("a", 0, 0.6, 0.4)], [("b", 0, None, 0.4)]], 1, 1),
        ([[("a", 0, None, 0.4)]], 0, 0),
    ],
)
def test_which_pulls_count(
    context: Context, monkeypatch: pytest.MonkeyPatch, iterations: list[list[Pull]], pulls: int, latest: float
) -> None:
    """`latest` in gains of 0.2, the unit of the test."""
    monkeypatch.setattr(arms, "spread", lambda trials, higher: 0.2)
    for number, own in enumerate(iterations):
        trials = trials_in(context, {"parent": own}, number)
    found = arms.records(context, trials, [PARENT["id"]])
    assert [len(record.rewards) for record in found] == ([pulls] if pulls else [])
    assert [record.latest for record in found] == pytest.approx([latest] if pulls else [])


def test_rewards_are_gains_in_units_of_the_spread_of_all_of_them(context: Context) -> None:
    trials = trials_in(context, {"parent": [("a", 0, 0.5, 0.4), ("b", 0, 0.7, 0.4)], "child": [("a", 0, 0.2, 0.4)]})
    unit = np.std([0.1, 0.3, -0.2])
    found = {record.id: record.rewards for record in arms.records(context, trials, [PARENT["id"], CHILD["id"]])}
    assert found[PARENT["id"]] == pytest.approx((0.1 / unit, 0.3 / unit)) and found[CHILD["id"]] == pytest.approx((-0.2 / unit,))


def worst(records: Sequence[ArmRecord], keep: int, rng: random.Random) -> list[Choice]:
    return [Choice(record.id, -record.mean) for record in sorted(records, key=lambda record: record.mean)][:keep]


@pytest.mark.parametrize(
    ("keep", "survivors"), [(1, {"parent"}), (2, {"third", "parent"}), (3, {"third", "child", "parent"}), (9, {"third", "child", "parent"})]
)
def test_the_best_of_all_is_never_dropped_whatever_the_selector_says(
    context: Context, monkeypatch: pytest.MonkeyPatch, keep: int, survivors: set[str]
) -> None:
    monkeypatch.setitem(bandit.SELECTORS, "worst", worst)
    context = replace(context, learning=replace(context.learning, arms=keep, selector="worst"))
    values = {"parent": 0.9, "child": 0.5, "third": 0.1}
    trials = trials_in(context, {text: [("a", seed, value, 0.4) for seed in (0, 1, 2)] for text, value in values.items()})
    state: Any = {"run": "run-1", "arms": [PARENT, CHILD, THIRD], "iteration": 0, "counters": {}, "winner": PARENT["id"], "steady": 1}
    update = select(state, Runtime(context=context))
    assert {row["text"] for row in update["arms"]} == survivors
    assert update["winner"] == PARENT["id"] and update["steady"] == 2
    assert update["low"] == (THIRD if len(survivors) > 1 else PARENT)["id"]
    assert {row.instruction for row in trials.standings() if row.fate == "kept"} == {row["id"] for row in update["arms"]}


@pytest.mark.parametrize(("led", "steady"), [(PARENT, 5), (CHILD, 1)])
def test_a_winner_is_steady_while_it_is_the_same(context: Context, led: ArmRow, steady: int) -> None:
    trials_in(context, {"parent": [("a", 0, 0.9, 0.4), ("a", 1, 0.8, 0.4)], "child": [("a", 0, 0.5, 0.4), ("a", 1, 0.6, 0.4)]})
    told: list[Any] = []
    state: Any = {"run": "run-1", "arms": [PARENT, CHILD], "iteration": 0, "counters": {}, "winner": led["id"], "steady": 4}
    update = select(state, Runtime(context=context, stream_writer=told.append))
    assert (update["winner"], update["steady"]) == (PARENT["id"], steady)
    [event] = [event for event in told if event["kind"] == "iteration"]
    assert (event["iteration"], event["text"], event["count"]) == (0, "parent", 2)


def test_the_references_own_selection_may_drop_the_best(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandit, "reference_ucb", lambda arms, keep, iteration, counters: (worst(arms, keep, random.Random()), {"x": 1}))
    context = replace(context, learning=replace(context.learning, arms=1, compat="maai"))
    trials_in(context, {"parent": [("a", 0, 0.9, 0.4)], "child": [("a", 0, 0.5, 0.4)]})
    state: Any = {"run": "run-1", "arms": [PARENT, CHILD], "iteration": 0, "counters": {}, "winner": PARENT["id"], "steady": 1}
    update = select(state, Runtime(context=context))
    assert update["arms"] == [CHILD] and update["winner"] == PARENT["id"] and update["counters"] == {"x": 1}


def test_where_no_arm_has_a_picture_nothing_is_selected(context: Context) -> None:
    trials_in(context, {"parent": [("a", 0, None, 0.4)]})
    state: Any = {"run": "run-1", "arms": [PARENT], "iteration": 0, "counters": {}, "winner": PARENT["id"], "steady": 1}
    update = select(state, Runtime(context=context))
    assert (update["low"], update["winner"]) == ("", PARENT["id"]) and "arms" not in update


def phrases_of(body: dict[str, Any]) -> Reply:
    """As the server that can learn, but every finding asks for a phrase that harms."""
    if body["response_format"]["json_schema"]["name"] == "Findings":
        said = {"findings": [{"inference": "it is said", "improvement": f'Ask for "{PHRASES[0]}".'}]}
        scripted = answer(said)
        return scripted(body) if callable(scripted) else scripted
    return learned_reply(body)


@pytest.mark.parametrize(("worth", "fate"), [(-0.3, "rejected"), (0.3, "born")])
def test_children_that_do_worse_than_their_parent_are_rejected(tmp_path: Path, worth: float, fate: str) -> None:
    """Whatever the model finds, its children use one phrase, which others have by chance alone; what that is worth decides."""

    def value(drawing: Drawing) -> float:
        return 0.5 + 0.1 * hashed_value(drawing) + worth * (PHRASES[0] in drawing.conditioning.text)

    with ChatServer(always=phrases_of) as server:
        environment = {"OPENAI_BASE_URL": server.url, "LIMNER_CHAT_MODEL": "stub"}
        context, state, _ = optimized(tmp_path, model=FakeImageModel(value), environment=environment, iterations=2)
    trials = Trials(context.db, "run-1")
    fates = [row.fate for row in trials.standings() if row.fate in ("born", "rejected")]
    assert fates and set(fates) == {fate}
    children = {arm.instruction.id for arm in trials.arms() if arm.born >= 0}
    assert (state["outcome"]["best"]["id"] in children) is (fate == "born") is state["outcome"]["improved"]


def add(phrase: str) -> ArmRow:
    return row_of(f'{DEFAULT_INSTRUCTION} Add "{phrase}".')


@pytest.mark.parametrize(
    ("initial", "learned", "improved"),
    [
        (0.0, 0.3, True),
        (0.1, 0.3, True),
        (0.3, 0.1, False),  # better than the plain prompt, and worse than what the run began with
        (0.3, 0.3, False),
        (-0.2, -0.2, False),
        (-0.3, -0.1, True),  # worse than the plain prompt, and better than what the run began with: that is what was to be learned
        (0.0, -0.3, False),
    ],
)
@pytest.mark.parametrize("higher", [True, False])
def test_an_improvement_is_one_over_the_initial_instruction(
    tmp_path: Path, initial: float, learned: float, improved: bool, higher: bool
) -> None:
    def value(drawing: Drawing) -> float:
        text = drawing.conditioning.text
        found = 0.5 + 0.02 * hashed_value(drawing) + initial * ("soft haze" in text) + learned * ("deep gloom" in text)
        return found if higher else 1 - found

    context, _, start = optimize_stage(tmp_path, FakeImageModel(value), scorers=[FakeScorer("liking", higher_is_better=higher)])
    context = replace(context, learning=replace(context.learning, professional=False))
    before, after = add("soft haze"), add("deep gloom")
    trials = trials_in(context, {before["text"]: [("a", 0, 0.5, 0.5)], after["text"]: [("a", 0, 0.9 if higher else 0.1, 0.5)]})
    assert best_arm(arms.records(context, trials, [before["id"], after["id"]])).id == after["id"]
    update = heldout({**start, "winner": before["id"], "suffix": None}, Runtime(context=context))
    outcome = update["outcome"]
    assert outcome["best"]["id"] == after["id"] and outcome["initial"]["id"] == before["id"]
    assert outcome["improved"] is improved
    sign = 1 if higher else -1
    assert sign * outcome["scores"]["learned_initial"]["liking"]["delta"] == pytest.approx(learned - initial, abs=0.03)


def test_the_initial_instruction_is_no_improvement_over_itself(tmp_path: Path) -> None:
    context, _, start = optimize_stage(tmp_path)
    initial = row_of(DEFAULT_INSTRUCTION)
    trials_in(context, {DEFAULT_INSTRUCTION: [("a", 0, 0.9, 0.5)]})
    outcome = heldout({**start, "winner": initial["id"], "suffix": None}, Runtime(context=context))["outcome"]
    assert outcome["best"]["id"] == initial["id"] and outcome["improved"] is False


@pytest.mark.parametrize(
    ("prompts", "seeds", "step", "ahead"),
    [(6, 1, 0.2, True), (5, 1, 0.2, False), (3, 4, 0.2, False), (6, 1, 0.0, False), (6, 1, -0.2, False), (6, 2, 0.2, True)],
)
def test_a_winner_is_sure_after_six_prompts_at_least(context: Context, prompts: int, seeds: int, step: float, ahead: bool) -> None:
    pulls = [(prompt.text, seed) for prompt in PROMPTS[:prompts] for seed in range(seeds)]
    gains = np.linspace(0.9, 1.1, len(pulls))
    trials = trials_in(
        context,
        {
            "parent": [(prompt, seed, 0.5, 0.4) for prompt, seed in pulls],
            "child": [(prompt, seed, 0.5 + step * float(gain), 0.4) for (prompt, seed), gain in zip(pulls, gains, strict=True)],
        },
    )
    assert arms.is_ahead(context, trials, CHILD["id"], PARENT["id"], 0.99) is ahead


@pytest.mark.parametrize(
    ("change", "nan_seeds", "warnings"),
    [
        ({}, [], []),
        ({"shared": True}, [], ["there is one prompt alone"]),
        ({"cut": 3}, [], ["3 rewritings were cut"]),
        ({}, [0], ["pictures were dropped"]),
    ],
)
def test_what_weakens_the_evidence_is_said(tmp_path: Path, change: dict[str, Any], nan_seeds: list[int], warnings: list[str]) -> None:
    model = FakeImageModel()
    context, _, start = optimize_stage(tmp_path, model)
    model.nan_seeds = frozenset(context.settings.heldout[place] for place in nan_seeds)
    initial = row_of(DEFAULT_INSTRUCTION)
    trials_in(context, {DEFAULT_INSTRUCTION: [("a", 0, 0.9, 0.5)]})
    suffix = {"positive": "sharp", "negative": "", "pulls": 8}
    told: list[Any] = []
    state: Any = {**start, "winner": initial["id"], "suffix": suffix, **change}
    update = heldout(state, Runtime(context=context, stream_writer=told.append))
    assert len(update["warnings"]) == len(warnings)
    assert all(warning in text for warning, text in zip(warnings, update["warnings"], strict=True))
    assert set(update["outcome"]["scores"]) == {"initial", "learned", "learned_initial", "suffix", "learned_suffix"}
    assert any(event["kind"] == "draw" and event["images"] > 0 for event in told)
    row = update["outcome"]["scores"]["suffix"]["liking"]
    assert row["n"] == 6 and row["ci95"] is not None


def test_a_check_that_the_budget_does_not_hold_says_so_and_reports_what_there_is(tmp_path: Path) -> None:
    context, _, start = optimize_stage(tmp_path)
    initial = row_of(DEFAULT_INSTRUCTION)
    trials_in(context, {DEFAULT_INSTRUCTION: [("a", 0, 0.9, 0.5)]})
    context.evaluator.budget.spend(images=600 - 12)
    update = heldout({**start, "winner": initial["id"], "suffix": None}, Runtime(context=context))
    assert any("is not complete" in text for text in update["warnings"])
    row = update["outcome"]["scores"]["learned"]["liking"]
    assert (row["n"], row["delta"], row["ci95"], row["before"]) == (0, None, None, None) and not update["outcome"]["improved"]
