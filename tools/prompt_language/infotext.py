"""The settings that come with a prompt, between A1111's infotext, ComfyUI's graphs and pictures of any tool: read, and written by the
target's own names. What has no name there, and what was found and is not carried, is told by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from limner.promptdb.errors import BadInput
from limner.promptdb.generated.a1111 import is_infotext, read_infotext
from limner.promptdb.generated.comfyui import read_comfyui as read_made
from limner.promptdb.generated.record import Generated
from limner.promptdb.records import Conditioning, Drawing, SamplerSettings
from limner.tools.prompt_language.a1111 import write_a1111
from limner.tools.prompt_language.comfyui import EXAMPLE, GraphSettings, read_graph
from limner.tools.prompt_language.dialects import OPAQUE
from limner.tools.prompt_language.fidelity import Reason, Written, distinct
from limner.tools.prompt_language.opaque import OpaquePart
from limner.tools.prompt_language.reader import Reading, read_prompt, taken_out
from limner.tools.prompt_language.samplers import parted, sampler_named, schedule_named

CHECKPOINT = "YOUR_CHECKPOINT.safetensors"
"""Stands in a graph for a checkpoint that its user has to choose."""

NOISE = Reason("exact", "A1111 draws its noise on the GPU by default and ComfyUI on the CPU, so the same seed gives another picture")

_TIMING = re.compile(r"ConditioningSetTimestepRange|KSamplerAdvanced .*, another pass")
_QUOTED = re.compile(r'[,:\n"]')

Writer = Callable[[int | None, GraphSettings], Written]
"""Writes the prompt for a number of steps; the settings are those of a graph."""


@dataclass(frozen=True, slots=True)
class Made:
    """A prompt that came with settings. `settings`: what was said of the picture; prompts and networks are those of `reading`."""

    reading: Reading
    settings: Generated
    reasons: tuple[Reason, ...]


def infotext_in(text: str, source: str | None, steps: int | None = None) -> Made | None:
    """Returns the prompt and the settings of an infotext; None for a text that is none, or that `source` says is of another dialect.

    `steps`: model calls of the run, for edits at step numbers; by default those of the settings. Raises BadInput as `read_prompt` does.
    """
    if source not in (None, "a1111") or not is_infotext(text):
        return None
    found = read_infotext(text)
    if not found.prompt:
        raise BadInput("the infotext has no prompt before its settings")
    reading = read_prompt(found.prompt, found.negative, "a1111", steps or found.steps)
    return Made(reading, found, not_carried(found))


def graph_in(document: object) -> Made:
    """Returns the prompt and the settings of a ComfyUI graph. Raises BadInput as `read_graph` does."""
    conditioning, reasons = read_graph(document)
    found = read_made(document)
    if not found.prompt:
        raise BadInput("the graph's prompt is empty")
    # Ranges, and a chain of samplers that is one drawing, are carried as timing.
    chunked = conditioning.breaks or conditioning.negative_breaks
    kept = [name for name in found.notes if not _TIMING.fullmatch(name) and not (chunked and name == "ConditioningConcat")]
    others = replace(found, notes=tuple(kept))
    words, parts, negative_parts = taken_out(conditioning, OPAQUE["comfyui"])
    tags = [(len(words.text), OpaquePart("network", f" <lora:{item.name}:{item.weight:g}>")) for item in found.loras]
    reading = Reading("comfyui", "", conditioning.text, conditioning.negative, words, (*parts, *tags), negative_parts)
    return Made(reading, others, distinct((*reasons, *not_carried(others))))


def not_carried(found: Generated) -> tuple[Reason, ...]:
    """Returns a remark for everything that was found and is not carried: a loss for what may change the picture."""
    losses = [Reason("unsupported", f"{name} is not carried") for name in found.notes]
    return (*losses, *(Reason("exact", f"{name} is not carried, and changes no picture") for name in found.labels))


def made_by(settings: SamplerSettings, seed: int) -> Generated:
    """Returns the settings of a drawing of ours as those of a picture."""
    size = (settings.width, settings.height)
    return Generated("", "", seed, settings.steps, settings.guidance_scale, settings.scheduler, size=size, tool="limner")


def write_made(made: Made, to: str, steps: int | None, write: Writer) -> tuple[Written, dict[str, Any]]:
    """Writes a prompt with its settings: (what was written, the settings beside it by the target's names).

    `write`: writes the prompt in the dialect `to`. A graph holds its settings itself, and A1111's are the last line of an infotext; other
    dialects have no place for them, and each is told. `steps`: model calls of the run, instead of those of the settings.
    """
    found = replace(made.settings, steps=steps or made.settings.steps)
    timed = any((span.lo, span.hi) != (0, 1) for span in made.reading.conditioning.spans + made.reading.conditioning.negative_spans)
    if to == "a1111":
        pairs, reasons = a1111_settings(found)
        if made.reading.dialect == to and made.settings.prompt:  # to the letter
            return Written(found.prompt, found.negative, tuple(reasons)), pairs
        written = write(found.steps if timed else steps, EXAMPLE)
        return replace(written, reasons=distinct((*written.reasons, *reasons))), pairs
    if to == "comfyui":
        graph, reasons = graph_settings(found)
        written = write(found.steps if timed else None, graph)
        reasons += [NOISE] if made.reading.dialect == "a1111" and found.seed is not None else []
        return replace(written, reasons=distinct((*written.reasons, *reasons))), {}
    written = write(found.steps, EXAMPLE)
    losses = [Reason("unsupported", f"{name} {value} has no place in {to}") for name, value in a1111_settings(found)[0].items()]
    return replace(written, reasons=distinct((*written.reasons, *losses))), {}


def a1111_settings(found: Generated) -> tuple[dict[str, Any], list[Reason]]:
    """Returns the pairs of an infotext's last line, in A1111's order, and what has no name there."""
    reasons: list[Reason] = []
    sampler, schedule = parted(found.sampler, found.schedule)
    known = sampler_named(sampler) if sampler else None
    name, plan = (known.a1111 if known else None), schedule_named(schedule, "a1111")
    if sampler and name is None:
        reasons.append(Reason("unsupported", f"the sampler {sampler} has no name in A1111"))
    if plan is None:
        reasons.append(Reason("unsupported", f"the schedule {schedule} has no name in A1111"))
    pairs = {
        "Steps": found.steps,
        "Sampler": name,
        "Schedule type": plan if plan and plan != "Normal" else None,
        "CFG scale": None if found.cfg is None else f"{found.cfg:g}",
        "Seed": found.seed,
        "Size": f"{found.size[0]}x{found.size[1]}" if found.size else None,
        "Model": found.model or None,
    }
    return {key: value for key, value in pairs.items() if value is not None}, reasons


def settings_line(pairs: dict[str, Any], **more: str) -> str:
    """Returns the last line of an infotext; values with commas, colons, quotes or line ends are written as JSON texts."""
    return ", ".join(f"{key}: {_value(value)}" for key, value in {**pairs, **more}.items())


def _value(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if _QUOTED.search(text) else text


def infotext(conditioning: Conditioning, found: Generated) -> str:
    """Returns the infotext that A1111 would have written: prompt, negative prompt, settings. `Version` names Limner as the writer.

    A number of steps that was not said is written as the usual one, since readers know the line by it.
    """
    found = replace(found, steps=found.steps or SamplerSettings().steps)
    written = write_a1111(conditioning, found.steps)
    return infotext_of_texts(written.output, written.negative, found)


def infotext_of_texts(prompt: str, negative: str, found: Generated) -> str:
    """Returns the infotext of prompts that are A1111's already. A number of steps that was not said is written as the usual one."""
    found = replace(found, steps=found.steps or SamplerSettings().steps)
    lines = [prompt, *([f"Negative prompt: {negative}"] if negative else [])]
    return "\n".join([*lines, settings_line(a1111_settings(found)[0], Version="limner")])


def infotext_of(drawing: Drawing, model: str) -> str:
    """Returns the infotext of a drawing of ours; `model`: the checkpoint's name."""
    return infotext(drawing.conditioning, replace(made_by(drawing.settings, drawing.seed), model=model))


def graph_settings(found: Generated) -> tuple[GraphSettings, list[Reason]]:
    """Returns the settings of a graph by ComfyUI's names, with examples for what was not said, and what has no name there."""
    reasons: list[Reason] = []
    sampler, schedule = parted(found.sampler, found.schedule)
    known = sampler_named(sampler) if sampler else None
    name, plan = (known.comfyui if known else None), schedule_named(schedule, "comfyui")
    if found.tool == "comfyui" or found.notation == "comfyui":  # names that we do not know are ComfyUI's all the same
        name, plan = sampler or None, schedule
    if sampler and not name:
        reasons.append(Reason("unsupported", f"the sampler {sampler} has no name in ComfyUI"))
    if plan is None:
        reasons.append(Reason("unsupported", f"the schedule {schedule} has no name in ComfyUI"))
    seed, steps, cfg = found.seed, found.steps, found.cfg
    settings = GraphSettings(
        EXAMPLE.seed if seed is None else seed,
        EXAMPLE.steps if steps is None else steps,
        EXAMPLE.cfg if cfg is None else cfg,
        name or EXAMPLE.sampler,
        plan or EXAMPLE.scheduler,
        found.size or EXAMPLE.size,
        f"{found.model}.safetensors" if found.model else CHECKPOINT,
    )
    missing = [said for said, value in (("seed", seed), ("steps", steps), ("cfg", cfg), ("size", found.size)) if value is None]
    if missing:
        reasons.append(Reason("exact", f"{', '.join(missing)} were not said, and are examples in the graph"))
    return settings, reasons
