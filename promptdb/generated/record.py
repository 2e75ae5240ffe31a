"""What a picture that was made elsewhere says of itself, whichever tool made it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from limner.promptdb.errors import BadInput

Notation = Literal["a1111", "comfyui", "invokeai", "novelai", "plain"]
NOTATIONS: tuple[Notation, ...] = get_args(Notation)
"""The languages in which tools write emphasis and timing."""

LONGEST_PROMPT = 20_000
"""Characters of a prompt or negative prompt; no text encoder reads a hundredth of it."""

LONGEST_VALUE = 60
"""Characters of a value that is named beside its setting."""

MOST_NOTES = 200


@dataclass(frozen=True, slots=True)
class Lora:
    """A network that was loaded, by its name without folder and ending, and its strength."""

    name: str
    weight: float = 1.0

    def __str__(self) -> str:
        return f"{self.name} {self.weight:g}"


@dataclass(frozen=True, slots=True)
class Generated:
    """A prompt with the settings that it was drawn with; None and "" for what was not said.

    `sampler`, `schedule`: by the tool's own names. `cfg`: classifier-free guidance. `size`: width and height in pixels. `model`: name of
    the checkpoint. `tool`: which program wrote it. `notation`: the language of its prompts. `notes`: what was found, may change the
    picture and is not carried, by name. `labels`: versions and hashes, which change no picture.

    Raises BadInput for prompts that are too long or no Unicode text.
    """

    prompt: str
    negative: str = ""
    seed: int | None = None
    steps: int | None = None
    cfg: float | None = None
    sampler: str = ""
    schedule: str = ""
    size: tuple[int, int] | None = None
    model: str = ""
    loras: tuple[Lora, ...] = ()
    tool: str = ""
    notation: Notation = "plain"
    notes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("prompt", "negative"):
            text = getattr(self, name).strip()
            if len(text) > LONGEST_PROMPT:
                raise BadInput(f"the {_SPOKEN[name]} has {len(text)} characters; at most {LONGEST_PROMPT} are read")
            if any("\ud800" <= char <= "\udfff" for char in text):
                raise BadInput(f"the {_SPOKEN[name]} has half of a surrogate pair, which is no Unicode text")
            object.__setattr__(self, name, text)
        for name in ("notes", "labels"):
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name)))[:MOST_NOTES])

    def to_json(self) -> dict[str, Any]:
        """Returns what is known as a JSON-able dict."""
        document = {name: getattr(self, name) for name in self.__dataclass_fields__}
        document["size"] = list(self.size) if self.size else None
        document["loras"] = [{"name": item.name, "weight": item.weight} for item in self.loras]
        document |= {name: list(document[name]) for name in ("notes", "labels")}
        return {name: value for name, value in document.items() if value not in (None, "", [])}


_SPOKEN = {"prompt": "prompt", "negative": "negative prompt"}


def note(name: str, value: object = "") -> str:
    """Returns a name with its value, where the value is short; blanks and line ends become single blanks."""
    if isinstance(value, bool | float | int):
        value = json.dumps(value) if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
    elif not isinstance(value, str):
        value = ""
    shown = " ".join(value[: 4 * LONGEST_VALUE].split())
    return f"{name} {shown}".strip() if len(shown) <= LONGEST_VALUE else name


def whole(value: object) -> int | None:
    """Returns a number from 0 to 2**64 - 1, also from a text; None for anything else."""
    number = real(value) if not isinstance(value, int | str) else value
    if isinstance(number, str):
        number = int(number) if number.strip().isascii() and number.strip().isdigit() and len(number) < 40 else real(number)
    if number is None or isinstance(number, bool) or number != int(number):
        return None
    return int(number) if 0 <= number < 2**64 else None


def real(value: object) -> float | None:
    """Returns a finite number, also from a text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def text(value: object) -> str:
    """Returns a text; "" for anything else."""
    return value.strip() if isinstance(value, str) else ""


def pixels(width: object, height: object) -> tuple[int, int] | None:
    """Returns a size; None unless both numbers are between 1 and 100,000."""
    found = whole(width), whole(height)
    return (found[0], found[1]) if found[0] and found[1] and max(found[0], found[1]) <= 100_000 else None


def base_name(file: object) -> str:
    """Returns the name of a model's file without folders and without its ending."""
    name = text(file).replace("\\", "/").rpartition("/")[2]
    for ending in (".safetensors", ".ckpt", ".pt", ".pth", ".gguf", ".sft", ".bin"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def parsed(content: str, what: str) -> Any:
    """Returns a JSON value; NaN and Infinity are accepted, as ComfyUI writes them. Raises BadInput, naming `what`."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{what} is no readable JSON ({str(error)[:80]})") from error


def parsed_object(content: str, what: str) -> Mapping[str, Any]:
    """Returns a JSON object. Raises BadInput, naming `what`."""
    document = parsed(content, what)
    if not isinstance(document, Mapping):
        raise BadInput(f"{what} is no JSON object")
    return document
