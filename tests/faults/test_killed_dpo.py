"""kill -9 in the middle of a search for words: on captions and on in-world prompts it ends as if nothing had happened, at the same cost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.commands import ROOT, process
from tests.prompt_samples import CAPTIONS, prompts

PROMPTS = 5  # of each kind
WEIGHTS = ROOT / "tools" / "miniature" / "weights"
SMALL = ("--budget", 48, "--heldout-seeds", 3, "--steps", 12, "--json")
PATIENCE = 300.0


def hard_prompts() -> list[str]:
    """The checkpoint's own, as it marks them; those held out where it marks none."""
    named = json.loads((WEIGHTS / "card.json").read_text(encoding="utf-8"))["prompts"]
    file = WEIGHTS / named.get("hard.heldout", named["heldout"])
    return [json.loads(line)["prompt"] for line in file.read_text(encoding="utf-8").splitlines()[:PROMPTS]]


def killed(arguments: Sequence[object], out: Path, pictures: int) -> bool:
    """Start, and kill -9 once so many pictures are stored; whether it was still running."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    program = [sys.executable, str(ROOT / "main.py"), *map(str, arguments)]
    child = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT, env=environment)
    deadline = time.monotonic() + PATIENCE
    while child.poll() is None and time.monotonic() < deadline and stored_pictures(out) < pictures:
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait(timeout=30)
    return child.returncode == -signal.SIGKILL


def stored_pictures(out: Path) -> int:
    return len(list((out / "images").rglob("*.png"))) if (out / "images").is_dir() else 0


def told(document: dict[str, Any]) -> dict[str, Any]:
    """What two runs must agree on."""
    return {name: document[name] for name in ("result", "improved", "scores", "prompt")}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["caption", "hard"])
@pytest.mark.parametrize("place", range(PROMPTS))
@pytest.mark.parametrize("name", ["refine", "attack"])
def test_a_killed_search_ends_as_an_undisturbed_one_and_pays_the_same(tmp_path: Path, kind: str, place: int, name: str) -> None:
    prompt = (prompts(CAPTIONS) if kind == "caption" else hard_prompts())[place]
    method = ("--method", "dpo-diff") if name == "refine" else ()
    whole = process(name, prompt, *method, *SMALL, "--out", tmp_path / "whole")
    assert whole.code == 0, whole.err
    out = tmp_path / "killed"
    drawn = stored_pictures(tmp_path / "whole")
    assert killed([name, prompt, *method, *SMALL, "--out", out], out, drawn // 3), "it ended before it could be killed"
    [run] = process("runs", "list", "--out", out, "--json").document
    resumed = process(name, "--resume", run["run"], "--out", out, "--json")
    assert resumed.code == 0, resumed.err
    assert told(resumed.document) == told(whole.document)
    used, paid = resumed.document["used"], whole.document["used"]
    assert used["images"] - used["repeated"] <= paid["images"]
    assert used["unet_rows"] <= paid["unet_rows"] * (1 + used["repeated"] / paid["images"]) + 1e-6
    assert stored_pictures(out) == drawn
