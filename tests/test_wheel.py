"""What `pip install limner` brings: the program with its weights, seed and templates, from any folder, and nothing called `tools`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.commands import ROOT

FOLDERS = ("agents", "graph", "promptdb", "serve", "tools", "tests", "main.py")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel; its dependencies are those of the environment that runs the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a build in the checkout would leave files there that a later wheel takes for current
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "runs", "build", "tests", "__pycache__", "*.egg-info"))
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (wheel,) = folder.glob("limner-*.whl")
    venv.create(folder / "fresh", with_pip=False)
    python = folder / "fresh" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)], check=True)
    (site,) = (folder / "fresh" / "lib").glob("python*/site-packages")
    # As lines of a .pth these folders are searched last, and their own .pth files (the editable install) are not read.
    (site / "dependencies.pth").write_text("".join(f"{path}\n" for path in sys.path if path.endswith("site-packages")))
    return folder / "fresh"


def test_it_puts_one_name_with_its_data_into_site_packages(installed: Path) -> None:
    (site,) = (installed / "lib").glob("python*/site-packages")
    assert (site / "limner" / "tools").is_dir()
    assert [name for name in FOLDERS if (site / name).exists()] == []
    assert not (site / "limner" / "tests").exists()
    data = ("promptdb/seed/naive.jsonl", "promptdb/seed/professional.jsonl", "promptdb/seed/general.jsonl")
    making = ("promptdb/general/scenes.txt", "promptdb/general/manners.toml")
    assert [name for name in (*data, *making) if not (site / "limner" / name).is_file()] == []


def test_it_refines_from_any_folder(installed: Path, tmp_path: Path) -> None:
    options = ["--budget", "14", "--variants", "2", "--heldout-seeds", "2", "--steps", "4", "--json"]
    command = [str(installed / "bin" / "limner"), "refine", "a red car on a beach", "--method", "rewrite", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (tmp_path / document["report"]).is_file()
    assert document["used"]["images"] > 0
