"""`auto`: one budget shared out by what each strategy has gained; nobody overdraws it, and the check is always whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from limner.graph.refine.auto import EXTRA, ucb
from limner.graph.runner import Control, Stopped, stream_refine
from limner.graph.state import SliceRow
from limner.promptdb.records import Conditioning, EffectSpan
from limner.tools.evaluator import Evaluator
from limner.tools.solvers.base import Emit, Task
from tests.doubles import FakeImageModel, hashed_value
from tests.graph.stage import PROMPT, likes, refined, run_of, stage


class Climber:
    """A Solver that adds one more `word` to the best it is handed, each time it is asked; it draws `draws` pictures on the way."""

    def __init__(self, name: str, word: str, draws: int = 2) -> None:
        self.name, self.word, self.draws = name, word, draws
        self.starts: list[tuple[str, ...]] = []

    def missing(self, evaluator: Evaluator) -> str:
        return ""

    def solve(self, task: Task, evaluator: Evaluator, rng: np.random.Generator, emit: Emit) -> Sequence[Conditioning]:
        self.starts.append(tuple(item.text for item in task.start))
        for number in range(self.draws):
            evaluator.evaluate([Conditioning(f"{self.name} {len(self.starts)} {number}")], task.reference, task.seeds[:1], emit=emit)
        return [Conditioning(f"{task.start[0].text}, {self.word}")]


def climbing(word: str):
    """Each `word` in the prompt is worth 0.1."""
    return lambda drawing: min(0.99, 0.05 * hashed_value(drawing) + 0.1 * drawing.conditioning.text.count(word))


def both(useful: Climber, useless: Climber):
    return {"df-prompt": lambda: useful, "dpo-diff": lambda: useless}


def test_everybody_gets_a_slice_and_who_gains_gets_the_rest(tmp_path: Path) -> None:
    useful, useless = Climber("df-prompt", "vivid"), Climber("dpo-diff", "grey")
    state, _ = refined(stage(tmp_path, FakeImageModel(climbing("vivid")), solvers=both(useful, useless), images=80, heldout_seeds=4))
    order = [row["strategy"] for row in state["slices"]]
    assert order[:3] == ["rewrite", "df-prompt", "dpo-diff"] and len(order) >= 3 + EXTRA
    assert order.count("df-prompt") > order.count("dpo-diff")
    assert state["outcome"]["improved"] and state["outcome"]["result"]["conditioning"]["text"].count("vivid") >= 3


def test_a_solver_starts_from_what_another_found(tmp_path: Path) -> None:
    useful, useless = Climber("df-prompt", "vivid"), Climber("dpo-diff", "grey")
    refined(stage(tmp_path, FakeImageModel(climbing("vivid")), solvers=both(useful, useless), images=80, heldout_seeds=4))
    assert useless.starts[0][0].endswith("vivid")


@pytest.mark.parametrize("images", [14, 24, 40, 100])
def test_the_budget_is_never_overdrawn_and_the_check_is_whole(tmp_path: Path, images: int) -> None:
    greedy = {name: (lambda name=name: Climber(name, "vivid", draws=1000)) for name in ("df-prompt", "dpo-diff")}
    context = stage(tmp_path, FakeImageModel(likes("sharp")), solvers=greedy, images=images, heldout_seeds=4)
    state, _ = refined(context)
    assert context.evaluator.budget.spent["images"] <= images
    assert state["outcome"]["scores"]["liking"]["n"] == 4
    assert sum(row["images"] for row in state["slices"]) <= images - 8 + 1e-6


def test_gradient_rows_count_against_the_slice(tmp_path: Path) -> None:
    class Gradients(Climber):
        def solve(self, task: Task, evaluator: Evaluator, rng: np.random.Generator, emit: Emit) -> Sequence[Conditioning]:
            evaluator.budget.spend(unet_rows=5 * 8)  # five images' worth, none drawn
            return super().solve(task, evaluator, rng, emit)

    solvers = {"dpo-diff": lambda: Gradients("dpo-diff", "vivid", draws=0)}
    state, _ = refined(stage(tmp_path, FakeImageModel(climbing("vivid")), solvers=solvers, images=80, heldout_seeds=4))
    assert all(row["images"] >= 5 for row in state["slices"] if row["strategy"] == "dpo-diff")


def test_one_strategy_alone_has_the_whole_share(tmp_path: Path) -> None:
    auto, _ = refined(stage(tmp_path / "auto"))
    single, _ = refined(stage(tmp_path / "single"), method="rewrite")
    assert auto["outcome"] == single["outcome"]
    assert [row["strategy"] for row in auto["slices"]] == ["rewrite"]


def test_a_run_stopped_in_the_middle_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    def solvers():
        return both(Climber("df-prompt", "vivid"), Climber("dpo-diff", "grey"))

    def context(folder: Path):
        return stage(folder, FakeImageModel(climbing("vivid")), solvers=solvers(), images=80, heldout_seeds=4)

    whole, _ = refined(context(tmp_path / "whole"))
    control, first = Control(), context(tmp_path / "cut")
    with pytest.raises(Stopped):
        for event in stream_refine(first, run_of(first), control):
            if event["kind"] == "node" and event["phase"] == "end" and event["node"] == "df-prompt":
                control.request_drain("test")
    second = context(tmp_path / "cut")
    state, events = refined(second)
    assert events[0]["resumed"] and state["outcome"] == whole["outcome"]
    assert state["outcome"]["result"]["conditioning"]["text"] != PROMPT


def test_ucb_prefers_the_untried_then_the_better_then_the_less_tried() -> None:
    def row(strategy: str, reward: float) -> SliceRow:
        return {"strategy": strategy, "images": 4, "candidates": 1, "gain": reward, "reward": reward}

    first = ucb([row("rewrite", 1.0)], ["rewrite", "df-prompt"])
    assert first["df-prompt"] == float("inf") and first["rewrite"] == 1.0
    even = ucb([row("rewrite", 1.0), row("rewrite", 0.0), row("df-prompt", 0.5)], ["rewrite", "df-prompt"])
    assert even["df-prompt"] > even["rewrite"]


def test_the_users_prompt_is_in_the_population_even_where_a_timed_candidate_reserves_what_is_left(tmp_path: Path) -> None:
    class Timer(Climber):
        def solve(self, task: Task, evaluator: Evaluator, rng: np.random.Generator, emit: Emit) -> Sequence[Conditioning]:
            return [Conditioning(item.text, spans=(EffectSpan(0, 5, "1/2", "1"),)) for item in task.start]  # type: ignore[arg-type]

    solvers = {"df-prompt": lambda: Timer("df-prompt", "vivid")}
    state, _ = refined(stage(tmp_path, FakeImageModel(likes("sharp")), solvers=solvers, images=26, heldout_seeds=8))
    assert state["population"][0]["origin"] == "user" and len(state["population"]) > 1
