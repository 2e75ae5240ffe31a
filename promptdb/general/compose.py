"""Writes the general part of the seed: professional prompts for any checkpoint, joined from hand-written scenes and manners.

    python -m limner.promptdb.general.compose     # writes promptdb/seed/general.jsonl anew

`scenes.txt` has the subjects, each with its kind, its emblem and scenes: setting, plain description, details. `manners.toml` has how they
are shown: medium, technique, light, composition, colour, mood, negatives. Equal files give equal prompts.
"""

from __future__ import annotations

import json
import random
import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FILE = HERE.parent / "seed" / "general.jsonl"

SOURCE = "general"
PER_SUBJECT = 28

_PORTRAIT = re.compile(r"(?:close )?portrait of ")
_FIGURE_FAULTS = ("deformed hands", "extra fingers", "bad anatomy")

Lists = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Scene:
    """A subject in a setting. `plain`: as a person would ask for it; `details`: what a professional adds that can be seen in it."""

    setting: str
    plain: str
    details: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """What prompts are about. `kind`: a letter of manners.toml; `emblem`: what a logo of it shows."""

    name: str
    kind: str
    emblem: str
    scenes: tuple[Scene, ...]


def read_subjects(path: Path = HERE / "scenes.txt") -> list[Subject]:
    """Reads `# name | kind | emblem` and the lines `setting | plain | detail; detail` below it."""
    subjects = []
    for block in path.read_text(encoding="utf-8").split("# ")[1:]:
        head, *lines = block.strip().splitlines()
        name, kind, emblem = head.split(" | ")
        rows = [line.split(" | ") for line in lines]
        subjects.append(Subject(name, kind, emblem, tuple(Scene(mark, plain, tuple(more.split("; "))) for mark, plain, more in rows)))
    return subjects


def read_manners(path: Path = HERE / "manners.toml") -> tuple[dict[str, Lists], Lists]:
    """Returns the manners by name, each with what its group gives it, and the light of each setting."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: document["group"][own["group"]] | own for name, own in document["manner"].items()}, document["light"]


def general_prompts(per_subject: int = PER_SUBJECT, seed: int = 0) -> list[dict[str, str]]:
    """Returns `per_subject` distinct prompts for each subject, no manner twice for one subject: {text, subject, negative, source}."""
    manners, light = read_manners()
    used: Counter[str] = Counter()
    rows = []
    for subject in read_subjects():
        rng = random.Random(f"{subject.name} {seed}")
        shown: Counter[str] = Counter()
        suited = [name for name, manner in manners.items() if _scenes(manner, subject)]
        rng.shuffle(suited)
        for name in sorted(suited, key=lambda name: used[name])[:per_subject]:
            used[name] += 1
            manner = manners[name]
            fewest = min(shown[scene.plain] for scene in _scenes(manner, subject))
            scene = rng.choice([scene for scene in _scenes(manner, subject) if shown[scene.plain] == fewest])
            shown[scene.plain] += not manner.get("emblem")
            rows.append(_emblem(subject, manner, rng) if manner.get("emblem") else _scene(subject, scene, manner, light, rng))
    return rows


def _scenes(manner: Lists, subject: Subject) -> list[Scene]:
    """Returns the subject's scenes that the manner suits."""
    suits = subject.name in manner["subjects"] if "subjects" in manner else subject.kind in manner.get("kinds", subject.kind)
    return [scene for scene in subject.scenes if suits and scene.setting in manner.get("settings", scene.setting)]


def _scene(subject: Subject, scene: Scene, manner: Lists, light: Lists, rng: random.Random) -> dict[str, str]:
    medium = rng.choice(manner["medium"])
    details = rng.sample(scene.details, rng.choice([2, 2, 3]))
    technique = rng.sample(manner["technique"], rng.choice([2, 2, 3]))
    lit = rng.sample(light[scene.setting], 1) if manner.get("light", True) else []
    view, colour, mood, quality = (rng.sample(manner[part], 1) for part in ("composition", "colour", "mood", "quality"))
    bare = _PORTRAIT.sub("", scene.plain)
    if "portrait" in medium:
        named = f"{medium} of {bare}"
    else:
        named = f"{medium} of {scene.plain}" if bare == scene.plain else f"{medium}, {scene.plain}"
    forms = (
        [named, *details, *lit, *technique, *view, *colour],
        [named, *details, *technique, *lit, *mood, *quality],
        [scene.plain, *details, medium, *technique, *lit, *view, *mood],
        [scene.plain, *details, *lit, *mood, medium, *technique, *colour, *quality],
    )
    return _row(rng.choice(forms), scene.plain, _negative(subject, scene.setting, manner, rng))


def _emblem(subject: Subject, manner: Lists, rng: random.Random) -> dict[str, str]:
    named = f"{rng.choice(manner['medium'])} of {subject.emblem}"
    parts = [part for name in ("composition", "colour", "mood", "quality") for part in rng.sample(manner[name], 1)]
    return _row([named, *rng.sample(manner["technique"], 3), *rng.sample(parts, 3)], named, _negative(subject, "", manner, rng))


def _row(parts: Sequence[str], subject: str, negative: str) -> dict[str, str]:
    return {"text": ", ".join(dict.fromkeys(parts)), "subject": subject, "negative": negative, "source": SOURCE}


def _negative(subject: Subject, setting: str, manner: Lists, rng: random.Random) -> str:
    words = rng.sample(manner["negative"], rng.choice([4, 5, 6]))
    if subject.kind == "P" and setting:
        words.append(rng.choice(_FIGURE_FAULTS))
    return ", ".join(dict.fromkeys(words))


def write(path: Path = FILE) -> int:
    """Writes the prompts to `path`, one JSON object a line, and returns their number."""
    rows = general_prompts()
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return len(rows)


if __name__ == "__main__":
    print(f"{write()} prompts in {FILE}")
