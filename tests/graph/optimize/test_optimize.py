"""Learning an instruction: the loop, what it may see, what it costs, and what a kill, a server or an odd file may do to it."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from limner.graph.context import open_budget
from limner.graph.optimize.graph import FINALISTS, FINALS
from limner.graph.optimize.state import OptimizeState
from limner.graph.runner import Control, Stopped, optimize_state, stream_optimize
from limner.graph.settings import Settings
from limner.promptdb.errors import ServerAway
from limner.promptdb.files.prompt_file import BatchPrompt
from limner.promptdb.records import Drawing, Prompt
from limner.promptdb.runs import Runs
from limner.promptdb.store import PromptDB
from limner.promptdb.trials import Trials
from tests.chat_server import ChatServer, status
from tests.doubles import FakeImageModel, FakeScorer, hashed_value
from tests.graph.optimize.optimize_stage import BAD, GOOD, PROMPTS, optimize_stage, optimized, taste
from tests.hidden_rule import PHRASES, reply


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, OptimizeState, list[Any], FakeImageModel]:
    model = FakeImageModel(taste)
    return *optimized(tmp_path_factory.mktemp("learned"), model=model), model


def test_it_learns_what_helps_and_what_harms_and_shows_it_on_held_out_prompts(finished: Any) -> None:
    _, state, events, _ = finished
    outcome = state["outcome"]
    assert GOOD in outcome["best"]["text"] and BAD in outcome["best"]["text"]
    assert outcome["improved"] and outcome["best"]["id"] != outcome["initial"]["id"]
    row = outcome["scores"]["learned_initial"]["liking"]
    assert row["ci95"][0] > 0 and row["n"] == 6 and row["p"] < 0.05
    assert set(outcome["scores"]) == {"initial", "learned", "learned_initial", "suffix", "learned_suffix"}
    assert events[-1]["kind"] == "finished" and events[-1]["outcome"] == outcome


def test_held_out_prompts_and_seeds_take_no_part_in_learning(finished: Any) -> None:
    context, state, _, model = finished
    learned_on = {trial.prompt for trial in Trials(context.db, "run-1").trials()}
    heldout = {row["text"] for row in state["heldout"]}
    assert learned_on and not learned_on & heldout
    searched = [drawing for drawing in model.drawn if drawing.seed in context.settings.search]
    assert not any(text in drawing.conditioning.text for drawing in searched for text in heldout)
    assert {drawing.seed for drawing in model.drawn} == {*context.settings.search, *context.settings.heldout}


def test_every_arm_of_an_iteration_meets_the_same_prompts_on_the_same_seeds(finished: Any) -> None:
    context, state, *_ = finished
    trials = [trial for trial in Trials(context.db, "run-1").trials() if trial.iteration <= state["iteration"]]
    for iteration in {trial.iteration for trial in trials}:
        met = {
            arm: {(trial.prompt, trial.seed) for trial in trials if trial.iteration == iteration and trial.instruction == arm}
            for arm in {trial.instruction for trial in trials if trial.iteration == iteration}
        }
        assert len(set(map(frozenset, met.values()))) == 1 and len(next(iter(met.values()))) == 3 * 2


def test_before_one_is_named_the_best_and_the_initial_instruction_meet_more_prompts(finished: Any) -> None:
    context, state, *_ = finished
    trials = Trials(context.db, "run-1").trials()
    met: dict[str, set[tuple[str, int]]] = {}
    for trial in trials:
        if trial.iteration == state["iteration"] + 1:
            met.setdefault(trial.instruction, set()).add((trial.prompt, trial.seed))
    assert {state["outcome"]["initial"]["id"], state["winner"]} <= met.keys()
    assert 2 <= len(met) <= FINALISTS + 1
    assert len(set(map(frozenset, met.values()))) == 1
    assert 0 < len(next(iter(met.values()))) <= FINALS * len(context.settings.search)
    assert len({(trial.prompt, trial.seed) for trial in trials if trial.instruction == state["winner"]}) > 3 * 2


def test_the_plan_is_kept_to(finished: Any) -> None:
    context, state, _, model = finished
    search = sum(drawing.seed in context.settings.search for drawing in model.drawn)
    assert search <= context.plan.learning + context.plan.suffix
    assert len(model.drawn) == context.evaluator.budget.spent["images"] <= 600
    assert state["suffix"] is not None and state["suffix"]["pulls"] <= context.plan.suffix


@pytest.mark.parametrize("budget", [48, 60, 100, 150])
def test_a_small_budget_is_never_crossed_and_what_is_known_is_reported(tmp_path: Path, budget: int) -> None:
    model = FakeImageModel(taste)
    context, state, _ = optimized(tmp_path, model=model, budget=budget)
    assert len(model.drawn) == context.evaluator.budget.spent["images"] <= budget
    assert state["outcome"]["scores"]["learned"]["liking"]["n"] == context.plan.heldout_prompts >= 1
    assert state["stop"] in ("the images for learning are spent", "all 4 iterations are done")


def test_the_same_seed_gives_the_same_run(finished: Any, tmp_path: Path) -> None:
    _, first, _, _ = finished
    _, second, _ = optimized(tmp_path)
    assert first["outcome"] == second["outcome"]


def test_a_run_cut_off_at_any_checkpoint_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    _, undisturbed, _ = optimized(whole, iterations=2)
    database = whole / "limner.db"
    with closing(sqlite3.connect(database)) as threads:
        places = [row[0] for row in threads.execute("SELECT checkpoint_id FROM checkpoints ORDER BY checkpoint_id")]
    assert len(places) > 14
    for place, written in zip(places[1:-1:3], itertools.cycle((True, False)), strict=False):
        cut = tmp_path / f"{place}-{written}"
        shutil.copytree(whole, cut)
        with closing(sqlite3.connect(cut / "limner.db")) as threads, threads:
            threads.execute("DELETE FROM checkpoints WHERE checkpoint_id > ?", (place,))
            threads.execute(f"DELETE FROM writes WHERE checkpoint_id {'>' if written else '>='} ?", (place,))
        model = FakeImageModel(taste)
        _, state, events = optimized(cut, model=model, iterations=2)
        assert events[0]["resumed"] and not model.drawn
        assert state["outcome"] == undisturbed["outcome"]


def test_a_run_asked_to_stop_in_the_middle_goes_on_and_ends_as_an_undisturbed_one(finished: Any, tmp_path: Path) -> None:
    _, undisturbed, _, _ = finished
    control = Control()
    context, run, start = optimize_stage(tmp_path)
    with pytest.raises(Stopped, match="optimize --resume run-1"):
        for event in stream_optimize(context, run, start, control):
            if event["kind"] == "iteration" and event["iteration"] == 1:
                control.request_drain("test")
    _, state, events = optimized(tmp_path)
    assert events[0]["resumed"] and state["outcome"] == undisturbed["outcome"]


def test_a_checkpoint_is_as_small_after_many_iterations_as_after_few(tmp_path: Path) -> None:
    context, run, start = optimize_stage(tmp_path, iterations=12, budget=3000)
    sizes: dict[int, int] = {}
    for event in stream_optimize(context, run, start):
        if event["kind"] == "node" and event["node"] == "sample" and event["phase"] == "start":
            with closing(sqlite3.connect(tmp_path / "limner.db")) as threads:
                (size,) = threads.execute("SELECT length(checkpoint) FROM checkpoints ORDER BY checkpoint_id DESC LIMIT 1").fetchone()
            sizes[len(sizes)] = size
    assert len(sizes) >= 6
    assert max(sizes[place] for place in list(sizes)[2:]) < 1.5 * sizes[2]


def test_compat_keeps_the_reference_order_and_pool_sizes(tmp_path: Path) -> None:
    context, state, _ = optimized(tmp_path, compat="maai", iterations=4)
    standings = Trials(context.db, "run-1").standings()
    for iteration in range(4):
        rows = [row for row in standings if row.iteration == iteration]
        survivors = [row for row in rows if row.fate in ("kept", "replaced")]
        born = [arm for arm in Trials(context.db, "run-1").arms() if arm.born == iteration]
        assert len(survivors) == min(3, len(rows))
        following = [row for row in standings if row.iteration == iteration + 1]
        if following:
            assert len(following) == len(survivors) - bool(born) + len(born)
    assert not [row for row in standings if row.fate in ("born", "rejected")]
    assert state["counters"] and min(state["counters"].values()) > 1


@pytest.mark.parametrize("phrase", [PHRASES[0], PHRASES[3]])
def test_a_rule_that_only_rows_and_scores_can_tell_is_found_through_a_server(tmp_path: Path, phrase: str) -> None:
    """Another rule, another instruction: nothing is hard-wired."""

    def hidden(drawing: Drawing) -> float:
        return 0.3 + 0.2 * hashed_value(drawing) + 0.4 * (phrase in drawing.conditioning.text)

    with ChatServer(always=reply) as server:
        environment = {"OPENAI_BASE_URL": server.url, "LIMNER_CHAT_MODEL": "stub"}
        change: dict[str, Any] = {"environment": environment, "iterations": 6, "budget": 900}
        context, run, start = optimize_stage(tmp_path, FakeImageModel(hidden), **change)
        for prompt in PROMPTS:
            context.db.add_prompts([Prompt(f"{prompt.text}, {other}", "test", prompt.text) for other in PHRASES])
        events = list(stream_optimize(context, run, start))
    outcome = optimize_state(context, "run-1")["outcome"]
    assert f'"{phrase}"' in outcome["best"]["text"] and outcome["improved"]
    assert events[0]["chat_model"] == "stub"
    assert all(
        tell not in request.text for request in server.requests if "Findings" in str(request.body["response_format"]) for tell in ["{'"]
    )


def test_a_servers_answers_are_awaited_together_and_change_nothing(tmp_path: Path) -> None:
    """With the budget of a real run: each question of each thread is stored."""
    outcomes, most = [], []
    for parallel in ("1", "4"):
        settings = Settings(out=str(tmp_path / parallel))
        with ChatServer(always=lambda body: replace(reply(body), delay=0.03)) as server:
            environment = {"OPENAI_BASE_URL": server.url, "LIMNER_CHAT_MODEL": "stub", "LIMNER_CHAT_PARALLEL": parallel}
            purse = open_budget(settings, PromptDB.open(settings.database), "run-1", 600)
            context, state, _ = optimized(tmp_path / parallel, environment=environment, purse=purse, iterations=1)
        assert Runs(context.db).spent("run-1").amounts == purse.spent and purse.spent["llm_calls"] == len(server.requests)
        outcomes.append(state["outcome"])
        most.append(server.most_at_once)
    assert outcomes[0] == outcomes[1]
    assert most == [1, 4]


def test_a_silent_server_suspends_the_run_which_goes_on_when_it_is_back(tmp_path: Path) -> None:
    with ChatServer(always=status(401)) as dead:
        pass
    environment = {"OPENAI_BASE_URL": dead.url, "LIMNER_CHAT_MODEL": "stub"}
    context, run, start = optimize_stage(tmp_path, environment=environment, iterations=1)
    context.chat._sleep = lambda seconds: None  # type: ignore[attr-defined]
    with pytest.raises(ServerAway, match="--resume run-1"):
        list(stream_optimize(context, run, start))
    found = Runs(context.db).get("run-1")
    assert found is not None and found.status == "paused"
    with ChatServer(always=reply) as server:
        _, state, events = optimized(tmp_path, environment={**environment, "OPENAI_BASE_URL": server.url}, iterations=1)
    assert events[0]["resumed"] and state["outcome"]["scores"]["learned"]["liking"]["n"] == 6


def test_arms_that_are_all_equal_give_an_honest_no(tmp_path: Path) -> None:
    _, state, _ = optimized(tmp_path, model=FakeImageModel(lambda drawing: 0.5))
    assert not state["outcome"]["improved"]
    assert state["outcome"]["scores"]["learned_initial"]["liking"]["delta"] == 0


def test_a_file_of_one_prompt_is_learned_on_and_says_so(tmp_path: Path) -> None:
    _, state, _ = optimized(tmp_path, prompts=[BatchPrompt("a red apple")])
    assert any("one prompt alone" in warning for warning in state["outcome"]["warnings"])
    assert state["outcome"]["scores"]["learned"]["liking"]["n"] == 1


def test_an_arm_that_gave_way_to_its_children_is_shown_as_replaced(finished: Any) -> None:
    context, *_ = finished
    standings = Trials(context.db, "run-1").standings()
    parents = {arm.instruction.id: arm.instruction.parent for arm in Trials(context.db, "run-1").arms()}
    made_way = {(row.iteration, parents[row.instruction]) for row in standings if row.fate == "born"}
    ended = {(row.iteration, row.instruction): row.fate for row in standings if row.fate in ("replaced", "exhausted")}
    assert ended and {key for key, fate in ended.items() if fate == "replaced"} <= made_way
    for iteration, arm in ended:
        assert all(row.iteration <= iteration for row in standings if row.instruction == arm)


def test_lower_is_better_is_learned_the_other_way_round(tmp_path: Path) -> None:
    scorers = [FakeScorer("loss", higher_is_better=False), FakeScorer("truth", higher_is_better=False, held_out=True)]
    _, state, _ = optimized(tmp_path, model=FakeImageModel(lambda drawing: 1 - taste(drawing) / 1.2), scorers=scorers)
    assert GOOD in state["outcome"]["best"]["text"] and state["outcome"]["improved"]
    assert state["outcome"]["scores"]["learned_initial"]["loss"]["ci95"][1] < 0


def test_an_early_clear_winner_ends_the_search(tmp_path: Path) -> None:
    _, state, _ = optimized(tmp_path, iterations=20, budget=5000)
    assert state["stop"] == "the winner is significantly ahead of the initial instruction"
    assert state["iteration"] + 1 < 20
