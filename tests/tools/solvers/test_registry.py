"""The table of methods: what derives from it, and methods and scorers that another package brings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from limner.graph.chat import tools
from limner.graph.refine.auto import STRATEGIES, build_auto
from limner.graph.solvers import METHODS, TOOLS
from limner.promptdb.errors import BadInput
from limner.serve.service.requests import RefineAsk
from limner.tools.options import options_of
from limner.tools.solvers import registry
from limner.tools.solvers.dpo_diff.settings import DpoSettings
from tests.commands import ROOT, Result, process

PACKAGE = """
from dataclasses import dataclass
import numpy as np
from limner.promptdb.records import Conditioning


@dataclass
class Shout:
    name: str = "shout"

    def missing(self, evaluator):
        return ""

    def solve(self, task, evaluator, rng, emit):
        return [Conditioning(task.reference + ", LOUD")]


class Even:
    name, version, higher_is_better, held_out = "even", "1", True, False

    def __init__(self, device):
        self.device = device

    def score(self, images, texts):
        return np.full(len(texts), 0.5, np.float32)
"""

ENTRY_POINTS = """
[limner.solvers]
shout = shouting:Shout
rewrite = shouting:Shout
broken = shouting:Absent

[limner.scorers]
even = shouting:Even
clip = shouting:Even
torn = shouting:Absent
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process in which a package is installed that brings a method and a scorer."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "shouting.py").write_text(PACKAGE, encoding="utf-8")
    facts = folder / "shouting-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting\nVersion: 1.0\n", encoding="utf-8")
    (facts / "entry_points.txt").write_text(ENTRY_POINTS, encoding="utf-8")
    return {**os.environ, "PYTHONPATH": str(folder)}


SMALL = ("--heldout-seeds", 2, "--search-seeds", 1, "--variants", 2, "--json")


def test_the_names_come_from_the_table() -> None:
    assert tuple(method.name for method in registry.REGISTRY) == METHODS
    assert ("auto", "rewrite", *TOOLS) == METHODS and ("rewrite", *TOOLS) == STRATEGIES
    assert all(name in registry.HELP for name in METHODS)
    assert RefineAsk.model_json_schema()["properties"]["method"]["anyOf"][0]["enum"] == [*METHODS]
    assert get_args(get_type_hints(tools.run_solver.func)["method"]) == METHODS  # type: ignore[attr-defined]


def test_every_solver_of_the_table_can_be_opened_and_bears_its_name() -> None:
    assert {name: make().name for name, make in registry.solvers().items()} == {name: name for name in registry.solvers()}


def test_auto_goes_from_allot_to_every_strategy_or_to_the_end_of_the_search() -> None:
    drawn = build_auto().compile().get_graph()
    assert {edge.target for edge in drawn.edges if edge.source == "allot"} == {*STRATEGIES, "gather"}


def test_a_search_of_before_goes_by_its_new_name() -> None:
    assert DpoSettings(search="limner").search == "swap"
    assert DpoSettings.from_json({"space": "antonym", "search": "limner", "unheard": 1}) == DpoSettings("antonym", "swap")
    (search,) = (item for item in options_of(DpoSettings) if item.name == "search")
    assert "limner" not in search.help


def candidates(package: dict[str, str], result: Result, out: Path) -> str:
    assert result.code == 0, result.err
    return process("runs", "show", result.document["run"], "--out", out, "--json", env=package).out


def test_a_package_adds_a_method_and_a_scorer(package: dict[str, str], tiny: Path, tmp_path: Path) -> None:
    own = ("--method", "shout", "--scorer", "even", "--budget", 14, "--out", tmp_path)
    result = process("refine", "a red cat", "--checkpoint", tiny, *own, *SMALL, env=package)
    assert "a red cat, LOUD" in candidates(package, result, tmp_path)
    assert result.document["method"] == "shout" and result.document["scores"]["even"]["delta"] == 0
    assert "shouting adds a method 'rewrite', which there is already" in result.err


def test_auto_shares_its_budget_with_a_packages_method_and_passes_a_broken_one_by(
    package: dict[str, str], tiny: Path, tmp_path: Path
) -> None:
    result = process("refine", "a red cat", "--checkpoint", tiny, "--budget", 40, "--out", tmp_path, *SMALL, env=package)
    assert "a red cat, LOUD" in candidates(package, result, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--method", "broken"), "the solver of the method broken, shouting:Absent, cannot be opened"),
        (("--scorer", "torn"), "scorer 'torn' of the entry point shouting:Absent cannot be opened"),
        (("--method", "magic"), "choose one of auto, rewrite, adapter, df-prompt, dpo-diff, broken, shout"),
    ],
)
def test_a_broken_package_is_one_line(package: dict[str, str], tiny: Path, tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    result = process("refine", "a red cat", *arguments, "--checkpoint", tiny, "--budget", 14, "--out", tmp_path, *SMALL, env=package)
    assert result.code == 2 and words in result.err.splitlines()[-1]


def test_a_package_replaces_nothing_of_ours(package: dict[str, str]) -> None:
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "from limner.tools.scoring.registry import locate, packaged\n"
        "from limner.tools.solvers.registry import registry\n"
        "print(registry()['rewrite'].solver or 'ours', sorted(packaged()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=package)
    assert done.stdout.strip() == "ours ['even', 'torn']", done.stderr


def test_solvers_that_are_there_can_be_made_and_a_missing_module_is_named() -> None:
    with pytest.raises(BadInput, match="no_such_module"):
        registry.Method("x", "", "no_such_module:Solver").open()
