"""The findings of a search, as numbers and texts for a report: the path to the best candidate, and the gain of each of its words."""

from __future__ import annotations

from typing import Any

from limner.tools.solvers.dpo_diff.settings import DpoSettings
from limner.tools.solvers.dpo_diff.trials import Trial, Trials

SHOWN = (0, 10, 20, 40, 80)
"""Numbers of evaluations after which the best candidate so far is shown (DPO-Diff, figure 5)."""

DECIMALS = 6


def findings(trials: Trials, settings: DpoSettings, skipped: int) -> dict[str, Any]:
    """Returns the findings, JSON values only.

    Scores in it are those of the search seeds, which chose the candidate; they are not results. `confirmed`: costs of the finalists and of
    the prompt itself on fresh seeds, by id. `skipped`: gradients that were not finite.
    """
    ordered = trials.trajectory()
    return {
        "space": settings.space,
        "search": settings.search,
        "slots": len(trials.space.slots),
        "candidates": sum(trials.space.sizes) - len(trials.space.sizes),
        "tried": len(trials.tried),
        "refused": len(trials.refused),
        "skipped_gradients": skipped,
        "rows": round(trials.rows, 1),
        "images": round(trials.rows / trials.rows_per_image, 1),
        "objective": trials.evaluator.objective.name,
        "seeds": list(trials.seeds),
        "best": trials.chosen[0].conditioning.to_json(),
        "confirmed": {id: round(cost, DECIMALS) for id, cost in trials.confirmed.items()},
        "mean_change": _mean_change(ordered),
        "curve": _curve(ordered),
        "trajectory": [_shown(trials, at, trial) for at, trial in _milestones(ordered)],
        "words": _words(trials),
    }


def _mean_change(ordered: list[Trial]) -> float | None:
    """Returns the mean change of all candidates against the baseline, which is free of selection."""
    changes = [trial.cost - ordered[0].cost for trial in ordered[1:]]
    return round(sum(changes) / len(changes), DECIMALS) if changes else None


def _curve(ordered: list[Trial]) -> list[list[float]]:
    """Returns (rows, cost of the best so far) for each improvement."""
    points: list[list[float]] = []
    for trial in ordered:
        if not points or trial.cost < points[-1][1]:
            points.append([round(trial.rows, 1), round(trial.cost, DECIMALS)])
    return points


def _milestones(ordered: list[Trial]) -> list[tuple[int, Trial]]:
    """Returns (evaluations, best so far) at the numbers in SHOWN that were reached, and at the end. The baseline is evaluation 0."""
    points = [at for at in SHOWN if at < len(ordered)]
    if ordered and len(ordered) - 1 not in points:
        points.append(len(ordered) - 1)
    return [(at, min(ordered[: at + 1], key=lambda trial: trial.order)) for at in points]


def _shown(trials: Trials, at: int, trial: Trial) -> dict[str, Any]:
    drawing = trials.evaluator.drawing(trial.conditioning, trials.seeds[0])
    value = -trial.cost if trials.evaluator.objective.higher_is_better else trial.cost
    return {
        "evaluations": at,
        "text": trial.conditioning.text,
        "negative": trial.conditioning.negative,
        "value": round(value, DECIMALS),
        "drawing": drawing.id,
    }


def _words(trials: Trials) -> list[dict[str, Any]]:
    """Returns each word that the best candidate changed, with its gain where a trial that differs in that word alone is known."""
    best, rows = trials.chosen[0], []
    for number, (slot, chosen) in enumerate(zip(trials.space.slots, best.choice, strict=True)):
        if chosen == 0:
            continue
        without = trials.conditioning((*best.choice[:number], 0, *best.choice[number + 1 :])).id
        gain = trials.done[without].cost - best.cost if without in trials.done else None
        rows.append(
            {
                "side": slot.side,
                "origin": slot.origin,
                "word": trials.space.words.between(slot.start, slot.end) if slot.start < slot.end else "",
                "candidate": slot.candidates[chosen],
                "gain": None if gain is None else round(gain, DECIMALS),
            }
        )
    return rows
