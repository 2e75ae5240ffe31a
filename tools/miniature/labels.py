"""Does the judge agree with a person? Generated pictures labelled by eye, without the prompt, against what the judge sees in them.

    python main.py miniature blind --out runs/blind

draws them as numbered sheets and lists what was drawn; a person writes down what is there, and adds it to the list, line by line:

    {"prompt": "...", "seed": 77,
     "things": ["cat"], "colours": ["red"], "count": 1, "relation": null, "background": "beach", "style": "photo", "defects": ["blurry"]}

A colour that is the thing's own, and whatever cannot be told, is null and not asked about; a null among the things is one that cannot be
told: whatever else the judge sees in that picture is then not asked about either. Beside a checkpoint's judge as `labels.jsonl`, they
become rows of `evaluate miniature`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limner.promptdb.errors import BadInput
from limner.tools.scoring.asked import World
from limner.tools.scoring.judge import Sight

FILE = "labels.jsonl"
HEADS = ("object", "colour", "count", "relation", "background", "style", "defects")


@dataclass(frozen=True, slots=True)
class Label:
    """What a person sees in the picture of `prompt` and `seed`; None where it cannot be told."""

    prompt: str
    seed: int
    things: tuple[str | None, ...]
    colours: tuple[str | None, ...]
    count: int | None
    relation: str | None
    background: str | None
    style: str | None
    defects: tuple[str, ...] | None


def read_labels(path: Path) -> list[Label]:
    """Raises BadInput for a file that cannot be read."""
    labels = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            defects = None if row["defects"] is None else tuple(row["defects"])
            single = (row["count"], row["relation"], row["background"], row["style"])
            drawn = (str(row["prompt"]), int(row["seed"]))
            labels.append(Label(*drawn, tuple(row["things"]), tuple(row["colours"]), *single, defects))
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{path}, line {number}: no label ({error})") from error
    return labels


def agreement(sights: Sequence[Sight], labels: Sequence[Label], world: World) -> dict[str, tuple[float, int]]:
    """Of each head the share of questions on which judge and person agree, and how many there were; heads without any are left out.

    `object`: each thing that either sees, where the person can tell every one, else each that the person sees; `colour`: of things that
    both see, where the person tells one; `count` where the person tells one; `relation` where both see the same two things; `defects`:
    each of the `world`'s, where the person tells.
    """
    right: dict[str, list[bool]] = {head: [] for head in HEADS}
    for sight, label in zip(sights, labels, strict=True):
        told_things = [thing for thing in label.things if thing is not None]
        others = sight.things if len(told_things) == len(label.things) else ()
        right["object"] += [thing in sight.things and thing in told_things for thing in dict.fromkeys((*told_things, *others))]
        seen = dict(zip(sight.things, sight.colours, strict=True))
        told = dict(zip(label.things, label.colours, strict=True))
        right["colour"] += [
            world.of_colour(thing, seen[thing], colour) for thing, colour in told.items() if thing and colour and thing in seen
        ]
        if label.count is not None and sight.count is not None and len(label.things) == 1:
            right["count"].append(sight.count == label.count)
        if label.relation and len(label.things) == 2 and set(label.things) == set(sight.things):
            same_order = sight.things == label.things
            right["relation"].append(sight.relation == (label.relation if same_order else _OPPOSITE[label.relation]))
        for head in ("background", "style"):
            if getattr(label, head) is not None:
                right[head].append(getattr(sight, head) == getattr(label, head))
        if label.defects is not None:
            right["defects"] += [(name in sight.defects) == (name in label.defects) for name in world.defects]
    return {head: (float(np.mean(answers)), len(answers)) for head, answers in right.items() if answers}


_OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
