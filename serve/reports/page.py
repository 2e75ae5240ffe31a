"""Shared by the reports: the template engine, embedded pictures, rounded score rows, the difference plot, and tables of costs and models.

A page is one file that loads nothing from elsewhere; the template engine escapes all texts by people and models.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from limner.graph.state import Context, ScoreRow, Verdict
from limner.promptdb.errors import BadInput

TEMPLATES = Path(__file__).parent / "templates"
INLINE_PIXELS = 256  # larger pictures are embedded as WebP, so that the page stays within a few megabytes
OFFLINE = "offline"

Fact = tuple[str, str]  # name, value


def render(template: str, view: Mapping[str, Any]) -> str:
    """Returns the page of a template. Raises an error for a name that the view lacks."""
    return _engine().get_template(template).render(**view)


@lru_cache(1)
def _engine() -> Any:
    """Returns the engine, one for all pages, since it caches templates."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True)


def write_text(path: Path, text: str) -> None:
    """Writes a file, complete or not at all. Raises BadInput where it cannot be written."""
    half = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half.write_text(text, encoding="utf-8", errors="replace")
        half.replace(path)
    except OSError as error:
        raise BadInput(f"{path} cannot be written ({error.strerror}); choose another folder with --out") from error


def data_uris(context: Context, drawing_ids: Sequence[str], longest: int = 2 * INLINE_PIXELS) -> dict[str, str]:
    """Returns each drawing's picture as a data URI; '' where there is none.

    Pictures over INLINE_PIXELS are scaled down to `longest` pixels.
    """
    from PIL import Image

    stored = context.db.stored_drawings(drawing_ids)
    uris: dict[str, str] = {}
    for key in dict.fromkeys(drawing_ids):
        image = stored[key].image if key in stored else None
        if image is None:
            uris[key] = ""
            continue
        kind, content = "png", context.images.path(image).read_bytes()
        picture = context.images.get(image)
        if max(picture.size) > INLINE_PIXELS:
            picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
            buffer = io.BytesIO()
            picture.save(buffer, format="WEBP", quality=88)
            kind, content = "webp", buffer.getvalue()
        uris[key] = f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
    return uris


def aspect(context: Context) -> str:
    """Returns the aspect ratio of the pictures in CSS."""
    return f"{context.evaluator.settings.width} / {context.evaluator.settings.height}"


def number(value: float | None) -> str:
    """Returns a number with four significant digits; '' for None and NaN."""
    return "" if value is None or np.isnan(value) else f"{value:.4g}"


def signed(value: float | None) -> str:
    """Returns a number with its sign and four significant digits; '' for None and NaN."""
    return "" if value is None or np.isnan(value) else f"{value:+.4g}"


def interval(ends: Sequence[float] | None) -> str:
    """Returns both ends of an interval as text; '' where there is none."""
    return f"{ends[0]:+.3g} to {ends[1]:+.3g}" if ends and not np.isnan(ends).any() else ""


def direction(gain: float) -> str:
    """Returns "up" for a gain, "down" for a loss, '' for neither."""
    return "up" if gain > 0 else "down" if gain < 0 else ""


def change(name: str, row: ScoreRow, unit: str) -> str:
    """Returns a measured difference in words. `row` must have one."""
    return f"{name} changed by {row['delta']:+.3g} (95 % interval {interval(row['ci95'])}, {row['n']} {unit})"


def settled(row: ScoreRow) -> bool:
    """Whether the whole interval lies on one side of zero."""
    lo, hi = row["ci95"] or (0.0, 0.0)
    return lo > 0 or hi < 0


def difference_view(context: Context, name: str, row: ScoreRow, deltas: np.ndarray) -> dict[str, Any]:
    """Returns a scorer's table row with its difference plot; `deltas` are the single differences, shown as dots."""
    scorer = context.evaluator.scorer(name)
    sign = 1 if scorer.higher_is_better else -1
    return {
        "name": name,
        "role": "objective" if name == context.evaluator.objective.name else "judge, kept out of every search" if scorer.held_out else "",
        "higher": scorer.higher_is_better,
        "before": number(row["before"]),
        "after": number(row["after"]),
        "delta": signed(row["delta"]),
        "interval": interval(row["ci95"]),
        "direction": direction(sign * (row["delta"] or 0)) if settled(row) else "",
        "plot": plot(sign * deltas, sign * (row["delta"] or 0), [sign * end for end in row["ci95"] or ()]),
        "n": row["n"],
    }


def plot(deltas: np.ndarray, mean: float, ends: Sequence[float], width: int = 200, margin: int = 8) -> dict[str, Any]:
    """Returns coordinates on a line of `width` pixels with zero in the middle and the better side on the right; empty without
    differences.
    """
    reach = max([abs(mean), *(abs(end) for end in ends), *np.abs(deltas)], default=0.0)
    if not len(deltas) or reach == 0:
        return {}

    def place(value: float) -> float:
        return round(width / 2 + value / reach * (width / 2 - margin), 1)

    return {"dots": [place(float(value)) for value in deltas], "mean": place(mean), "range": [place(end) for end in ends]}


def spent_facts(context: Context) -> list[Fact]:
    """Returns the costs of the run as table rows."""
    used, usage = context.evaluator.budget.used(), context.chat.usage
    cost = f"{used['llm_calls']} calls"
    if usage.cost_usd is not None:
        cost += f", {usage.cost_usd:.4f} USD"
    twice = f", {used['repeated']} of them twice" if used["repeated"] else ""
    return [
        ("Pictures drawn", f"{int(used['images'])} of {context.settings.budget} allowed{twice}"),
        ("UNet rows", f"{used['unet_rows']:,}"),
        ("Seconds", f"{used['seconds']:.1f}"),
        ("Chat model", "offline stand-in" if context.chat.name == OFFLINE else context.chat.name),
        ("Chat cost", cost),
    ]


def drawing_facts(context: Context) -> list[Fact]:
    """Returns model, settings and seeds of the pictures, and the contract, as table rows."""
    evaluator, settings = context.evaluator, context.settings
    sampling = evaluator.settings
    return [
        ("Checkpoint", f"{evaluator.model.name} ({evaluator.model.fingerprint[:12]})"),
        ("Sampler", f"{sampling.scheduler}, {sampling.steps} steps, guidance {sampling.guidance_scale:g}"),
        ("Pictures", f"{sampling.width} x {sampling.height} pixels, {sampling.dtype}"),
        ("Search seeds", _range(settings.search)),
        ("Held-out seeds", _range(settings.heldout)),
        ("Pinned words", ", ".join(settings.contract.kept) or "none"),
        ("Banned words", ", ".join(settings.bans) or "none"),
        ("Traits to be seen", ", ".join(settings.traits) or "none"),
    ]


def _range(seeds: Sequence[int]) -> str:
    return f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0])


DECIMALS = 6


def shown_verdict(found: Verdict) -> Verdict:
    """Returns the verdict of a document: as it was found, its number rounded."""
    smallest = found["smallest"]
    return {**found, "smallest": None if smallest is None else round(smallest, DECIMALS)}


def rounded(row: ScoreRow) -> dict[str, Any]:
    """Returns {before, after, delta, ci95, n} and, where there is one, p, rounded."""
    numbers = {"before": row["before"], "after": row["after"], "delta": row["delta"]}
    shown: dict[str, Any] = {name: None if value is None else round(value, DECIMALS) for name, value in numbers.items()}
    interval = row["ci95"]
    shown |= {"ci95": None if interval is None else [round(end, DECIMALS) for end in interval], "n": row["n"]}
    return {**shown, "p": round(row["p"], DECIMALS)} if "p" in row else shown
