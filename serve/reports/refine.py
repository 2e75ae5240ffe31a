"""The report of a refined prompt: one self-contained HTML file, and the pictures beside it as PNGs that record how they were made.

Builds the data of templates/refine.html from a run: the verdict, the words that the prompt gained and lost, and, where words were searched,
the path to the best candidate and the gain of each word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Literal

import numpy as np

from limner.agents.clause import told
from limner.graph.intent import contract_of, witness
from limner.graph.nodes import conditioning_of
from limner.graph.state import Context, RefineState, ScoreRow
from limner.promptdb.images import provenance, write_png
from limner.promptdb.records import text_id
from limner.serve.reports import page
from limner.serve.reports.timeline import strip, timeline
from limner.tools.evaluation import Evaluation
from limner.tools.prompt_language.infotext import infotext_of
from limner.tools.scoring.adversarial import Adversarial

METHOD = "dpo-diff"


def words_view(context: Context, state: RefineState) -> dict[str, Any]:
    """Returns the data of the search for words; empty where there was none, or it had nothing to search."""
    found = state.get("findings", {}).get(METHOD, {})
    if not found.get("trajectory"):
        return {}
    uris = page.data_uris(context, [row["drawing"] for row in found["trajectory"]])
    return {
        "summary": _in_one_line(found),
        "objective": found["objective"],
        "seed": found["seeds"][0],
        "trajectory": [
            {
                "evaluations": row["evaluations"],
                "image": uris[row["drawing"]],
                "value": page.number(row["value"]),
                "said": row["negative"] or row["text"],
            }
            for row in found["trajectory"]
        ],
        "rows": [
            {
                "where": "negative prompt" if row["side"] == "negative" else "in place of",
                "word": row["word"],
                "candidate": row["candidate"],
                "gain": page.signed(row["gain"]) if row["gain"] is not None else "not tried without it",
            }
            for row in found["words"]
        ],
    }


def _in_one_line(found: dict[str, Any]) -> str:
    text = (
        f"{found['tried']} candidates in the space {found['space']} ({found['slots']} places, {found['candidates']} words), search "
        f"{found['search']}, {found['images']:g} image equivalents with gradients included"
    )
    if found["refused"]:
        text += f"; {found['refused']} refused before they were drawn"
    if found["skipped_gradients"]:
        text += f"; {found['skipped_gradients']} gradients were not finite and were left out"
    return text + "."


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of words; `removed` ones are only in the first text, `added` ones only in the second."""

    kind: Literal["same", "added", "removed"]
    text: str


def word_diff(before: str, after: str) -> list[Piece]:
    """Returns the second text with its added words and the removed words of the first, in reading order; case and punctuation are
    ignored.
    """
    old, new = before.split(), after.split()
    matcher = SequenceMatcher(None, [_bare(word) for word in old], [_bare(word) for word in new], autojunk=False)
    pieces: list[Piece] = []
    for change, start, end, new_start, new_end in matcher.get_opcodes():
        same = change == "equal"
        if not same and end > start:
            pieces.append(Piece("removed", " ".join(old[start:end])))
        if new_end > new_start:
            pieces.append(Piece("same" if same else "added", " ".join(new[new_start:new_end])))
    return pieces


def _bare(word: str) -> str:
    return re.sub(r"^\W+|\W+$", "", word).casefold() or word


@dataclass(frozen=True)
class ReportFiles:
    """The written files. `before`, `after`: a PNG for each held-out seed with a usable picture."""

    report: Path
    before: list[Path]
    after: list[Path]


def write_refine(context: Context, state: RefineState, folder: Path) -> ReportFiles:
    """Writes pictures and page into `folder`, the page last. Raises BadInput where it cannot be written."""
    outcome = state["outcome"]
    before = _write_pictures(context, state, outcome["before"], folder, "before")
    after = _write_pictures(context, state, outcome["after"], folder, "after")
    path = folder / "report.html"
    page.write_text(path, render_refine(context, state))
    return ReportFiles(path, before, after)


def render_refine(context: Context, state: RefineState) -> str:
    """Returns the page. The template engine escapes all texts by people and models."""
    return page.render("refine.html", _view(context, state))


def _view(context: Context, state: RefineState) -> dict[str, Any]:
    outcome, prompt = state["outcome"], state["prompt"]
    objective = outcome["objective"]
    higher = outcome["higher_is_better"]
    found = _found(context, state)
    best = outcome["best"]
    tried = context.evaluator.as_drawn(conditioning_of(best)) if best else None
    text = tried.text if tried else prompt
    row = outcome["scores"][objective]
    attack = isinstance(context.evaluator.objective, Adversarial)
    return {
        "attack": attack,
        "words": words_view(context, state),
        "prompt": prompt,
        "run": state["run"],
        "method": state["method"],
        "checkpoint": context.evaluator.model.name,
        "improved": outcome["improved"],
        "verdict": f"{_attacked(outcome['improved'])} {outcome['verdict']['words']}" if attack else outcome["verdict"]["words"],
        "summary": _summary(objective, row, higher[objective], outcome["improved"], best is not None),
        "warnings": outcome["warnings"],
        "notes": _notes(context, state),
        "compared": best is not None,
        "witness": guard.name if (guard := witness(context)) else "",
        "objective": objective,
        "pairs": _pairs(context, state, found),
        "aspect": page.aspect(context),
        "diff": word_diff(prompt, text),
        "negative": tried.negative if tried else "",
        "origin": best["origin"] if best else "",
        "timeline": timeline(tried) if tried else {},
        "strip": strip(context, outcome.get("strip", [])),
        "scores": [page.difference_view(context, name, item, found.differences(name, 0, 1)) for name, item in outcome["scores"].items()],
        "path": _path_view(state),
        "exemplars": state.get("exemplars", []),
        "candidates": _candidates_view(state),
        "facts": [*page.spent_facts(context), *page.drawing_facts(context)],
    }


def _attacked(improved: bool) -> str:
    return "Led astray." if improved else "No prompt found that leads it astray."


def _found(context: Context, state: RefineState) -> Evaluation:
    outcome = state["outcome"]
    rows = [state["population"][0], outcome["best"] or state["population"][0]]
    conditionings = [conditioning_of(row) for row in rows]
    return context.evaluator.known(conditionings, state["prompt"], context.settings.heldout, list(outcome["scores"]))


def _summary(objective: str, row: ScoreRow, higher: bool, improved: bool, compared: bool) -> str:
    if not compared or row["delta"] is None or row["ci95"] is None:
        return "Your prompt is returned unchanged."
    number = page.change(objective, row, "held-out seeds")
    direction = "" if higher else ", lower being better"
    if improved:
        return f"{number}{direction}."
    return f"With the best candidate {number}{direction}. Your prompt is returned unchanged."


def _notes(context: Context, state: RefineState) -> list[str]:
    """Returns remarks for the reader that are no errors."""
    texts = []
    if context.chat.name == page.OFFLINE:
        texts.append("No chat model is configured: the offline stand-in rewrote the prompt, by rules and counts, not a language model.")
    texts += [f"{line[:1].upper()}{line[1:]}." for line in told(contract_of(context, state["prompt"]).automatic)]
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
    uris = page.data_uris(context, [*outcome["before"], *outcome["after"]])
    pairs = []
    for place, (seed, before, after) in enumerate(zip(context.settings.heldout, outcome["before"], outcome["after"], strict=True)):
        delta = float(values[1, place] - values[0, place])
        pairs.append(
            {
                "seed": seed,
                "before": {"image": uris[before], "score": page.number(values[0, place])},
                "after": {"image": uris[after], "score": page.number(values[1, place])},
                "delta": "" if np.isnan(delta) else f"{delta:+.3g}",
                "direction": page.direction(sign * delta),
            }
        )
    return pairs


def _path_view(state: RefineState) -> list[dict[str, Any]]:
    longest = max((row["seconds"] for row in state["path"]), default=0.0) or 1.0
    return [
        {
            "node": row["node"],
            "note": row["note"],
            "seconds": f"{row['seconds']:.1f} s" if row["seconds"] >= 0.05 else "",
            "share": round(100 * row["seconds"] / longest, 1),
        }
        for row in state["path"]
    ]


def _candidates_view(state: RefineState) -> list[dict[str, Any]]:
    rows = {row["id"]: row for row in state["population"]}
    return [
        {
            "score": page.number(score),
            "text": conditioning_of(rows[key]).text,
            "negative": conditioning_of(rows[key]).negative,
            "origin": rows[key]["origin"],
            "unfaithful": key in state.get("unfaithful", []),
        }
        for key, score in state["search"].items()
    ]


def _write_pictures(context: Context, state: RefineState, drawing_ids: Sequence[str], folder: Path, name: str) -> list[Path]:
    stored = context.db.stored_drawings(drawing_ids)
    reference = text_id(state["prompt"])
    paths = []
    for key in drawing_ids:
        if key not in stored or (image := stored[key].image) is None:
            continue
        scores = {score.scorer: score.value for score in context.db.scores_of(key) if score.reference == reference}
        drawing = stored[key].drawing
        path = folder / f"{name}-{drawing.seed}.png"
        said = infotext_of(drawing, context.evaluator.model.name)
        write_png(context.images.get(image), path, provenance(stored[key], scores, state["run"]), said)
        paths.append(path)
    return paths
