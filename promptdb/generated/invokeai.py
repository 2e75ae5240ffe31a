"""InvokeAI's metadata: `invokeai_metadata` since version 3, `sd-metadata` of version 2, `Dream` before.

Source: InvokeAI, invokeai/app/invocations/metadata.py (CoreMetadataInvocation) and ldm/invoke/pngwriter.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from limner.promptdb.generated.record import Generated, Lora, base_name, note, parsed_object, pixels, real, text, whole

KEYWORDS = ("invokeai_metadata", "sd-metadata", "Dream", "dream")
_CARRIED = (
    *("positive_prompt", "negative_prompt", "width", "height", "seed", "cfg_scale", "steps", "scheduler", "model", "loras"),
    *("generation_mode", "positive_style_prompt", "negative_style_prompt", "rand_device"),
)
_LABELS = ("app_version", "created_by", "ref_images")
_TEXT_TO_IMAGE = ("txt2img", "sdxl_txt2img", "flux_txt2img", "sd3_txt2img", "cogview4_txt2img", "qwen_image_txt2img")
_SWITCH = re.compile(r"\s-([A-Za-z])\s*([^\s-]\S*)")


def read_invokeai(texts: Mapping[str, str]) -> Generated | None:
    """Returns what one of KEYWORDS says; None where none is there. Raises BadInput for damaged JSON."""
    if content := texts.get("invokeai_metadata"):
        return _core(parsed_object(content, "the text 'invokeai_metadata'"))
    if content := texts.get("sd-metadata"):
        return _version_2(parsed_object(content, "the text 'sd-metadata'"))
    return _dream(content) if (content := texts.get("Dream") or texts.get("dream")) else None


def _core(row: Mapping[str, Any]) -> Generated:
    mode = text(row.get("generation_mode"))
    rest = {name: value for name, value in row.items() if name not in (*_CARRIED, *_LABELS)}
    notes = [note(name, value) for name, value in rest.items() if value not in (None, "", [], {}, False)]
    notes += [note(mode)] if mode and mode not in _TEXT_TO_IMAGE else []
    for name, own in (("positive_style_prompt", "positive_prompt"), ("negative_style_prompt", "negative_prompt")):
        if text(row.get(name)) and text(row.get(name)) != text(row.get(own)):
            notes.append(note(name, text(row[name])))
    return Generated(
        text(row.get("positive_prompt")),
        text(row.get("negative_prompt")),
        whole(row.get("seed")),
        whole(row.get("steps")),
        real(row.get("cfg_scale")),
        text(row.get("scheduler")),
        size=pixels(row.get("width"), row.get("height")),
        model=_name(row.get("model")),
        loras=tuple(_loras(row.get("loras"))),
        tool="invokeai",
        notation="invokeai",
        notes=tuple(notes),
        labels=tuple(note(name, row[name]) for name in _LABELS if row.get(name)),
    )


def _loras(rows: object) -> Iterator[Lora]:
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, Mapping) and (name := _name(row.get("model") or row.get("lora"))):
            weight = real(row.get("weight"))
            yield Lora(name, 1.0 if weight is None else weight)


def _name(model: object) -> str:
    """Returns the name of a model: a text, or an object with its name by the key of the version that wrote it."""
    if isinstance(model, Mapping):
        model = next((model[key] for key in ("name", "model_name", "key") if isinstance(model.get(key), str)), "")
    return base_name(model)


def _version_2(row: Mapping[str, Any]) -> Generated:
    image = row.get("image")
    image = image if isinstance(image, Mapping) else {}
    prompt: object = image.get("prompt")
    if isinstance(prompt, list):
        prompt = ", ".join(text(item.get("prompt")) for item in prompt if isinstance(item, Mapping))
    asked, unwanted = _unwanted(text(prompt))
    return Generated(
        asked,
        unwanted,
        whole(image.get("seed")),
        whole(image.get("steps")),
        real(image.get("cfg_scale")),
        text(image.get("sampler")),
        size=pixels(image.get("width"), image.get("height")),
        model=text(row.get("model_weights")),
        tool="invokeai",
        notation="invokeai",
        labels=tuple(note(name, row[name]) for name in ("app_version", "model_hash") if row.get(name)),
    )


def _unwanted(prompt: str) -> tuple[str, str]:
    """Returns the prompt, and what stands in square brackets, which is the negative prompt there."""
    return re.sub(r"\s*\[[^\[\]]*\]", "", prompt).strip(), ", ".join(re.findall(r"\[([^\[\]]*)\]", prompt))


def _dream(command: str) -> Generated | None:
    """Returns what a command line of version 1 says: "a prompt" -s50 -S42 -W512 -H512 -C7.5 -Ak_lms."""
    match = re.match(r'\s*"((?:[^"\\]|\\.)*+)"', command[:50_000])
    if match is None:
        return None
    switches = dict(_SWITCH.findall(command[match.end() : match.end() + 2000]))
    asked, unwanted = _unwanted(match[1])
    return Generated(
        asked,
        unwanted,
        whole(switches.get("S")),
        whole(switches.get("s")),
        real(switches.get("C")),
        switches.get("A", ""),
        size=pixels(switches.get("W"), switches.get("H")),
        tool="invokeai",
        notation="invokeai",
    )
