"""The curves of a search: for every arm a point with its interval in each iteration in which it was tried.

Computes coordinates; the template draws them. Arms differ in line, marker and number, not in colour alone.
"""

from __future__ import annotations

import math
from typing import Any

from limner.graph.optimize.arms import PROFESSIONAL
from limner.serve.reports import page
from limner.serve.reports.search import Search
from limner.tools.stats import Interval

HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 340, 62, 26, 20, 40  # pixels
NARROWEST, COLUMN, POINT = (
    900,
    72,
    13,
)  # width of the drawing, of an iteration, between the points in one; pixels at least, at least, at most
TICKS = 6  # about so many


def curves_view(search: Search) -> dict[str, Any]:
    """Returns the template's data; empty where no arm has a usable picture.

    `series`: in drawing order, important ones last; `rows`: the numbers.
    """
    gains = search.gains
    if not gains:
        return {}
    iterations = sorted({iteration for _, iteration in gains})
    width = max(NARROWEST, LEFT + RIGHT + COLUMN * len(iterations))
    column = (width - LEFT - RIGHT) / len(iterations)
    middle = {iteration: LEFT + column * (place + 0.5) for place, iteration in enumerate(iterations)}
    arms = sorted({arm for arm, _ in gains}, key=lambda arm: search.numbers.get(arm, len(search.numbers)))
    places = {key: place for iteration in iterations for key, place in _places(arms, iteration, gains, middle[iteration], column).items()}
    low, high = _reach(gains.values())

    def level(value: float) -> float:
        return round(TOP + (high - min(max(value, low), high)) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    series = [_series(search, arm, places, level) for arm in arms]
    return {
        "width": width,
        "height": HEIGHT,
        "left": LEFT,
        "right": width - RIGHT,
        "top": TOP,
        "bottom": HEIGHT - BOTTOM,
        "zero": level(0),
        "ticks": [(level(value), f"{value:+.3g}" if value else "0") for value in _ticks(low, high)],
        "columns": [(round(x, 1), iteration + 1) for iteration, x in middle.items()],
        "series": sorted(series, key=lambda row: _ORDER.index(row["kind"])),
        "rows": [
            _row(search, arm, iteration, gains[arm, iteration]) for arm in arms for iteration in iterations if (arm, iteration) in gains
        ],
    }


_ORDER = ["other", "professional", "initial", "learned"]


def _kind(search: Search, arm: str) -> str:
    if arm == search.winner:
        return "learned"
    if arm == PROFESSIONAL:
        return "professional"
    return "initial" if search.numbers.get(arm) == 0 else "other"


def _name(search: Search, arm: str) -> str:
    return "professional prompts" if arm == PROFESSIONAL else f"#{search.numbers[arm]}"


def _series(search: Search, arm: str, places: dict[tuple[str, int], float], level: Any) -> dict[str, Any]:
    points = []
    for (own, iteration), x in places.items():
        if own == arm:
            measured = search.gains[arm, iteration]
            row = _row(search, arm, iteration, measured)
            ends = [] if math.isnan(measured.lo) else [level(measured.lo), level(measured.hi)]
            points.append({"x": round(x, 1), "y": level(measured.mean), "ends": ends, **row})
    name = "" if arm == PROFESSIONAL else _name(search, arm)
    return {"kind": _kind(search, arm), "name": name, "points": points, "line": " ".join(f"{point['x']},{point['y']}" for point in points)}


def _row(search: Search, arm: str, iteration: int, measured: Interval) -> dict[str, Any]:
    return {
        "arm": _name(search, arm),
        "kind": _kind(search, arm),
        "iteration": iteration + 1,
        "gain": page.signed(measured.mean),
        "interval": page.interval([measured.lo, measured.hi]),
        "n": measured.n,
    }


def _places(
    arms: list[str], iteration: int, gains: dict[tuple[str, int], Interval], middle: float, column: float
) -> dict[tuple[str, int], float]:
    """Returns the x coordinates of one iteration's points, side by side so that their intervals do not overlap."""
    there = [arm for arm in arms if (arm, iteration) in gains]
    step = min(POINT, 0.85 * column / len(there))
    return {(arm, iteration): middle + (place - (len(there) - 1) / 2) * step for place, arm in enumerate(there)}


def _reach(measured: Any) -> tuple[float, float]:
    """Returns the y range: zero, all means, and as much of the intervals as leaves the means readable."""
    found = list(measured)
    means = [0.0, *(row.mean for row in found)]
    span = max(means) - min(means) or 1.0
    ends = [end for row in found for end in (row.lo, row.hi) if not math.isnan(end)]
    low = max(min(means) - span / 2, min([*means, *ends]))
    high = min(max(means) + span / 2, max([*means, *ends]))
    edge = 0.04 * (high - low or span)
    return low - edge, high + edge


def _ticks(low: float, high: float) -> list[float]:
    """Returns round numbers between two ends."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((power * factor for factor in (1, 2, 5) if power * factor >= rough), 10 * power)
    return [round(step * place, 12) for place in range(math.ceil(low / step), math.floor(high / step) + 1)]
