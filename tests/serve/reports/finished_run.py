"""An `optimize` run as it stands after its last node, with real pictures and records, and the page made of it."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from limner.graph.optimize.heldout import COMPARISONS
from limner.graph.optimize.state import OptimizeState
from limner.graph.plan import LearningPlan, LearningSettings
from limner.graph.state import ArmRow, Context, ScoreRow, SuffixRow
from limner.graph.verdict import PROMPTS, score_row, verdict
from limner.promptdb.records import Conditioning, Drawing, Instruction
from limner.promptdb.trials import Arm, Standing, Trial, Trials
from limner.serve.reports.optimize import render_optimize
from limner.tools.budget import Budget
from tests.doubles import FakeImageModel, hashed_value
from tests.graph.stage import stage
from tests.serve.reports.test_refine import Page

WORTH = {"sharp": 0.5, "vivid": 0.1, "masterpiece": 0.2}
DEVELOPMENT = ["a cat", "a dog", "a bird"]
HELDOUT = [f"an animal of kind {number}" for number in range(8)]
SUFFIX: SuffixRow = {"positive": "vivid colors", "negative": "grain", "pulls": 24}


def liked(drawing: Drawing) -> float:
    """Noise of [0, 0.2), and what each word is worth."""
    return 0.2 * hashed_value(drawing) + sum(worth for word, worth in WORTH.items() if word in drawing.conditioning.text)


@dataclass(frozen=True)
class Made:
    """An arm of the tests. `adds`: what it puts behind a prompt. `fates`: (iteration, rank number, fate); it is pulled in each of these."""

    text: str
    adds: str
    parent: int | None = None
    finding: str = ""
    fates: tuple[tuple[int, float | None, str], ...] = ()

    @property
    def id(self) -> str:
        return Instruction(self.text).id

    def written(self, prompt: str) -> Conditioning:
        return Conditioning(f"{prompt}, {self.adds}", "blurry")


FIRST = Made("Write it well.", "4k", fates=((0, 0.3, "kept"), (1, 0.1, "dropped")))
SHARP = Made("Write it sharply.", "sharp focus", 0, "Blur costs points.", ((0, None, "born"), (1, 0.9, "kept"), (2, 0.8, "kept")))
LOUD = Made("Write it loud.", "loud", 0, "Quiet words are weak.", ((0, None, "rejected"),))
VIVID = Made("Write it sharply and vividly.", "vivid colors", 1, "", ((1, None, "born"), (2, 0.9, "kept")))
ARMS = (FIRST, SHARP, LOUD, VIVID)


def finished(
    folder: Path,
    arms: Sequence[Made] = ARMS,
    best: int = 1,
    heldout: Sequence[str] = HELDOUT,
    development: Sequence[str] = DEVELOPMENT,
    suffix: SuffixRow | None = SUFFIX,
    model: FakeImageModel | None = None,
    professional: Sequence[str] = ("masterpiece", "oil painting"),
    **how: Any,
) -> tuple[Context, OptimizeState]:
    """A run as it stands after its last node, with real pictures and records."""
    made = stage(folder, model or FakeImageModel(liked), heldout_seeds=2, budget=Budget(images=10_000), images=10_000, **how)
    context = replace(made, learning=LearningSettings(iterations=3), plan=LearningPlan(400, 400, 64, len(heldout)))
    trials = Trials(context.db, "run-1")
    parents = [None if arm.parent is None else arms[arm.parent].id for arm in arms]
    born = [-1 if arm.parent is None else min((fate[0] for fate in arm.fates), default=0) for arm in arms]
    trials.add_arms(Arm(Instruction(arm.text, up, arm.finding), at) for arm, up, at in zip(arms, parents, born, strict=True))
    for arm in arms:
        for iteration, value, fate in arm.fates:
            pull(context, iteration, arm.id, {prompt: arm.written(prompt) for prompt in development})
            trials.add_standings([Standing(iteration, arm.id, None, 6, value, fate)])
    for place, word in enumerate(professional):
        pull(context, 0, f"professional-{place}", {prompt: Conditioning(f"{prompt}, {word}") for prompt in development})
    rows: list[ArmRow] = [
        {"id": arm.id, "text": arm.text, "parent": up, "finding": arm.finding, "born": at}
        for arm, up, at in zip(arms, parents, born, strict=True)
    ]
    groups = {
        "plain": [Conditioning(prompt) for prompt in heldout],
        "initial": [arms[0].written(prompt) for prompt in heldout],
        "learned": [arms[best].written(prompt) for prompt in heldout],
    }
    if suffix:
        groups["suffix"] = [Conditioning(f"{prompt}, {suffix['positive']}", suffix["negative"]) for prompt in heldout]
    everything = [conditioning for group in groups.values() for conditioning in group]
    found = context.evaluator.evaluate(everything, list(heldout) * len(groups), context.settings.heldout)
    ids = found.drawings.reshape(len(groups), len(heldout), -1)
    tables = {name: dict(zip(groups, values.reshape(len(groups), len(heldout), -1), strict=True)) for name, values in found.values.items()}
    scores = {
        name: {scorer: compared(table[before], table[after]) for scorer, table in tables.items()}
        for name, (before, after) in COMPARISONS.items()
        if {before, after} <= groups.keys()
    }
    objective, nothing = context.evaluator.objective.name, "" if best else "no instruction did better"
    found_better = verdict(scores["learned_initial"], found.higher_is_better, objective, unit=PROMPTS, nothing=nothing)
    state: OptimizeState = {
        "run": "run-1",
        "prompts": [{"text": text, "pins": []} for text in development],
        "heldout": [{"text": text, "pins": []} for text in heldout],
        "shared": development == heldout,
        "iteration": 2,
        "winner": arms[best].id,
        "dropped": {"refusal": 3, "preamble": 1},
        "outcome": {
            "verdict": found_better,
            "improved": found_better["kind"] == "better",
            "objective": objective,
            "higher_is_better": dict(found.higher_is_better),
            "initial": rows[0],
            "best": rows[best],
            "suffix": suffix,
            "scores": scores,
            "prompts": [
                {
                    "prompt": prompt,
                    "texts": {name: group[place].to_json() for name, group in groups.items()},
                    "drawings": {name: ids[row, place].tolist() for row, name in enumerate(groups)},
                }
                for place, prompt in enumerate(heldout)
            ],
            "stopped": "all 3 iterations are done",
            "warnings": ["2 rewritings were cut"],
        },
    }
    return context, state


def pull(context: Context, iteration: int, arm: str, written: dict[str, Conditioning]) -> None:
    seeds, name, count = context.settings.search, context.evaluator.objective.name, len(written)
    asked = [*map(Conditioning, written), *written.values()]
    values = context.evaluator.evaluate(asked, [*written, *written], seeds, [name]).values[name]
    Trials(context.db, "run-1").add_trials(
        [
            Trial(iteration, arm, prompt, seed, conditioning, known(values[count + row, column]), known(values[row, column]))
            for row, (prompt, conditioning) in enumerate(written.items())
            for column, seed in enumerate(seeds)
        ]
    )


def known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def compared(before: np.ndarray, after: np.ndarray) -> ScoreRow:
    return score_row(before, after, np.broadcast_to(np.arange(len(before))[:, None], before.shape), 0)


def page_of(folder: Path, **how: Any) -> tuple[Page, Context, OptimizeState]:
    context, state = finished(folder, **how)
    return Page(render_optimize(context, state)), context, state


def section(page: Page, start: str, end: str) -> str:
    """What is shown between two headings."""
    return page.text.split(start, 1)[1].split(end, 1)[0]


def shown(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB")
