"""The door for Python programs: the page's code and the examples run as they stand, and what comes back is typed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from limner.graph.settings import Settings
from limner.serve.commands import run_list
from tests.commands import ROOT

PAGE = ROOT / "docs" / "python.md"
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Python elsewhere than in the checkout, as a program that uses the installed package does."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=110)


def test_the_code_of_the_page_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    (tmp_path / "page.py").write_text("\n".join(blocks), encoding="utf-8")
    done = python(tmp_path, "page.py")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "preference" in done.stdout and "trying:" in done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(example: Path, tmp_path: Path) -> None:
    done = python(tmp_path, str(example))
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()


def test_there_are_the_six_examples_that_the_page_lists() -> None:
    listed = set(re.findall(r"examples/(\w+)\.py", PAGE.read_text(encoding="utf-8")))
    assert listed == {path.stem for path in EXAMPLES} and len(listed) == 6


def test_importing_the_door_loads_nothing_heavy(tmp_path: Path) -> None:
    look = "import sys, limner; print([name for name in ('torch', 'langgraph', 'diffusers', 'numpy') if name in sys.modules], dir(limner))"
    done = python(tmp_path, "-c", look)
    assert done.stdout.startswith("[]") and "'refine'" in done.stdout


def test_an_error_of_the_callback_ends_the_run_and_passes_through(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import limner\n"
        "def stop(event):\n"
        "    if event['kind'] == 'drawn':\n"
        "        raise KeyError('mine')\n"
        "limner.refine('a red car', method='rewrite', budget=14, variants=2, heldout_seeds=2, on_event=stop)\n"
    )
    done = python(tmp_path, "program.py")
    assert done.stderr.strip().splitlines()[-1] == "KeyError: 'mine'", done.stderr[-2000:]
    assert "Exception ignored" not in done.stderr
    (row,) = run_list.runs(Settings(out=str(tmp_path / "runs")), 10)
    assert row["status"] == "interrupted"
