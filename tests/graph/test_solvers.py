"""Solvers as nodes: called where asked for, passed by with a reason, kept from the images of the held-out check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from limner.graph.solvers import METHODS, TOOLS, check_method
from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning
from limner.tools.evaluator import Evaluator
from limner.tools.solvers.base import Emit, Task
from limner.tools.solvers.df_prompt.sliding import PLACES
from tests.doubles import FakeImageModel
from tests.graph.stage import PROMPT, likes, refined, stage


class Painter:
    """A Solver that proposes fixed texts, after drawing `draws` pictures of its own."""

    name = "adapter"

    def __init__(self, texts: Sequence[str], draws: int = 0, reason: str = "") -> None:
        self.texts, self.draws, self.reason = texts, draws, reason
        self.tasks: list[Task] = []

    def missing(self, evaluator: Evaluator) -> str:
        return self.reason

    def solve(self, task: Task, evaluator: Evaluator, rng: np.random.Generator, emit: Emit) -> Sequence[Conditioning]:
        self.tasks.append(task)
        for number in range(self.draws):
            evaluator.evaluate([Conditioning(f"{PROMPT}, try {number}")], task.reference, task.seeds[:1], emit=emit)
        return [Conditioning(text) for text in self.texts]


def test_a_solver_starts_from_the_rewrites_and_its_candidate_can_win(tmp_path: Path) -> None:
    painter = Painter(["a red apple, painted by hand"])
    state, _ = refined(stage(tmp_path, FakeImageModel(likes("painted")), solvers={"adapter": lambda: painter}))
    task = painter.tasks[0]
    assert task.reference == PROMPT and task.seeds == (0, 1)
    texts = {item.text for item in task.start}
    assert {PROMPT, "a red apple, sharp focus"} <= texts
    scores = state["search"]
    assert [item.id for item in task.start] == [key for key in scores if key in {item.id for item in task.start}]  # best first
    assert state["outcome"]["improved"] and state["outcome"]["result"]["origin"] == "adapter"


def test_what_is_not_there_is_passed_by_with_a_reason(tmp_path: Path) -> None:
    painter = Painter(["never drawn"], reason="the card names no adapter weights")
    state, events = refined(stage(tmp_path, solvers={"adapter": lambda: painter}))
    reasons = {row["method"]: row["reason"] for row in state["skipped"]}
    assert reasons["adapter"] == "the card names no adapter weights"
    assert set(reasons) == set(TOOLS)
    assert [event["method"] for event in events if event["kind"] == "skipped"] == list(TOOLS)
    assert not painter.tasks


def test_rewrite_leaves_the_solvers_alone(tmp_path: Path) -> None:
    painter = Painter(["a red apple, painted by hand"])
    state, _ = refined(stage(tmp_path, solvers={"adapter": lambda: painter}), method="rewrite")
    assert not painter.tasks
    assert state.get("skipped", []) == []


def test_a_solver_cannot_spend_what_search_and_check_need(tmp_path: Path) -> None:
    context = stage(tmp_path, solvers={"adapter": lambda: Painter([], draws=100)}, heldout_seeds=4)
    state, _ = refined(context)
    assert any("adapter ended early" in text for text in state["warnings"])
    assert state["outcome"]["scores"]["liking"]["n"] == 4
    assert context.evaluator.budget.spent["images"] <= context.settings.budget


@pytest.mark.parametrize(("method", "strip"), [("adapter", 0), ("df-prompt", PLACES), ("dpo-diff", 0)])
def test_a_solver_alone_has_all_but_what_comes_after_it_in_images_and_in_rows(tmp_path: Path, method: str, strip: int) -> None:
    found: list[tuple[float, float, float]] = []

    class Spender(Painter):
        def solve(self, task: Task, evaluator: Evaluator, rng: np.random.Generator, emit: Emit) -> Sequence[Conditioning]:
            budget = evaluator.budget
            before = evaluator.budget.left("images")
            evaluator.charge(2.5 * evaluator.rows_per_image)  # gradients
            found.append((before, budget.left("images"), budget.left("unet_rows") / evaluator.rows_per_image))
            return super().solve(task, evaluator, rng, emit)

    context = stage(tmp_path, solvers={method: lambda: Spender([])}, variants=[], images=60, heldout_seeds=4)
    refined(context, method)
    left = 60 - 2 * (4 + 2) - strip
    assert found == [(left, left, left - 2.5)]


def test_a_resumed_solver_ends_where_an_undisturbed_one_does_though_it_had_paid_for_gradients(tmp_path: Path) -> None:
    evaluator = stage(tmp_path, images=60).evaluator
    evaluator.budget.spend(images=10, unet_rows=15 * evaluator.rows_per_image)
    part = evaluator.image_equivalents(keep=20)
    assert part.left("images") == 30 and part.left("unet_rows") == (40 - 15) * evaluator.rows_per_image


def test_under_auto_solvers_share_what_is_left(tmp_path: Path) -> None:
    counts = {}
    for names in (("df-prompt",), ("df-prompt", "dpo-diff")):
        context = stage(tmp_path / "-".join(names), solvers={name: lambda: Painter([], draws=100) for name in names}, heldout_seeds=4)
        state, events = refined(context)
        ended = [text for text in state["warnings"] if "ended early" in text]
        assert [text.split()[0] for text in ended] == list(names)
        starts = [place for place, event in enumerate(events) if event["kind"] == "node" and event["node"] == "df-prompt"]
        counts[names] = sum(event["kind"] == "drawn" for event in events[starts[0] : starts[1]])
    alone, shared = counts.values()
    compared = 4 * 2  # the prompt and what was rewritten, on the search seeds
    assert 0 < shared - compared < alone - compared  # one slice each, and each smaller where more ask


def test_proposals_that_lost_a_pin_are_refused(tmp_path: Path) -> None:
    painter = Painter(["a red fruit", "a red apple, painted"])
    state, _ = refined(stage(tmp_path, solvers={"adapter": lambda: painter}, pins=("apple",)))
    assert "a red fruit" not in [row["conditioning"]["text"] for row in state["candidates"]]
    assert {"origin": "adapter", "reason": "lost pin", "count": 1} in state["dropped"]


def test_a_method_asked_for_by_name_must_be_able_to_run(tmp_path: Path) -> None:
    evaluator = stage(tmp_path).evaluator
    check_method("auto", {}, evaluator)
    check_method("adapter", {"adapter": lambda: Painter([])}, evaluator)
    with pytest.raises(BadInput, match="no solver"):
        check_method("dpo-diff", {}, evaluator)
    with pytest.raises(BadInput, match="no weights"):
        check_method("adapter", {"adapter": lambda: Painter([], reason="no weights")}, evaluator)
    with pytest.raises(BadInput, match=", ".join(METHODS)):
        check_method("magic", {}, evaluator)
