"""Measures whether a checkpoint's judge agrees with a person on its pictures: one row a head, where labels lie beside the judge."""

from __future__ import annotations

from limner.graph.evaluate.base import Row, Target
from limner.graph.evaluate.heldout import judge_of
from limner.graph.state import Context
from limner.promptdb.records import Conditioning
from limner.tools.events import Emit
from limner.tools.miniature.labels import FILE, Label, agreement, read_labels

AGREED = 0.90


def labels_of(context: Context) -> list[Label]:
    """Returns the labels of the checkpoint's pictures; empty without labels. Raises BadInput where they cannot be read."""
    judge = context.card.document.get("scorers", {}).get(context.card.judge)
    path = context.card.path(str(judge["path"])) / FILE if judge else None
    return read_labels(path) if path and path.is_file() else []


def label_rows(context: Context, emit: Emit) -> list[Row]:
    """Draws the labelled pictures again; returns the share of questions on which judge and person agree, `n` counting questions."""
    labels = labels_of(context)
    if not labels:
        return []
    evaluator, judge = context.evaluator, judge_of(context)
    ids: list[str] = []
    for seed in sorted({label.seed for label in labels}):
        of_seed = [label for label in labels if label.seed == seed]
        ids += evaluator.draw([Conditioning(label.prompt) for label in of_seed], [seed], emit)[:, 0].tolist()
    labels.sort(key=lambda label: label.seed)  # stable, hence in the order of `ids`
    stored = context.db.stored_drawings(ids)
    there = [(evaluator.image(key), label) for key, label in zip(ids, labels, strict=True) if stored[key].image]
    found = agreement(judge.see([image for image, _ in there]), [label for _, label in there], judge.world)
    return [Row(f"judge agrees with a person: {head}", share, None, asked, Target(">=", AGREED)) for head, (share, asked) in found.items()]
