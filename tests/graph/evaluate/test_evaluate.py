"""Suites: whether a row passes is computed from its numbers, and the document has the promised shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from limner.graph.evaluate.base import Row, Target, open_suite, run_suite
from limner.graph.state import Context
from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning
from limner.tools.events import Emit
from tests.graph.stage import PROMPT, stage


@pytest.mark.parametrize(
    ("value", "ci95", "target", "passed"),
    [
        (0.5, (0.4, 0.6), Target(">=", 0.5), True),
        (0.49, (0.4, 0.6), Target(">=", 0.5), False),
        (-0.1, (-0.2, -0.01), Target("<", 0, "hi"), True),
        (-0.1, (-0.2, 0.0), Target("<", 0, "hi"), False),
        (0.1, (0.01, 0.2), Target(">", 0, "lo"), True),
        (0.1, None, Target(">", 0, "lo"), False),
        (math.nan, None, Target(">=", 0), False),
        (math.nan, None, Target("<=", 0), False),
        (0.3, (0.2, 0.4), None, None),
    ],
)
def test_a_row_passes_by_its_numbers_alone(
    value: float, ci95: tuple[float, float] | None, target: Target | None, passed: bool | None
) -> None:
    assert Row("row", value, ci95, 10, target).passed is passed


def test_a_row_as_json() -> None:
    assert Row("gain", 0.25, (0.1, math.nan), 4, Target(">", 0, "lo")).to_json() == {
        **{"name": "gain", "value": 0.25, "ci95": [0.1, None], "n": 4, "target": "lower end > 0", "pass": True}
    }


def test_a_suite_becomes_a_document_and_costs_nothing_the_second_time(tmp_path: Path) -> None:
    class OneNumber:
        name = "one"
        summary = "one number"

        def pictures(self, context: Context, full: bool) -> int:
            return 4 if full else 2

        def run(self, context: Context, full: bool, emit: Emit) -> Sequence[Row]:
            found = context.evaluator.evaluate([Conditioning(PROMPT)], PROMPT, range(self.pictures(context, full)), emit=emit)
            return [Row("mean", float(found.mean("liking")[0]), None, len(found.seeds), Target(">=", 2))]

    heard: list[str] = []
    document = run_suite(OneNumber(), stage(tmp_path), False, lambda event: heard.append(event["kind"]))
    assert list(document) == ["suite", "checkpoint", "rows", "used"]
    assert document["rows"][0]["pass"] is False and document["rows"][0]["n"] == 2
    assert document["used"]["images"] == 2 and heard.count("drawn") == 2
    assert run_suite(OneNumber(), stage(tmp_path), False)["used"]["images"] == 0
    assert run_suite(OneNumber(), stage(tmp_path), True)["used"]["images"] == 2


def test_an_unknown_suite_is_answered_with_those_there_are() -> None:
    with pytest.raises(BadInput, match="miniature, rewrite"):
        open_suite("everything")
