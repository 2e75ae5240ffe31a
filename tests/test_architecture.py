"""The shape of the code base: imports go downward only, the packages are this checkout's, files stay readable."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("promptdb", "tools", "agents", "graph", "serve", "main")
"""From the bottom up: each may import itself and what stands before it."""

LONGEST = 350


def sources(*folders: str) -> list[Path]:
    found: list[Path] = []
    for folder in folders:
        found += (ROOT / folder).rglob("*.py") if (ROOT / folder).is_dir() else [ROOT / f"{folder}.py"]
    assert found
    return found


def imported(path: Path) -> Iterator[str]:
    """Top-level names of everything that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_only_downward(layer: str) -> None:
    above = set(LAYERS[LAYERS.index(layer) + 1 :]) | {"tests", "benchmarks"}
    wrong = {str(path.relative_to(ROOT)): sorted(above & set(imported(path))) for path in sources(layer)}
    assert {path: names for path, names in wrong.items() if names} == {}


@pytest.mark.parametrize("package", LAYERS[:-1])
def test_packages_come_from_this_checkout(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__file__ is not None
    assert Path(module.__file__).parent == ROOT / package


def test_torchvision_is_never_imported() -> None:
    assert [str(path) for path in sources(*LAYERS, "benchmarks") if "torchvision" in imported(path)] == []


def test_only_the_graph_and_the_layer_above_it_know_langgraph() -> None:
    users = {path.relative_to(ROOT).parts[0] for path in sources(*LAYERS) if "langgraph" in imported(path)}
    assert users <= {"graph"}


def test_no_file_is_too_long_to_read() -> None:
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in sources(*LAYERS, "benchmarks")}
    lengths = {path: len(text.splitlines()) for path, text in texts.items()}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST} == {}


def test_every_module_says_what_it_does() -> None:
    trees = {str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in sources(*LAYERS)}
    silent = [path for path, tree in trees.items() if not ast.get_docstring(tree)]
    assert silent == []
