"""Civitai's list of images: {"items": [{"meta": {"prompt", "negativePrompt", "cfgScale", ...}, "width", "height", ...}]}.

Source: Civitai's public REST API, GET /api/v1/images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from limner.promptdb.errors import BadInput
from limner.promptdb.generated.a1111 import networks
from limner.promptdb.generated.comfyui import read_comfyui
from limner.promptdb.generated.record import Generated, Lora, note, parsed, pixels, real, text, whole

_CARRIED = ("prompt", "negativeprompt", "seed", "steps", "cfgscale", "sampler", "schedule type", "scheduler", "size", "model", "resources")
_CHANGES_NOTHING = ("hashes", "version", "model hash", "civitairesources", "modelids", "versionids", "additionalresources", "comfy", "id")


def is_civitai(document: object) -> bool:
    """Whether a JSON value is a list of images as civitai answers it."""
    rows = document.get("items") if isinstance(document, Mapping) else None
    return isinstance(rows, list) and any(isinstance(row, Mapping) and "meta" in row for row in rows)


def read_civitai(row: Any) -> Generated:
    """Returns what one item of the list says. Raises BadInput where it has no prompt, as those whose owner hides it."""
    meta = row.get("meta") if isinstance(row, Mapping) else None
    if isinstance(meta, Mapping) and isinstance(meta.get("meta"), Mapping):  # newer answers nest it once more
        meta = meta["meta"]
    if not isinstance(meta, Mapping):
        raise BadInput("the image has no metadata (meta is empty)")
    given = {str(name).lower(): value for name, value in meta.items()}
    if not text(given.get("prompt")):
        if isinstance(given.get("comfy"), str):
            graph = parsed(given["comfy"], "the graph of the image")
            return read_comfyui(graph)
        raise BadInput("the image's metadata has no prompt")
    width, _, height = text(given.get("size")).partition("x")
    rest = [(name, value) for name, value in meta.items() if str(name).lower() not in (*_CARRIED, *_CHANGES_NOTHING)]
    prompt = text(given["prompt"])
    return Generated(
        prompt,
        text(given.get("negativeprompt")),
        whole(given.get("seed")),
        whole(given.get("steps")),
        real(given.get("cfgscale")),
        text(given.get("sampler")),
        text(given.get("schedule type")) or text(given.get("scheduler")),
        pixels(width, height) or pixels(row.get("width"), row.get("height")),
        text(given.get("model")) or _model(given.get("resources")),
        tuple(networks(prompt)) or tuple(_loras(given.get("resources"))),
        "civitai",
        "comfyui" if "comfy" in given else "a1111",
        tuple(note(str(name), value) for name, value in rest if value not in (None, "", [], {}, False)),
        tuple(note(name, given[name]) for name in ("version", "model hash") if given.get(name)),
    )


def _resources(rows: Any, kind: str) -> Iterator[Mapping[str, Any]]:
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, Mapping) and row.get("type") == kind and text(row.get("name")):
            yield row


def _model(rows: Any) -> str:
    return next((text(row["name"]) for row in _resources(rows, "model")), "")


def _loras(rows: Any) -> Iterator[Lora]:
    for row in _resources(rows, "lora"):
        weight = real(row.get("weight"))
        yield Lora(text(row["name"]), 1.0 if weight is None else weight)
