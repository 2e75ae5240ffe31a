"""Fooocus's metadata: a JSON object in `parameters` (scheme `fooocus`) or in EXIF's user comment, by its keys or its page's labels.

Its scheme `a1111` is infotext (a1111.py). Source: Fooocus, modules/meta_parser.py.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

from limner.promptdb.generated.record import Generated, Lora, base_name, note, pixels, real, text, whole

_CARRIED = (
    *("prompt", "negative_prompt", "seed", "steps", "guidance_scale", "sampler", "scheduler", "resolution", "base_model", "full_prompt"),
    *("full_negative_prompt", "base_model_hash", "refiner_model_hash", "loras", "created_by", "metadata_scheme", "version", "vae"),
)
_NUMBERS = re.compile(r"\d+")
_DEFAULTS: tuple[Any, ...] = ("", "None", "none", "Default (model)", "[]", None, [], False)


def is_fooocus(document: object) -> bool:
    """Whether a JSON value is Fooocus's."""
    keys = {_key(name) for name in document} if isinstance(document, Mapping) else set()
    return "prompt" in keys and bool({"styles", "performance", "base_model", "fooocus_v2_expansion", "metadata_scheme"} & keys)


def read_fooocus(document: Mapping[str, Any]) -> Generated:
    """Returns what the object says. Its styles, which add words of their own to the prompt, are named."""
    row = {_key(name): value for name, value in document.items()}
    numbers = _NUMBERS.findall(str(row.get("resolution", ""))[:40])
    rest = {name: value for name, value in row.items() if name not in _CARRIED and not name.startswith("lora_")}
    return Generated(
        text(row.get("prompt")),
        text(row.get("negative_prompt")),
        whole(row.get("seed")),
        whole(row.get("steps")),
        real(row.get("guidance_scale")),
        text(row.get("sampler")),
        text(row.get("scheduler")),
        pixels(numbers[0], numbers[1]) if len(numbers) == 2 else None,
        base_name(row.get("base_model")),
        tuple(_loras(row)),
        "fooocus",
        "a1111",
        tuple(note(name.replace("_", " "), _shown(value)) for name, value in rest.items() if value not in _DEFAULTS),
        tuple(note("version", row[name]) for name in ("version",) if row.get(name)),
    )


def _key(name: object) -> str:
    return str(name).strip().lower().replace(" ", "_").replace("__", "_")


def _shown(value: Any) -> Any:
    """Returns a list, which Fooocus writes as Python does, as words with commas."""
    if isinstance(value, str) and value.startswith("[") and len(value) < 1000:
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return value
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _loras(row: Mapping[str, Any]) -> Iterator[Lora]:
    """Yields networks: `lora_combined_1: "name.safetensors : 0.5"`, or `loras: [["name", 0.5, "hash"]]`."""
    for name, value in row.items():
        if name.startswith("lora_") and isinstance(value, str) and " : " in value:
            file, _, weight = value.rpartition(" : ")
            number = real(weight)
            yield Lora(base_name(file), 1.0 if number is None else number)
    rows = row.get("loras")
    for item in rows if isinstance(rows, list) else ():
        if isinstance(item, list) and len(item) >= 2 and base_name(item[0]):
            number = real(item[1])
            yield Lora(base_name(item[0]), 1.0 if number is None else number)
