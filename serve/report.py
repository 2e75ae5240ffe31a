"""The report of a refined prompt: one HTML file that needs nothing else, and the pictures beside it as PNGs that say how they were made.

Turns what a run found into what the page shows; the page itself is templates/refine.html. Decides nothing and draws nothing.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graph.nodes import conditioning_of
from graph.state import Context, RefineState, ScoreRow
from promptdb.errors import BadInput
from promptdb.images import provenance, write_png
from promptdb.records import text_id
from serve.diff import word_diff
from tools.evaluation import Evaluation

TEMPLATES = Path(__file__).parent / "templates"
INLINE_PIXELS = 256  # larger pictures go into the page as WebP, so that it stays a few megabytes; the PNGs beside it are exact
OFFLINE = "offline"


@dataclass(frozen=True)
class ReportFiles:
    """Where things were written. `before`, `after`: a PNG for each held-out seed whose picture was not dropped."""

    report: Path
    before: list[Path]
    after: list[Path]


def write_refine(context: Context, state: RefineState, folder: Path) -> ReportFiles:
    """Write pictures and page into `folder`, the page last and whole. Raises BadInput where it cannot be written."""
    outcome = state["outcome"]
    before = _write_pictures(context, state, outcome["before"], folder, "before")
    after = _write_pictures(context, state, outcome["after"], folder, "after")
    path = folder / "report.html"
    _write_text(path, render_refine(context, state))
    return ReportFiles(path, before, after)


def render_refine(context: Context, state: RefineState) -> str:
    """The page. Everything that people or models wrote is escaped by the template engine."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    engine = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return engine.get_template("refine.html").render(**_view(context, state))


def _view(context: Context, state: RefineState) -> dict[str, Any]:
    outcome, prompt = state["outcome"], state["prompt"]
    objective = outcome["objective"]
    higher = outcome["higher_is_better"]
    found = _found(context, state)
    best = outcome["best"]
    text = conditioning_of(best).text if best else prompt
    row = outcome["scores"][objective]
    return {
        "prompt": prompt,
        "run": state["run"],
        "method": state["method"],
        "checkpoint": context.evaluator.model.name,
        "improved": outcome["improved"],
        "verdict": "Improved" if outcome["improved"] else "No improvement found",
        "summary": _summary(objective, row, higher[objective], outcome["improved"], best is not None),
        "warnings": outcome["warnings"],
        "notes": _notes(context, state),
        "compared": best is not None,
        "objective": objective,
        "pairs": _pairs(context, state, found),
        "aspect": f"{context.evaluator.settings.width} / {context.evaluator.settings.height}",
        "diff": word_diff(prompt, text),
        "negative": conditioning_of(best).negative if best else "",
        "origin": best["origin"] if best else "",
        "scores": [_score_view(context, name, item, higher[name], found) for name, item in outcome["scores"].items()],
        "path": _path_view(state),
        "candidates": _candidates_view(state),
        "facts": _facts(context, state),
    }


def _found(context: Context, state: RefineState) -> Evaluation:
    outcome = state["outcome"]
    rows = [state["population"][0], outcome["best"] or state["population"][0]]
    conditionings = [conditioning_of(row) for row in rows]
    return context.evaluator.known(conditionings, state["prompt"], context.settings.heldout, list(outcome["scores"]))


def _summary(objective: str, row: ScoreRow, higher: bool, improved: bool, compared: bool) -> str:
    if not compared:
        return "No candidate could be compared with your prompt; it is returned unchanged."
    if row["delta"] is None or row["ci95"] is None:
        return "The held-out check has too few pictures to say anything; your prompt is returned unchanged."
    lo, hi = row["ci95"]
    number = f"{objective} changed by {row['delta']:+.3g} (95 % interval {lo:+.3g} to {hi:+.3g}, {row['n']} held-out seeds)"
    direction = "" if higher else ", lower being better"
    if improved:
        return f"{number}{direction}."
    return f"With the best candidate {number}{direction}. That does not rule out no gain, so your prompt is returned unchanged."


def _notes(context: Context, state: RefineState) -> list[str]:
    """What a reader should know, though nothing went wrong."""
    texts = []
    if context.chat.name == OFFLINE:
        texts.append("No chat model is configured: the offline stand-in rewrote the prompt, by rules and counts, not a language model.")
    dropped = [f"{row['count']} x {row['reason']} ({row['origin']})" for row in state.get("dropped", [])]
    if dropped:
        texts.append(f"Proposals that did not become candidates: {', '.join(dropped)}.")
    passed: dict[str, list[str]] = {}
    for item in state.get("skipped", []):
        passed.setdefault(item["reason"], []).append(item["method"])
    texts += [f"Not run: {', '.join(methods)} ({reason})." for reason, methods in passed.items()]
    return texts


def _pairs(context: Context, state: RefineState, found: Evaluation) -> list[dict[str, Any]]:
    outcome = state["outcome"]
    values = found.values[outcome["objective"]]
    sign = 1 if outcome["higher_is_better"][outcome["objective"]] else -1
    uris = _data_uris(context, [*outcome["before"], *outcome["after"]])
    pairs = []
    for place, (seed, before, after) in enumerate(zip(context.settings.heldout, outcome["before"], outcome["after"], strict=True)):
        delta = float(values[1, place] - values[0, place])
        pairs.append(
            {
                "seed": seed,
                "before": {"image": uris[before], "score": _number(values[0, place])},
                "after": {"image": uris[after], "score": _number(values[1, place])},
                "delta": "" if np.isnan(delta) else f"{delta:+.3g}",
                "direction": _direction(sign * delta),
            }
        )
    return pairs


def _data_uris(context: Context, drawing_ids: Sequence[str]) -> dict[str, str]:
    """Each drawing's picture as a data URI; an empty text where it was dropped."""
    from PIL import Image

    stored = context.db.stored_drawings(drawing_ids)
    uris: dict[str, str] = {}
    for key in drawing_ids:
        image = stored[key].image if key in stored else None
        if image is None:
            uris[key] = ""
            continue
        kind, content = "png", context.images.path(image).read_bytes()
        picture = context.images.get(image)
        if max(picture.size) > INLINE_PIXELS:
            picture.thumbnail((2 * INLINE_PIXELS, 2 * INLINE_PIXELS), Image.Resampling.LANCZOS)
            buffer = io.BytesIO()
            picture.save(buffer, format="WEBP", quality=88)
            kind, content = "webp", buffer.getvalue()
        uris[key] = f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
    return uris


def _score_view(context: Context, name: str, row: ScoreRow, higher: bool, found: Evaluation) -> dict[str, Any]:
    scorer = context.evaluator.scorer(name)
    role = "objective" if name == context.evaluator.objective.name else "judge, kept out of every search" if scorer.held_out else ""
    sign = 1 if higher else -1
    lo, hi = row["ci95"] or (None, None)
    settled = lo is not None and hi is not None and (lo > 0 or hi < 0)
    return {
        "name": name,
        "role": role,
        "higher": higher,
        "before": _number(row["before"]),
        "after": _number(row["after"]),
        "delta": "" if row["delta"] is None else f"{row['delta']:+.4g}",
        "interval": "" if lo is None else f"{lo:+.3g} to {hi:+.3g}",
        "direction": _direction(sign * (row["delta"] or 0)) if settled else "",
        "plot": _plot(sign * found.differences(name, 0, 1), sign * (row["delta"] or 0), [sign * end for end in row["ci95"] or ()]),
        "n": row["n"],
    }


def _plot(deltas: np.ndarray, mean: float, interval: list[float], width: int = 200, margin: int = 8) -> dict[str, Any]:
    """Places on a line of `width` with zero in the middle and the better side on the right; empty where nothing was compared."""
    reach = max([abs(mean), *(abs(end) for end in interval), *np.abs(deltas)], default=0.0)
    if not len(deltas) or reach == 0:
        return {}

    def place(value: float) -> float:
        return round(width / 2 + value / reach * (width / 2 - margin), 1)

    return {"seeds": [place(float(value)) for value in deltas], "mean": place(mean), "range": [place(end) for end in interval]}


def _path_view(state: RefineState) -> list[dict[str, Any]]:
    longest = max((row["seconds"] for row in state["path"]), default=0.0) or 1.0
    return [
        {
            "node": row["node"],
            "note": row["note"],
            "seconds": f"{row['seconds']:.1f} s" if row["seconds"] >= 0.05 else "",
            "share": round(100 * row["seconds"] / longest, 1),
            "idle": row["note"].startswith(("skipped", "not asked")),
        }
        for row in state["path"]
    ]


def _candidates_view(state: RefineState) -> list[dict[str, Any]]:
    rows = {row["id"]: row for row in state["population"]}
    return [
        {
            "score": _number(score),
            "text": conditioning_of(rows[key]).text,
            "negative": conditioning_of(rows[key]).negative,
            "origin": rows[key]["origin"],
        }
        for key, score in state["search"].items()
    ]


def _facts(context: Context, state: RefineState) -> list[tuple[str, str]]:
    evaluator, settings = context.evaluator, context.settings
    used, sampling, usage = evaluator.budget.used(), evaluator.settings, context.chat.usage
    drawn = int(used["images"])
    cost = f"{used['llm_calls']} calls"
    if usage.cost_usd is not None:
        cost += f", {usage.cost_usd:.4f} USD"
    return [
        ("Pictures drawn", f"{drawn} of {settings.budget} allowed" + (f", {used['repeated']} of them twice" if used["repeated"] else "")),
        ("UNet rows", f"{used['unet_rows']:,}"),
        ("Seconds", f"{used['seconds']:.1f}"),
        ("Chat model", "offline stand-in" if context.chat.name == OFFLINE else context.chat.name),
        ("Chat cost", cost),
        ("Checkpoint", f"{evaluator.model.name} ({evaluator.model.fingerprint[:12]})"),
        ("Sampler", f"{sampling.scheduler}, {sampling.steps} steps, guidance {sampling.guidance_scale:g}"),
        ("Pictures", f"{sampling.width} x {sampling.height} pixels, {sampling.dtype}"),
        ("Search seeds", _seed_range(settings.search)),
        ("Held-out seeds", _seed_range(settings.heldout)),
        ("Pinned words", ", ".join(settings.pins) or "none"),
    ]


def _seed_range(seeds: Sequence[int]) -> str:
    return f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0])


def _number(value: float | None) -> str:
    return "" if value is None or np.isnan(value) else f"{value:.4g}"


def _direction(gain: float) -> str:
    return "up" if gain > 0 else "down" if gain < 0 else ""


def _write_pictures(context: Context, state: RefineState, drawing_ids: Sequence[str], folder: Path, name: str) -> list[Path]:
    stored = context.db.stored_drawings(drawing_ids)
    reference = text_id(state["prompt"])
    paths = []
    for key in drawing_ids:
        if key not in stored or (image := stored[key].image) is None:
            continue
        scores = {score.scorer: score.value for score in context.db.scores_of(key) if score.reference == reference}
        path = folder / f"{name}-{stored[key].drawing.seed}.png"
        write_png(context.images.get(image), path, provenance(stored[key], scores, state["run"]))
        paths.append(path)
    return paths


def _write_text(path: Path, text: str) -> None:
    half = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half.write_text(text, encoding="utf-8", errors="replace")
        half.replace(path)
    except OSError as error:
        raise BadInput(f"{path} cannot be written ({error.strerror}); choose another folder with --out") from error
