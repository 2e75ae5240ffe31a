"""Makes the drawing of docs/architecture.md: the way of one prompt through the project, as a traced `refine` really takes it.

    python docs/make_architecture.py

Refines a prompt on the embedded checkpoint, notes when each function of STATIONS is first called, and draws them in that order, each in
the column of its folder. A station that is not called ends the program with its name.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
import threading
from collections.abc import Callable
from html import escape
from pathlib import Path
from types import FrameType
from typing import Any

from limner.main import main

ROOT = Path(__file__).parents[1]
DRAWING = ROOT / "docs" / "images" / "architecture.svg"
STATIONS = {
    "serve/cli/refine.py:refine_command": "options",
    "serve/commands/refine.py:refine": "one run, from settings to document",
    "graph/context.py:open_models": "what the run works with",
    "tools/diffusion/checkpoint.py:open_checkpoint": "weights, card, scorers",
    "promptdb/seed.py:open_database": "one SQLite file",
    "graph/runner.py:stream_refine": "starts or resumes the graph",
    "graph/refine/graph.py:retrieve": "professional prompts alike",
    "promptdb/search/exemplars.py:exemplars": "by words and meaning",
    "graph/refine/graph.py:rewrite": "asks for variants",
    "agents/rewriter.py:rewrite": "messages and answer",
    "agents/guard.py:check": "what must not become a prompt",
    "graph/refine/graph.py:search": "all candidates, search seeds",
    "tools/evaluator.py:evaluate": "draws what is not stored",
    "tools/budget.py:spend": "pays first, or refuses",
    "tools/diffusion/sampling/sampler.py:draw": "batches of drawings",
    "tools/diffusion/sampling/conditioning.py:token_ids": "tokenizes; embed() then encodes",
    "tools/diffusion/sampling/denoising.py:predict": "the UNet, at each step",
    "promptdb/store.py:add_drawing": "picture and record",
    "tools/scoring/hps.py:score": "the objective, then the others",
    "promptdb/store.py:add_scores": "scores by content",
    "graph/refine/graph.py:heldout": "fresh seeds decide",
    "serve/reports/refine.py:write_refine": "the evidence",
}


def traced(work: Callable[[], Any]) -> list[str]:
    """`path:function` of every function of the project that `work` calls, in the order of the first calls."""
    found: dict[str, None] = {}

    def note(frame: FrameType, event: str, argument: Any) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(str(ROOT)):
            found.setdefault(f"{Path(file).relative_to(ROOT)}:{frame.f_code.co_name}")

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    return list(found)


def stations() -> list[str]:
    """The stations in the order in which a small `refine` passes them. Raises SystemExit that names those it does not pass."""
    importlib.import_module("diffusers.pipelines")  # before the trace, under which importing takes long
    importlib.import_module("limner.graph.runner")
    with tempfile.TemporaryDirectory() as folder:
        options = ["--budget", "10", "--variants", "1", "--heldout-seeds", "2", "--steps", "2", "--out", folder, "--json"]
        calls = traced(lambda: main(["refine", "a red car on a beach", "--method", "rewrite", *options]))
    if missing := [name for name in STATIONS if name not in calls]:
        raise SystemExit(f"not called: {', '.join(missing)}")
    return [name for name in calls if name in STATIONS]


COLUMN, ROW, TOP, MARGIN = 252, 34, 52, 8
COLORS = {"serve": "#4c78a8", "graph": "#9c5f92", "agents": "#c8741f", "tools": "#3d8655", "promptdb": "#8c6d5a"}


def drawing(order: list[str]) -> str:
    """The stations as an SVG: a column for each folder, from the top of the house to its ground; time runs downward."""
    width, height = 2 * MARGIN + COLUMN * len(COLORS), TOP + ROW * len(order) + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    columns = {folder: MARGIN + place * COLUMN for place, folder in enumerate(COLORS)}
    for folder, left in columns.items():
        color = COLORS[folder]
        size = f'width="{COLUMN - 6}" height="{height - 2 * MARGIN}"'
        parts.append(f'<rect x="{left + 3}" y="{MARGIN}" {size} rx="6" fill="{color}" opacity=".08"/>')
        parts.append(f'<text x="{left + 14}" y="{MARGIN + 22}" font-size="15" font-weight="bold" fill="{color}">{folder}/</text>')
    places = [(columns[name.split("/")[0]] + 20, TOP + row * ROW + 14, name) for row, name in enumerate(order)]
    line = " ".join(f"{x},{y}" for x, y, _ in places)
    parts.append(f'<polyline points="{line}" fill="none" stroke="#bbb"/>')
    for number, (x, y, name) in enumerate(places, 1):
        file, function = name.split(":")
        folder, short = file.split("/", 1)
        parts += [
            f'<circle cx="{x}" cy="{y}" r="10" fill="{COLORS[folder]}"/>',
            f'<text x="{x}" y="{y + 4}" text-anchor="middle" fill="#fff">{number}</text>',
            f'<rect x="{x + 13}" y="{y - 13}" width="{COLUMN - 42}" height="29" fill="#fff" opacity=".8"/>',
            f'<text x="{x + 16}" y="{y - 2}" fill="#222">{escape(short.removesuffix(".py"))} ',
            f'<tspan font-weight="bold">{function}</tspan></text>',
            f'<text x="{x + 16}" y="{y + 11}" fill="#555">{escape(STATIONS[name])}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    DRAWING.write_text(drawing(stations()), encoding="utf-8")
    print(DRAWING)
