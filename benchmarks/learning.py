"""What the state machine costs: CPU time of an `optimize` run outside drawing, scoring, writing and contrasting, as a share of the whole.

    python -m benchmarks.learning [--iterations 3]

One run on the embedded checkpoint; every call of the Evaluator and of the agents is timed inside it, so that LangGraph, checkpoints, the
database's bookkeeping and the bandit are what is left. Claim: at most 3 %. Also the size of the checkpoint after each iteration.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from limner.agents.rewriter import DEFAULT_INSTRUCTION
from limner.graph.context import open_context, open_models
from limner.graph.models import ModelPool
from limner.graph.optimize import arms
from limner.graph.optimize.graph import first_state
from limner.graph.plan import LearningSettings, plan_learning, split_prompts
from limner.graph.runner import stream_optimize
from limner.graph.settings import Settings
from limner.promptdb.files.prompt_file import read_prompts
from limner.promptdb.records import Run
from limner.promptdb.seed import FOLDER
from limner.tools.evaluator import Evaluator


class Timed:
    """CPU time spent inside wrapped functions, nested calls once."""

    def __init__(self) -> None:
        self.seconds, self._depth = 0.0, 0

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:
            started = time.process_time()
            self._depth += 1
            try:
                return function(*args, **options)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.process_time() - started

        return timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=3)
    learning = LearningSettings(iterations=parser.parse_args().iterations, heldout_prompts=12)
    work = Timed()
    for name in ("draw", "evaluate", "known"):
        setattr(Evaluator, name, work(getattr(Evaluator, name)))
    arms.write = work(arms.write)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(out=folder, budget=100 * learning.iterations + 100, heldout_seeds=2)
        split = split_prompts(read_prompts(FOLDER / "naive.jsonl").prompts, 0, learning.heldout_prompts)
        plan = plan_learning(settings.budget, learning, len(split.heldout), settings.search_seeds, settings.heldout_seeds)
        run = Run("benchmark", "optimize", "naive.jsonl", settings.to_json())
        with open_context(settings, open_models(settings, ModelPool().lease()), run.id, budget_images=settings.budget) as opened:
            context = replace(opened, learning=learning, plan=plan)
            start = first_state(run.id, list(split.development), list(split.heldout), False, DEFAULT_INSTRUCTION)
            started, sizes = time.process_time(), []
            for event in stream_optimize(context, run, start):
                if event["kind"] == "node" and event["node"] == "sample" and event["phase"] == "start":
                    with closing(sqlite3.connect(Path(folder) / "limner.db")) as threads:
                        row = threads.execute("SELECT length(checkpoint) FROM checkpoints ORDER BY checkpoint_id DESC LIMIT 1").fetchone()
                    sizes.append(row[0] if row else 0)
            whole = time.process_time() - started
            pictures = context.evaluator.budget.used()["images"]
    print(f"{pictures} pictures, {whole:.1f} s CPU, of which {work.seconds:.1f} s drawing, scoring and writing")
    print(f"share of the rest: {100 * (1 - work.seconds / whole):.2f} % (claim: at most 3 %)")
    print(f"checkpoint at the start of each iteration: {', '.join(f'{size:,}' for size in sizes)} bytes")


if __name__ == "__main__":
    main()
