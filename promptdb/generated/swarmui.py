"""SwarmUI's metadata: a JSON object with `sui_image_params`, in `parameters` or in EXIF's user comment.

Source: SwarmUI, docs/Image Metadata Format.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from limner.promptdb.generated.record import Generated, Lora, base_name, note, pixels, real, text, whole

ROOT = "sui_image_params"
_CARRIED = (
    *("prompt", "negativeprompt", "model", "seed", "steps", "cfgscale", "width", "height", "sampler", "scheduler"),
    *("loras", "loraweights", "aspectratio", "images", "sidelength"),
)
_CHANGES_NOTHING = (
    *("swarm_version", "date", "generation_time", "imageformat", "nopreviews", "donotsave", "personalnote", "prep_time", "gen_time"),
    *("original_prompt", "original_negativeprompt", "used_wildcards", "automaticvae", "preferreddtype"),
)


def is_swarmui(document: object) -> bool:
    """Whether a JSON value is SwarmUI's."""
    return isinstance(document, Mapping) and isinstance(document.get(ROOT), Mapping)


def read_swarmui(document: Mapping[str, Any]) -> Generated:
    """Returns what the object says."""
    row = document[ROOT]
    rest = {name: value for name, value in row.items() if name not in (*_CARRIED, *_CHANGES_NOTHING)}
    return Generated(
        text(row.get("prompt")),
        text(row.get("negativeprompt")),
        whole(row.get("seed")),
        whole(row.get("steps")),
        real(row.get("cfgscale")),
        text(row.get("sampler")),
        text(row.get("scheduler")),
        pixels(row.get("width"), row.get("height")),
        base_name(row.get("model")),
        tuple(_loras(row.get("loras"), row.get("loraweights"))),
        "swarmui",
        "comfyui",
        tuple(note(name, value) for name, value in rest.items() if value not in (None, "", [], False)),
        tuple(note(name, row[name]) for name in ("swarm_version",) if row.get(name)),
    )


def _loras(names: Any, weights: Any) -> Iterator[Lora]:
    """Yields networks; both are lists, or texts with commas in files of older versions."""
    rows, strengths = (_list(value) for value in (names, weights))
    for place, name in enumerate(rows):
        weight = real(strengths[place]) if place < len(strengths) else None
        if base_name(name):
            yield Lora(base_name(name), 1.0 if weight is None else weight)


def _list(value: Any) -> list[Any]:
    return value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
