"""The shape of the code base: imports go downward only, in folders of folders too; the package is this checkout; files stay readable."""

from __future__ import annotations

import ast
import importlib
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("promptdb", "tools", "agents", "graph", "serve", "main")
"""From the bottom up: each may import itself and what stands before it."""

ROOMS = {
    "promptdb": ("general", "search", "generated", "files"),
    "tools": ("prompt_language", "diffusion", "scoring", "lexicon", "solvers", "miniature"),
    "tools/diffusion": ("families", "sampling", "gradients", "remote"),
    "tools/solvers": ("df_prompt", "dpo_diff"),
    "tools/miniature": ("world", "recipe", "checks"),
    "agents": ("llm", "instructions", "chat"),
    "graph": ("refine", "optimize", "chat", "evaluate"),
    "serve": ("reports", "terminal", "commands", "service", "mcp", "web", "http", "cli"),
}
"""The folders in a folder, from the bottom up, by the same rule. Files beside them may be imported by any of them and import any."""

DOCUMENTED = (
    "promptdb", "tools", "agents/contract", "agents/guard", "agents/instruction_directives", "agents/keywords", "agents/opposites",
    "agents/rewriter", "agents/chat", "agents/llm", "agents/instructions", "graph", "serve/cli", "serve/commands", "serve/reports",
    "serve/terminal", "serve/results", "serve/steps", "serve/mcp/results", "api", "main",
    *(f"serve/http/{name}" for name in ("app", "gate", "openai_routes", "routes", "streams", "thread_routes")),
    *(f"serve/service/{name}" for name in ("addresses", "files", "jobs", "live", "pictures", "progress", "queue", "service")),
)  # fmt: skip
"""Folders and modules in which everything public has a docstring."""

LONGEST = 500
LONGEST_FUNCTION = 60
TABS = "serve/web"
"""A tab of gradio is one function: its parts are local names that its callbacks close over."""


def sources(*folders: str) -> list[Path]:
    found: list[Path] = []
    for folder in folders:
        found += (ROOT / folder).rglob("*.py") if (ROOT / folder).is_dir() else [ROOT / f"{folder}.py"]
    assert found
    return found


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> Iterator[str]:
    """Names of all modules that a file imports, inside functions too; of `from a import b` both a and a.b."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def tops(path: Path) -> set[str]:
    """The first names of what a file imports; of the package's own the folder."""
    return {name.split(".")[1 if name.startswith("limner.") else 0] for name in imported(path)}


def module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(["limner", *parts]).removesuffix(".__init__")


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_only_downward(layer: str) -> None:
    above = set(LAYERS[LAYERS.index(layer) + 1 :]) | {"tests", "benchmarks"}
    wrong = {str(path.relative_to(ROOT)): sorted(above & tops(path)) for path in sources(layer)}
    assert {path: names for path, names in wrong.items() if names} == {}


@pytest.mark.parametrize("folder", ROOMS)
def test_imports_between_the_folders_of_a_folder_point_only_downward(folder: str) -> None:
    rooms = ROOMS[folder]
    there = {path.parent.name for path in (ROOT / folder).glob("*/__init__.py")}
    assert there == set(rooms), f"{folder} holds other folders than ROOMS names"
    wrong = []
    for place, room in enumerate(rooms):
        above = {f"limner.{folder.replace('/', '.')}.{name}" for name in rooms[place + 1 :]}
        for path in sources(f"{folder}/{room}"):
            wrong += [(module(path), name) for name in imported(path) if any(f"{name}.".startswith(f"{top}.") for top in above)]
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    known = {module(path): path for path in sources(*LAYERS)}
    edges = {name: {other for other in imported(path) if other in known and other != name} for name, path in known.items()}
    while leaves := {name for name, others in edges.items() if not others & edges.keys()}:
        edges = {name: others for name, others in edges.items() if name not in leaves}
    assert edges == {}


@pytest.mark.parametrize("package", LAYERS)
def test_modules_come_from_this_checkout(package: str) -> None:
    module = importlib.import_module(f"limner.{package}")
    assert module.__file__ is not None
    assert Path(module.__file__).is_relative_to(ROOT)


def test_nothing_is_imported_past_the_package() -> None:
    """`from tools import ...` would work in the checkout, load everything twice, and fail once installed."""
    paths = [*sources(*LAYERS, "benchmarks", "tests")]
    wrong = {str(path.relative_to(ROOT)): {name for name in imported(path) if name.split(".")[0] in LAYERS} for path in paths}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_the_package_lists_every_folder_with_code() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    folders = {module(path) for path in sources(*LAYERS[:-1]) if path.name == "__init__.py"}
    assert set(listed) == {"limner", *folders}
    assert {path.parent for path in sources(*LAYERS[:-1])} == {path.parent for path in sources(*LAYERS[:-1]) if path.name == "__init__.py"}


def test_torchvision_is_never_imported() -> None:
    assert [str(path) for path in sources(*LAYERS, "benchmarks") if "torchvision" in tops(path)] == []


def test_only_the_graph_and_the_layer_above_it_know_langgraph() -> None:
    users = {path.relative_to(ROOT).parts[0] for path in sources(*LAYERS) if "langgraph" in tops(path)}
    assert users <= {"graph"}


def test_no_file_is_too_long_to_read() -> None:
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in sources(*LAYERS, "benchmarks")}
    lengths = {path: len(text.splitlines()) for path, text in texts.items()}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST} == {}


def test_no_function_is_too_long_to_read() -> None:
    long = {}
    for path in (path for path in sources(*LAYERS) if not path.is_relative_to(ROOT / TABS)):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                lines = node.end_lineno - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    long[f"{path.relative_to(ROOT)}:{node.name}"] = lines
    assert long == {}


def undocumented(node: ast.AST, within: str = "") -> Iterator[str]:
    """Names of public classes, functions and methods without a docstring; not those inside functions and private classes."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            if not ast.get_docstring(child):
                yield f"{within}{child.name}"
            if isinstance(child, ast.ClassDef):
                yield from undocumented(child, f"{within}{child.name}.")


@pytest.mark.parametrize("part", DOCUMENTED)
def test_everything_public_has_a_docstring(part: str) -> None:
    missing = {str(path.relative_to(ROOT)): sorted(undocumented(tree(path))) for path in sources(part)}
    assert {path: names for path, names in missing.items() if names} == {}


def test_every_module_says_what_it_does() -> None:
    silent = [str(path.relative_to(ROOT)) for path in sources(*LAYERS) if not ast.get_docstring(tree(path))]
    assert silent == []
