"""An optimize run in a process of its own, slow enough to be killed: `python slow_optimize.py FOLDER`. Started again, it goes on.

Prints a line for each picture stored.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from limner.graph.context import open_budget
from limner.graph.runner import stream_optimize
from limner.graph.settings import Settings
from limner.promptdb.store import PromptDB
from tests.doubles import FakeImageModel
from tests.graph.optimize.optimize_stage import optimize_stage, taste

SECONDS = 0.02  # a bucket
BUDGET = 300


def slow_optimize_stage(folder: Path, model: FakeImageModel) -> Any:
    """A stage whose budget is stored as that of a real run."""
    settings = Settings(out=str(folder), budget=BUDGET, heldout_seeds=2, seed=3)
    purse = open_budget(settings, PromptDB.open(settings.database), "run-1", BUDGET)
    return optimize_stage(folder, model, budget=BUDGET, purse=purse, iterations=3)


def main(folder: Path) -> None:
    context, run, start = slow_optimize_stage(folder, FakeImageModel(taste, on_bucket=lambda batch: time.sleep(SECONDS)))
    for event in stream_optimize(context, run, start):
        if event["kind"] == "drawn":
            print("drawn", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
