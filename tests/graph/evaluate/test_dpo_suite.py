"""The suite of the search for words, made small: on the embedded checkpoint, in two steps a picture. Its numbers mean nothing here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from limner.graph.context import open_context, open_models
from limner.graph.evaluate import dpo_diff
from limner.graph.evaluate.base import run_suite
from limner.graph.models import ModelPool
from limner.graph.settings import Settings
from limner.graph.state import Context
from limner.promptdb.records import Conditioning
from limner.tools.solvers.dpo_diff.settings import NEGATIVE


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Context]:
    values = {"BUDGET": 8, "ATTACK": 8, "PROMPTS": 2, "POOL": 3, "SEEDS": 2, "SMALL": 4, "SEVERAL": 2, "SAMPLED": 6}
    for name, value in values.items():
        monkeypatch.setattr(dpo_diff, name, value)
    settings = Settings(out=str(tmp_path), steps=2, device="cpu")
    with open_context(settings, open_models(settings, ModelPool().lease())) as context:
        yield context


def test_every_claim_has_a_row_and_a_second_start_pays_for_nothing(small: Context) -> None:
    document = run_suite(dpo_diff.SUITE, small)
    rows = {row["name"]: row for row in document["rows"]}
    for search in dpo_diff.SEARCHED:
        assert {f"{search} in {NEGATIVE}: {scorer}" for scorer in ("spherical_clip", "judge", "preference")} <= set(rows)
    for name in (
        "swap: spherical_clip",
        "swap: judge",
        "hybrid less evolution, at equal cost: spherical_clip",
        "evolution less random at 4 image equivalents, search seeds: spherical_clip",
        "swap: share of the hybrid's rows until its final loss, search seeds",
        "random antonym less random synonym: spherical_clip",
        "attack, known words: meaning kept by the filter",
        "attack, known words: spherical_clip",
    ):
        assert rows[name]["target"], name
    assert rows["attack, known words: meaning kept by the filter"]["value"] == 1.0
    assert rows["swap: spherical_clip"]["n"] == 2
    used = small.evaluator.budget.used()["images"]
    assert 0 < used <= dpo_diff.SUITE.pictures(small, False)
    assert run_suite(dpo_diff.SUITE, small)["rows"] == document["rows"]
    assert small.evaluator.budget.used()["images"] == used


def test_what_a_search_reached_is_read_off_its_curve() -> None:
    found = dpo_diff.Found("a cat", Conditioning("a cat"), ((10.0, 0.9), (40.0, 0.7), (90.0, 0.5)), 100.0, 0.0)
    assert [found.at(rows) for rows in (5, 10, 39, 40, 1000)] == [0.9, 0.9, 0.9, 0.7, 0.5]
    assert [found.rows_to(cost) for cost in (0.95, 0.7, 0.4)] == [10.0, 40.0, None]
