"""The verdict on a change: what fresh pictures say of it, and what they cannot say. The one place where this is decided.

Pure: rows of scores in, a Verdict out. A scorer's row says by its interval whether the scorer is surely better or surely worse; the verdict
is the objective's, checked by all the others. What a checkpoint cannot draw and a scorer cannot judge is said instead of a number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from limner.graph.state import Kind, ScoreRow, Verdict
from limner.tools.evaluation import Evaluation
from limner.tools.stats import cluster_means, paired_bootstrap, smallest_visible

BETTER: Kind = "better"
WORSE: Kind = "worse"
TRADED: Kind = "traded"
NO_DIFFERENCE: Kind = "no difference found"
CANNOT_JUDGE: Kind = "cannot judge"
CANNOT_DRAW: Kind = "cannot draw"

SEEDS, PROMPTS = "fresh seeds", "held-out prompts"
"""The units of a comparison, in words."""


def compare(found: Evaluation, name: str, seed: int) -> ScoreRow:
    """Compares the first with the last conditioning of an evaluation by scorer `name`, on the seeds where both have a value.

    `seed`: of the bootstrap. Returns means, their paired difference and its 95 % interval; None instead of a number that cannot be
    computed.
    """
    before, after = found.values[name][0], found.values[name][-1]
    return score_row(before, after, None, seed)


def score_row(before: np.ndarray, after: np.ndarray, clusters: np.ndarray | None, seed: int) -> ScoreRow:
    """Compares two arrays of the same shape, pair by pair where both have a value.

    `clusters`: the prompt of each pair, where prompts are resampled whole and counted. `seed`: of the bootstrap. The row has `p` where
    there are clusters.
    """
    both = ~(np.isnan(before) | np.isnan(after))
    if not both.any():
        return {"before": None, "after": None, "delta": None, "ci95": None, "n": 0, "up": 0, "down": 0, "smallest": None}
    deltas, labels = (after - before)[both], None if clusters is None else clusters[both]
    units = cluster_means(deltas, labels)
    interval = paired_bootstrap(deltas, labels, seed)
    means = [float(side[both].mean()) for side in (before, after)]
    row: ScoreRow = {
        "before": means[0],
        "after": means[1],
        "delta": means[1] - means[0] if labels is None else interval.mean,
        "ci95": [interval.lo, interval.hi] if interval.n > 1 else None,
        "n": interval.n,
        "up": int((units > 0).sum()),
        "down": int((units < 0).sum()),
        "smallest": smallest_visible(deltas, labels),
    }
    if labels is not None:
        row["p"] = interval.p
    return row


def is_gain(row: ScoreRow, higher_is_better: bool) -> bool:
    """Returns whether the whole interval lies on the better side of zero; False without an interval."""
    if row["ci95"] is None:
        return False
    lo, hi = row["ci95"]
    return lo > 0 if higher_is_better else hi < 0


def kind_of(row: ScoreRow, higher_is_better: bool) -> Kind:
    """Returns what one scorer says of a change."""
    if row["ci95"] is None:
        return CANNOT_JUDGE
    if is_gain(row, higher_is_better):
        return BETTER
    return WORSE if is_gain(row, not higher_is_better) else NO_DIFFERENCE


def verdict(
    scores: Mapping[str, ScoreRow],
    higher_is_better: Mapping[str, bool],
    objective: str,
    *,
    unit: str = SEEDS,
    undrawable: str = "",
    nothing: str = "",
    missing: Sequence[str] = (),
) -> Verdict:
    """Returns the verdict on a change.

    `scores`: of each scorer, before against after on `unit`. `higher_is_better`: of each scorer; of an attack's objective the scorer's own
    direction, so that the verdict says what became of the pictures. `undrawable`: why the checkpoint cannot draw what is asked, if so.
    `nothing`: why nothing could be compared, if so. `missing`: evidence that no scorer of the run gives.
    """
    scores = dict.fromkeys(scores, _NO_ROW) if nothing or undrawable else scores
    kinds = {name: kind_of(row, higher_is_better[name]) for name, row in scores.items()}
    row = scores.get(objective, _NO_ROW)
    up, down = row.get("up", 0), row.get("down", 0)
    better_on, worse_on = (up, down) if higher_is_better.get(objective, True) else (down, up)
    kind = kinds.get(objective, CANNOT_JUDGE)
    lost = [name for name, said in kinds.items() if name != objective and said == WORSE]
    if kind == BETTER and lost:
        kind = TRADED
    if undrawable:
        kind = CANNOT_DRAW
    found: Verdict = {
        "kind": kind,
        "words": "",
        "objective": objective,
        "better_on": better_on,
        "n": row["n"],
        "smallest": row.get("smallest"),
        "lost": lost,
        "scorers": kinds,
        "missing": list(missing),
    }
    sentences = [_headline(found, worse_on, unit, undrawable, nothing), *_remarks(found)]
    found["words"] = " ".join(f"{text[:1].upper()}{text[1:]}." for text in sentences)
    return found


_NO_ROW: ScoreRow = {"before": None, "after": None, "delta": None, "ci95": None, "n": 0}


def cannot_draw(reason: str) -> str:
    """Returns the sentence that stands first wherever a checkpoint is asked for what it does not know."""
    return f"This checkpoint cannot draw this: {reason}."


def _headline(found: Verdict, worse_on: int, unit: str, undrawable: str, nothing: str) -> str:
    counted = f"on {found['better_on']} of {found['n']} {unit} by {found['objective']}"
    match found["kind"]:
        case "cannot draw":
            return cannot_draw(undrawable).removesuffix(".")
        case "better":
            return f"better {counted}"
        case "traded":
            return f"traded: better {counted}, surely worse by {' and '.join(found['lost'])}"
        case "worse":
            return f"worse on {worse_on} of {found['n']} {unit} by {found['objective']}"
        case "no difference found":
            seen = "" if found["smallest"] is None else f" (smallest that could have been seen: {found['smallest']:.3g})"
            return f"no difference found{seen}: better {counted}"
        case _:
            return f"cannot judge: {nothing or _why_not(found, unit)}"


def _why_not(found: Verdict, unit: str) -> str:
    few = "none" if found["n"] == 0 else f"{found['n']}"
    return f"{found['objective']} has a value for {few} of the {unit}, and it takes two"


def _remarks(found: Verdict) -> list[str]:
    """Sentences on scorers that cannot judge, where the objective can, and on what is missing; none on what cannot be drawn."""
    if found["kind"] == CANNOT_DRAW:
        return []
    silent = [name for name, kind in found["scorers"].items() if kind == CANNOT_JUDGE and name != found["objective"]]
    said = [f"it cannot be judged by {' and '.join(silent)}"] if silent and found["kind"] != CANNOT_JUDGE else []
    return [*said, *(f"not checked: {text}" for text in found["missing"])]


def verdict_in(document: Mapping[str, Any]) -> Verdict:
    """Returns the verdict of a command's document; of one that an earlier version stored, what its `improved` says."""
    if "verdict" in document:
        found: Verdict = document["verdict"]
        return found
    kind, words = (BETTER, "Improved.") if document["improved"] else (NO_DIFFERENCE, "No improvement found.")
    return {
        "kind": kind,
        "words": words,
        "objective": "",
        "better_on": 0,
        "n": 0,
        "smallest": None,
        "lost": [],
        "scorers": {},
        "missing": [],
    }
