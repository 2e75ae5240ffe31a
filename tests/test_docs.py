"""Docs name what exists: paths, modules and the functions of the architecture drawing."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from docs.make_architecture import DRAWING, STATIONS, drawing, stations
from tests.commands import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_CODE = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"(?:agents|graph|tools|serve|promptdb|tests|benchmarks|docs|examples)/[\w./-]*")


def named(page: Path) -> set[str]:
    return set(_CODE.findall(page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_that_a_page_names_exist(page: Path) -> None:
    paths = {name for name in named(page) if _PATH.fullmatch(name)}
    assert {path for path in paths if not (ROOT / path).exists()} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_that_a_page_runs_exist(page: Path) -> None:
    modules = set(re.findall(r"python -m (limner\.[\w.]+|benchmarks\.\w+|tests\.[\w.]+)", page.read_text(encoding="utf-8")))
    assert {name for name in modules if importlib.util.find_spec(name) is None} == set()


def test_the_architecture_page_answers_where_things_are() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for path, name in re.findall(r"`(\w+(?:\.\w+)?)` in `([\w/]+\.py)`", page):
        source = (ROOT / name).read_text(encoding="utf-8")
        for part in path.split("."):
            assert re.search(rf"^\s*(?:class|def|async def) {part}\b|^{part}\b", source, re.MULTILINE), f"{name} has no {part}"


def test_the_drawing_is_what_a_run_does() -> None:
    order = stations()
    assert set(order) == set(STATIONS)
    assert DRAWING.read_text(encoding="utf-8") == drawing(order), "run python docs/make_architecture.py"
