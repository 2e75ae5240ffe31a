"""Runs that are stopped, killed and resumed: nothing stored is done twice, and the end is that of an undisturbed run."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph

from limner.graph.nodes import node
from limner.graph.refine.graph import build_refine
from limner.graph.runner import Control, Stopped, new_run_id, refine_state, resumable, stored_graph, stream_refine
from limner.graph.state import Context, RefineState
from limner.promptdb.errors import BadInput
from limner.promptdb.runs import Runs
from tests.doubles import FakeImageModel
from tests.graph.slow_run import slow_stage
from tests.graph.stage import PROMPT, likes, refined, run_of, stage
from tests.graph.test_solvers import Painter

ROOT = Path(__file__).parents[2]
OLD_NODES = ("retrieve", "rewrite", "adapter", "df-prompt", "dpo-diff", "gather", "search", "select", "heldout", "finish")


def old_graph(method: str) -> StateGraph[RefineState, Context, RefineState, RefineState]:
    """As earlier versions drew it for every method: nodes that were not asked for answered so."""
    wanted = build_refine(method).nodes
    graph = StateGraph(RefineState, context_schema=Context)
    for name in OLD_NODES:
        graph.add_node(name, wanted[name].runnable if name in wanted else node(name)(lambda state, runtime: {"note": "not asked for"}))
    for before, after in pairwise([START, *OLD_NODES, END]):
        graph.add_edge(before, after)
    return graph


WHOLE = 4 * 2 + 2 * 6  # pictures of an undisturbed run of slow_run.py: the search, then the check


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    context = slow_stage(tmp_path_factory.mktemp("undisturbed"), FakeImageModel(likes("sharp")))
    state, _ = refined(context)
    return {"outcome": state["outcome"], "search": state["search"], "spent": dict(context.evaluator.budget.spent)}


def started(folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = str(ROOT / "tests" / "graph" / "slow_run.py")
    return subprocess.Popen([sys.executable, script, str(folder)], stdout=subprocess.PIPE, text=True, env=environment)


def signalled(folder: Path, after: int, number: signal.Signals) -> int:
    """Start the slow run, send the signal once `after` pictures are stored; its exit code."""
    process = started(folder)
    assert process.stdout is not None
    for _ in range(after):
        assert process.stdout.readline() == "drawn\n"
    process.send_signal(number)
    asked = time.monotonic()
    process.stdout.read()
    code = process.wait(timeout=30)
    assert time.monotonic() - asked < 5
    return code


def resumed(folder: Path) -> tuple[Context, FakeImageModel, dict[str, Any]]:
    model = FakeImageModel(likes("sharp"))
    context = slow_stage(folder, model)
    state, _ = refined(context)
    return context, model, {"outcome": state["outcome"], "search": state["search"], "spent": dict(context.evaluator.budget.spent)}


@pytest.mark.parametrize("after", [1, 5, 14], ids=["first batch", "search", "held-out check"])
def test_a_killed_run_ends_as_an_undisturbed_one_and_repeats_one_batch_at_most(
    tmp_path: Path, undisturbed: dict[str, Any], after: int
) -> None:
    assert signalled(tmp_path, after, signal.SIGKILL) == -signal.SIGKILL
    context, model, end = resumed(tmp_path)
    assert end == undisturbed
    assert len(model.drawn) <= WHOLE - after
    assert context.evaluator.budget.used()["repeated"] <= model.bucket
    assert context.chat.asked == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("written", [True, False], ids=["after a node's writes", "before them"])
def test_a_run_cut_off_at_any_checkpoint_ends_as_an_undisturbed_one(tmp_path: Path, written: bool) -> None:
    whole = tmp_path / "whole"
    undisturbed = stage(whole)
    end = refined(undisturbed)[0]["outcome"]
    undisturbed.db.close()
    for place, last in enumerate(_checkpoints(whole)[:-1]):
        cut = tmp_path / str(place)
        shutil.copytree(whole, cut)
        _forget_what_came_after(cut, last, written)
        state, events = refined(stage(cut))
        assert events[0]["resumed"] and events[-1]["kind"] == "finished"
        assert state["outcome"] == end
        assert state["path"][-1]["node"] == "finish"


def _checkpoints(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "limner.db")) as threads:
        return [row[0] for row in threads.execute("SELECT checkpoint_id FROM checkpoints ORDER BY checkpoint_id")]


def _forget_what_came_after(folder: Path, checkpoint: str, written: bool) -> None:
    """As a kill leaves it: `checkpoint` is the last; the writes of the node after it are there or not."""
    with closing(sqlite3.connect(folder / "limner.db")) as threads, threads:
        threads.execute("DELETE FROM checkpoints WHERE checkpoint_id > ?", (checkpoint,))
        threads.execute(f"DELETE FROM writes WHERE checkpoint_id {'>' if written else '>='} ?", (checkpoint,))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_a_run_within_seconds_with_130_and_state_kept(
    tmp_path: Path, undisturbed: dict[str, Any], number: signal.Signals
) -> None:
    assert signalled(tmp_path, 5, number) == 130
    with stage(tmp_path).db as db:
        run = Runs(db).get("run-1")
        assert run is not None and run.status == "interrupted"
    _, model, end = resumed(tmp_path)
    assert end == undisturbed
    assert len(model.drawn) <= WHOLE - 5


def test_a_run_asked_to_stop_between_nodes_goes_on_at_the_next(tmp_path: Path) -> None:
    control, context = Control(), stage(tmp_path)
    seen: list[str] = []
    with pytest.raises(Stopped, match="--resume run-1"):
        for event in stream_refine(context, run_of(context), control):
            if event["kind"] == "node" and event["phase"] == "start":
                seen.append(event["node"])
                if event["node"] == "gather":
                    control.request_drain("test")
    assert seen[-1] in ("gather", "search")
    again = stage(tmp_path)
    state, events = refined(again)
    assert events[0]["resumed"]
    assert "rewrite" not in [event["node"] for event in events if event["kind"] == "node"]
    assert state["outcome"]["improved"]


@pytest.mark.parametrize("method", ["rewrite", "df-prompt", "dpo-diff"])
@pytest.mark.parametrize("place", range(1, len(OLD_NODES)))
def test_a_run_stopped_by_a_version_whose_graph_had_every_node_ends_as_an_undisturbed_one(tmp_path: Path, method: str, place: int) -> None:
    solvers = {name: lambda: Painter(["a red apple, painted"]) for name in ("df-prompt", "dpo-diff")}
    end = refined(stage(tmp_path / "whole", solvers=solvers), method)[0]["outcome"]
    context = stage(tmp_path / "old", solvers=solvers)
    start = {"run": "run-1", "prompt": PROMPT, "method": method}
    with stored_graph(partial(old_graph, method), context.db) as graph:
        graph.invoke(start, {"configurable": {"thread_id": "run-1"}}, context=context, interrupt_before=[OLD_NODES[place]])
    state, events = refined(stage(tmp_path / "old", solvers=solvers), method)
    assert events[0]["resumed"] and state["outcome"] == end


def test_a_finished_run_is_told_again_without_work(tmp_path: Path) -> None:
    first, _ = refined(stage(tmp_path))
    model = FakeImageModel(likes("sharp"))
    context = stage(tmp_path, model)
    events = list(stream_refine(context, run_of(context)))
    assert [event["kind"] for event in events] == ["started", "finished"]
    assert events[-1]["outcome"] == first["outcome"] and model.calls == 0


def test_an_error_leaves_the_run_failed_and_resumable(tmp_path: Path) -> None:
    def broken(batch: object) -> None:
        raise RuntimeError("the device is lost")

    context = stage(tmp_path, FakeImageModel(likes("sharp"), on_bucket=broken))
    with pytest.raises(RuntimeError, match="device is lost"):
        refined(context)
    run = Runs(context.db).get("run-1")
    assert run is not None and run.status == "failed"
    assert refined(stage(tmp_path))[0]["outcome"]["improved"]


def test_whoever_stops_listening_leaves_an_interrupted_run(tmp_path: Path) -> None:
    context = stage(tmp_path)
    events = stream_refine(context, run_of(context))
    for _ in range(4):
        next(events)
    events.close()  # type: ignore[attr-defined]
    run = Runs(context.db).get("run-1")
    assert run is not None and run.status == "interrupted"


def test_runs_are_told_apart(tmp_path: Path) -> None:
    context = stage(tmp_path)
    refined(context)
    assert resumable(context.db, "run-1", "refine")[1] == context.settings
    with pytest.raises(BadInput, match="no run 'run-9'"):
        resumable(context.db, "run-9", "refine")
    with pytest.raises(BadInput, match="is a refine, not a generate"):
        resumable(context.db, "run-1", "generate")
    assert refine_state(context, "run-9") == {}
    assert len({new_run_id("refine") for _ in range(50)}) == 50


def test_state_needs_no_class_of_ours_to_be_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    state, _ = refined(stage(tmp_path))
    strict = JsonPlusSerializer(allowed_msgpack_modules=None)
    assert strict.loads_typed(strict.dumps_typed(dict(state))) == state
