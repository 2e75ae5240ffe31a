"""Compares the judge with a person: labels written by eye for generated pictures, against what the judge detects in them.

    python main.py miniature blind --out runs/blind

draws numbered sheets of pictures without their prompts and lists the prompts in drawn.jsonl. A person adds to each line what the picture
shows:

    {"prompt": "...", "seed": 77,
     "things": ["cat"], "colours": ["red"], "count": 1, "relation": null, "background": "beach", "style": "photo", "defects": ["blurry"]}

A colour is null where the thing has its natural colour; any other field is null where the person cannot decide. Null fields are not
compared. A null among the things stands for one that the person cannot name; the judge's other detections in that picture are then not
compared either. `evaluate miniature` reports the agreement when the file lies beside the checkpoint's judge as `labels.jsonl`.
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
    """What a person sees in the picture drawn from `prompt` and `seed`. None means that the person could not decide."""

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
    """Reads a labels file, one JSON object a line. Raises BadInput, with the line number, where a line is no label."""
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
    """Returns {head: (share of questions on which judge and person agree, number of questions)}; heads without questions are left out.

    `sights` and `labels` belong to the same pictures in the same order. Questions per head:
    `object`: one for each thing that the person sees, and for each that the judge sees where the person could name every thing;
    `colour`: one for each thing that both see and whose colour the person gave; `count`: where the person gave one and there is one kind of
    thing; `relation`: where both see the same two things; `defects`: one for each of the world's defects, where the person judged them.
    """
    right: dict[str, list[bool]] = {head: [] for head in HEADS}
    for sight, label in zip(sights, labels, strict=True):
        named = [thing for thing in label.things if thing is not None]
        others = sight.things if len(named) == len(label.things) else ()
        right["object"] += [thing in sight.things and thing in named for thing in dict.fromkeys((*named, *others))]
        seen = dict(zip(sight.things, sight.colours, strict=True))
        by_person = dict(zip(label.things, label.colours, strict=True))
        right["colour"] += [
            world.of_colour(thing, seen[thing], colour) for thing, colour in by_person.items() if thing and colour and thing in seen
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
