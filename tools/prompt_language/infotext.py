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
from limner.tools.prompt_language.a1111 import read_a1111, write_a1111
from limner.tools.prompt_language.comfyui import EXAMPLE, GraphSettings, read_graph, write_comfyui
from limner.tools.prompt_language.fidelity import Reason, Written, distinct
from limner.tools.prompt_language.samplers import parted, sampler_named, schedule_named

CHECKPOINT = "YOUR_CHECKPOINT.safetensors"
"""Stands in a graph for a checkpoint that its user has to choose."""

NOISE = Reason("exact", "A1111 draws its noise on the GPU by default and ComfyUI on the CPU, so the same seed gives another picture")

_NETWORK = re.compile(r"(?:,\s*|\s)?<(?:lora|lyco):[^<>]*>", re.IGNORECASE)
_EMBEDDING = re.compile(r"\bembedding:([^\s,():]+)", re.IGNORECASE)
_BREAKS = re.compile(r"(?:,\s*|\s+)?\bBREAK\b[\s,]*")
_TIMING = re.compile(r"ConditioningSetTimestepRange|KSamplerAdvanced .*, another pass")
_QUOTED = re.compile(r'[,:\n"]')

Writer = Callable[[Conditioning, int | None], Written]


@dataclass(frozen=True, slots=True)
class Made:
    """A prompt that came with settings. `settings`: what was said of the picture; its prompts are those of `conditioning`."""

    source: str
    conditioning: Conditioning
    settings: Generated
    reasons: tuple[Reason, ...]


def infotext_in(text: str, source: str | None, steps: int | None = None) -> Made | None:
    """Returns the prompt and the settings of an infotext; None for a text that is none, or that `source` says is of another dialect.

    `steps`: model calls of the run, for edits at step numbers; by default those of the settings. Raises BadInput as `read_a1111` does.
    """
    if source not in (None, "a1111") or not is_infotext(text):
        return None
    found = read_infotext(text)
    if not found.prompt:
        raise BadInput("the infotext has no prompt before its settings")
    prompt, negative = (_NETWORK.sub("", each).strip() for each in (found.prompt, found.negative))
    try:
        conditioning, reasons = read_a1111(prompt, negative, steps or found.steps)
    except BadInput:
        if not (_BREAKS.search(prompt) or _BREAKS.search(negative)):
            raise
        prompt, negative = (_BREAKS.sub(", ", each).strip(" ,\n") for each in (prompt, negative))
        conditioning, reasons = read_a1111(prompt, negative, steps or found.steps)
        reasons = (*reasons, Reason("unsupported", "the border between chunks is not carried", "BREAK"))
    return Made("a1111", conditioning, found, (*reasons, *not_carried(found)))


def graph_in(document: object) -> Made:
    """Returns the prompt and the settings of a ComfyUI graph. Raises BadInput as `read_graph` does."""
    conditioning, reasons = read_graph(document)
    found = read_made(document)
    if not found.prompt:
        raise BadInput("the graph's prompt is empty")
    # Ranges, and a chain of samplers that is one drawing, are carried as timing.
    others = replace(found, notes=tuple(name for name in found.notes if not _TIMING.fullmatch(name)))
    return Made("comfyui", conditioning, others, distinct((*reasons, *not_carried(others))))


def not_carried(found: Generated) -> tuple[Reason, ...]:
    """Returns a remark for everything that was found and is not carried: a loss for what may change the picture."""
    losses = [Reason("unsupported", f"{name} is not carried") for name in found.notes]
    return (*losses, *(Reason("exact", f"{name} is not carried, and changes no picture") for name in found.labels))


def made_by(settings: SamplerSettings, seed: int) -> Generated:
    """Returns the settings of a drawing of ours as those of a picture."""
    size = (settings.width, settings.height)
    return Generated("", "", seed, settings.steps, settings.guidance_scale, settings.scheduler, size=size, tool="limner")


def write_made(made: Made, to: str, steps: int | None, writer: Writer) -> tuple[Written, dict[str, Any]]:
    """Writes a prompt with its settings: (what was written, the settings beside it by the target's names).

    `writer`: that of the dialect `to`. A graph holds its settings itself, and A1111's are the last line of an infotext; other dialects have
    no place for them, and each is told. `steps`: model calls of the run, instead of those of the settings.
    """
    found = replace(made.settings, steps=steps or made.settings.steps)
    if to == "a1111" and made.source == to and made.settings.prompt:  # to the letter
        pairs, reasons = a1111_settings(found)
        return Written(found.prompt, found.negative, tuple(reasons)), pairs
    if to == "a1111":
        conditioning, tags = _for_a1111(made.conditioning, found)
        written = write_a1111(conditioning, found.steps if _timed(conditioning) else steps)
        pairs, reasons = a1111_settings(found)
        return Written(f"{written.output}{tags}", written.negative, distinct((*written.reasons, *reasons))), pairs
    if to == "comfyui":
        graph, reasons = graph_settings(found)
        written = write_comfyui(made.conditioning, found.steps if _timed(made.conditioning) else None, graph)
        reasons += [NOISE] if made.source == "a1111" and found.seed is not None else []
        return Written(written.output, written.negative, distinct((*written.reasons, *reasons))), {}
    written = writer(made.conditioning, found.steps)
    losses = [Reason("unsupported", f"{name} {value} has no place in {to}") for name, value in a1111_settings(found)[0].items()]
    losses += [Reason("unsupported", f"LoRA {item} has no place in {to}") for item in found.loras]
    losses += [Reason("unsupported", f"embedding {match} is a word in {to}") for match in _EMBEDDING.findall(made.conditioning.text)]
    return Written(written.output, written.negative, distinct((*written.reasons, *losses))), {}


def _timed(conditioning: Conditioning) -> bool:
    return any((span.lo, span.hi) != (0, 1) for span in conditioning.spans + conditioning.negative_spans)


def _for_a1111(conditioning: Conditioning, found: Generated) -> tuple[Conditioning, str]:
    """Returns the prompt as A1111 has it: embeddings by their names alone, and tags for the networks."""
    while (match := _EMBEDDING.search(conditioning.text)) is not None:
        conditioning = _without(conditioning, match.start(), match.start(1))
    tags = "".join(f" <lora:{item.name}:{item.weight:g}>" for item in found.loras)
    return conditioning, tags


def _without(conditioning: Conditioning, start: int, end: int) -> Conditioning:
    """Returns the conditioning without the characters `start`..`end` of its text."""

    def moved(place: int) -> int:
        return place - (end - start) if place >= end else min(place, start)

    text = conditioning.text[:start] + conditioning.text[end:]
    spans = tuple(replace(span, start=moved(span.start), end=moved(span.end)) for span in conditioning.spans)
    return replace(conditioning, text=text, spans=spans)


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
    prompt, tags = _for_a1111(conditioning, found)
    written = write_a1111(prompt, found.steps)
    lines = [f"{written.output}{tags}"]
    lines += [f"Negative prompt: {written.negative}"] if written.negative else []
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
        tuple((f"{item.name}.safetensors", item.weight) for item in found.loras),
    )
    missing = [said for said, value in (("seed", seed), ("steps", steps), ("cfg", cfg), ("size", found.size)) if value is None]
    if missing:
        reasons.append(Reason("exact", f"{', '.join(missing)} were not said, and are examples in the graph"))
    return settings, reasons
