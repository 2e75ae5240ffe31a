"""A refine run in a process of its own, slow enough to be killed: `python slow_run.py FOLDER`. Prints a line for each picture stored."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from limner.graph.context import open_budget
from limner.graph.runner import Control, Stopped, stream_refine
from limner.graph.settings import Settings
from limner.graph.state import Context
from limner.promptdb.store import PromptDB
from limner.serve.terminal.watching import INTERRUPTED, stop_on_signals
from tests.doubles import FakeImageModel
from tests.graph.stage import likes, run_of, stage

SETTINGS = {"heldout_seeds": 6, "seed": 3}
SECONDS = 0.15  # a bucket


def slow_stage(folder: Path, model: FakeImageModel) -> Context:
    """A stage whose budget is stored as that of a real run."""
    settings = Settings(out=str(folder), **SETTINGS)
    budget = open_budget(settings, PromptDB.open(settings.database), "run-1", settings.budget)
    return stage(folder, model, budget=budget, **SETTINGS)


def main(folder: Path) -> int:
    control = Control()

    def slowly(batch: object) -> None:
        time.sleep(SECONDS)
        control.check()

    context = slow_stage(folder, FakeImageModel(likes("sharp"), on_bucket=slowly))
    try:
        with stop_on_signals(control):
            for event in stream_refine(context, run_of(context), control):
                if event["kind"] == "drawn":
                    print("drawn", flush=True)
    except Stopped:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
