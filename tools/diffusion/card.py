"""A checkpoint's card: recommended settings, scorers, styles. Reads one JSON file and opens no weights.

`card.json` lies beside `model_index.json`. Every key is optional; unknown keys are available in `document`:

    {"name": "miniature",
     "recommended": {"steps": 20, "guidance_scale": 5.0, "scheduler": "DDIMScheduler", "width": 64, "height": 64},
     "scorers": {"hps": {"kind": "hps", "path": "scorers/hps"}},
     "objective": "hps", "intent": "clip", "judge": "judge", "vocabulary": "vocabulary.json",
     "styles": {"neon": {"lora": "styles/neon", "triggers": ["cyberglow"], "prompts": "styles/neon/prompts.jsonl", "split": "source"}}}

A style opens as a checkpoint of its own, with `--checkpoint miniature:neon`: the base's weights with the LoRA added, and a card whose
document has the style's entry.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from limner.promptdb.errors import BadInput

FILE_NAME = "card.json"


@dataclass(frozen=True)
class Card:
    """The content of `card.json`; a missing entry is empty or None.

    `scorers`: scorer name -> {"kind", "path"}, the path relative to the checkpoint's folder and never outside it. `objective`, `intent`
    (rates whether a picture shows what its prompt asks for) and `judge` are scorer names. `document`: the whole file.
    """

    folder: Path | None = None
    name: str = ""
    steps: int | None = None
    guidance_scale: float | None = None
    scheduler: str | None = None
    width: int | None = None
    height: int | None = None
    scorers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    objective: str = ""
    intent: str = ""
    judge: str = ""
    vocabulary_file: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Card:
        """Reads the card in `folder`; an empty card where there is no `card.json`. Raises BadInput where it is invalid."""
        file = folder / FILE_NAME
        if not file.exists():
            return cls(folder)
        document = _document(file)
        recommended = _mapping(file, document, "recommended")
        return cls(
            folder=folder,
            name=_text(file, document, "name"),
            steps=_count(file, recommended, "steps"),
            guidance_scale=_scale(file, recommended, "guidance_scale"),
            scheduler=_text(file, recommended, "scheduler") or None,
            width=_count(file, recommended, "width"),
            height=_count(file, recommended, "height"),
            scorers=_scorers(file, document),
            objective=_text(file, document, "objective"),
            intent=_text(file, document, "intent"),
            judge=_text(file, document, "judge"),
            vocabulary_file=_relative(file, "vocabulary", _text(file, document, "vocabulary")),
            document=document,
        )

    def path(self, relative: str) -> Path:
        """Returns the path of a file or folder that the card names.

        Raises BadInput where it is missing or outside the checkpoint's folder.
        """
        if self.folder is None:
            raise BadInput(f"there is no card that could name {relative!r}")
        file = self.folder / _relative(self.folder / FILE_NAME, "path", relative)
        if not file.exists():
            raise BadInput(f"{self.folder / FILE_NAME} names {relative!r}, which is not there: fetch the checkpoint again")
        return file

    def vocabulary(self) -> dict[str, Any]:
        """Returns the vocabulary document of the checkpoint; empty where the card names none."""
        return _document(self.path(self.vocabulary_file)) if self.vocabulary_file else {}


def _document(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{file} is not valid JSON ({error}): mend or delete it") from error
    if not isinstance(document, dict):
        raise BadInput(f"{file} must hold one JSON object, not {type(document).__name__}")
    return document


def _mapping(file: Path, document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key, {})
    if not isinstance(value, dict):
        raise BadInput(f"{file}: {key!r} must be an object, not {value!r}")
    return value


def _text(file: Path, document: Mapping[str, Any], key: str) -> str:
    value = document.get(key, "")
    if not isinstance(value, str):
        raise BadInput(f"{file}: {key!r} must be a text, not {value!r}")
    return value


def _count(file: Path, document: Mapping[str, Any], key: str) -> int | None:
    value = document.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise BadInput(f"{file}: {key!r} must be a whole number of at least 1, not {value!r}")
    return value


def _scale(file: Path, document: Mapping[str, Any], key: str) -> float | None:
    value = document.get(key)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
        raise BadInput(f"{file}: {key!r} must be a number of at least 0, not {value!r}")
    return float(value)


def _scorers(file: Path, document: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    scorers: dict[str, dict[str, str]] = {}
    for name, entry in _mapping(file, document, "scorers").items():
        if not isinstance(entry, dict) or not isinstance(entry.get("kind"), str) or not isinstance(entry.get("path"), str):
            raise BadInput(f'{file}: scorer {name!r} must be an object with the texts "kind" and "path", not {entry!r}')
        scorers[name] = {**entry, "path": _relative(file, f"path of scorer {name}", entry["path"])}
    return scorers


def _relative(file: Path, what: str, path: str) -> str:
    """Returns `path`. Raises BadInput where it leaves the folder: a downloaded card must not point at other files of this machine."""
    parts = PurePosixPath(path.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or ":" in path:
        raise BadInput(f"{file}: the {what} {path!r} must lie inside the checkpoint's folder")
    return path


MOST_SCALE = 4.0
"""Beyond it a LoRA leaves nothing of the checkpoint."""

MARK = ":"


def split_style(name: str) -> tuple[str, str]:
    """Splits "miniature:neon" into checkpoint and style, ("miniature", "neon"); the style is '' where there is none.

    The name of an existing folder is not split, nor is a Windows path at its drive letter.
    """
    base, mark, style = name.rpartition(MARK)
    if not mark or not style or Path(name).expanduser().exists() or "/" in style or "\\" in style:
        return name, ""
    return base, style


def split_scale(style: str) -> tuple[str, float]:
    """Splits "neon@0.8" into the style and the scale of its LoRA, ("neon", 0.8); the scale is 1 where none is said. Raises BadInput."""
    name, mark, said = style.partition("@")
    if not mark:
        return style, 1.0
    try:
        scale = float(said)
    except ValueError:
        scale = math.nan
    if not -MOST_SCALE <= scale <= MOST_SCALE:
        raise BadInput(f"the scale of a style is a number of at most {MOST_SCALE:g}, as in {name}@0.8, not {said!r}")
    return name, scale


def styles_of(card: Card) -> dict[str, Mapping[str, Any]]:
    """Returns {style: entry} of a card, empty where it lists none. Raises BadInput for malformed entries."""
    listed = card.document.get("styles", {})
    if not isinstance(listed, dict) or not all(isinstance(entry, dict) and isinstance(entry.get("lora"), str) for entry in listed.values()):
        raise BadInput(f"{card.folder}: card.json must list its styles as objects that name a LoRA")
    return dict(listed)


def style_card(card: Card, style: str, checkpoint: str) -> tuple[Card, Path]:
    """Returns the card of a style and the folder of its LoRA; the card's document has the style's name and entry under `style`.

    Raises BadInput where the card lacks the style. `checkpoint`: the checkpoint's name, for the message.
    """
    listed = styles_of(card)
    if style not in listed:
        there = f"there are {', '.join(listed)}" if listed else "it has none"
        raise BadInput(f"{checkpoint} has no style {style!r}; {there}")
    entry = listed[style]
    return replace(card, document={**card.document, "style": {"name": style, **entry}}), card.path(entry["lora"])
