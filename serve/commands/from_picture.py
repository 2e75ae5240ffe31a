"""What a picture that was made elsewhere brings to a run: its prompt, negative prompt, seed, steps, guidance and size, and by name what of
it cannot be carried. Draws nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from limner.graph.settings import HELDOUT_FROM, MOST_SEEDS, Settings
from limner.promptdb.errors import BadInput
from limner.promptdb.generated.limner import KEYWORD
from limner.promptdb.generated.metadata import read_texts
from limner.promptdb.generated.pictures import read_picture
from limner.promptdb.generated.record import Generated, note
from limner.promptdb.records import Conditioning
from limner.tools.prompt_language.a1111 import read_a1111
from limner.tools.prompt_language.comfyui import read_comfyui
from limner.tools.prompt_language.compel import read_compel
from limner.tools.prompt_language.fidelity import Reason
from limner.tools.prompt_language.novelai import read_novelai
from limner.tools.prompt_language.samplers import parted, sampler_named

Reader = Callable[[str, str], tuple[Conditioning, tuple[Reason, ...]]]

READERS: dict[str, Reader] = {
    "a1111": read_a1111,
    "comfyui": read_comfyui,
    "invokeai": read_compel,
    "novelai": read_novelai,
    "plain": lambda text, negative: (Conditioning(text, negative), ()),
}
"""The reader of each notation."""

MOST_SEED = HELDOUT_FROM - MOST_SEEDS
MOST_STEPS = 250

_TAGS = re.compile(r"(?:,\s*)?<(?:lora|lyco|hypernet):[^<>]*>|\bembedding:[^\s,()]+", re.IGNORECASE)
_BREAKS = re.compile(r"\s*\bBREAK\b\s*,?")


@dataclass(frozen=True, slots=True)
class Brought:
    """What a picture brings.

    `changes`: fields of Settings, without those that were given by hand. `size`: width and height in pixels; `scheduler`: a class of
    diffusers; both None where not said. `left`: what cannot be carried, by name.
    """

    found: Generated
    conditioning: Conditioning
    changes: dict[str, Any]
    size: tuple[int, int] | None
    scheduler: str | None
    left: tuple[str, ...]

    def settings(self, settings: Settings) -> Settings:
        """Returns the settings with what the picture brings."""
        return replace(settings, **self.changes)

    def document(self, path: Path, more: tuple[str, ...] = ()) -> dict[str, Any]:
        """Returns what a document says of the picture: {picture, tool, not_carried}. `more`: what the run cannot carry besides."""
        return {"picture": str(path), "tool": self.found.tool, "not_carried": [*self.left, *more]}


def is_own(path: Path) -> bool:
    """Whether a picture has Limner's own record, which draws it again to the pixel; False where it cannot be read."""
    try:
        return KEYWORD in read_texts(path.expanduser())
    except BadInput:
        return False


def conditioning_of(found: Generated) -> tuple[Conditioning, tuple[str, ...]]:
    """Returns the Conditioning of what a picture says, read in its tool's notation, and what of the text is not carried, by name.

    Tags that load networks and embeddings, and the borders of chunks, are taken out. A text that its notation does not read is taken for
    plain words. This is the one place where a `Generated` becomes a Conditioning.
    """
    left: list[str] = []
    texts = [_without_tags(text, left) if found.notation in ("a1111", "comfyui") else text for text in (found.prompt, found.negative)]
    try:
        conditioning, reasons = READERS[found.notation](texts[0], texts[1])
    except BadInput as error:
        conditioning = Conditioning(texts[0], texts[1])
        reasons = (Reason("unsupported", f"{found.notation} marks, drawn as words ({error})"),)
    if not conditioning.text:
        raise BadInput("the picture's prompt is empty")
    return conditioning, tuple(dict.fromkeys([*left, *(reason.why for reason in reasons if reason.level == "unsupported")]))


def _without_tags(text: str, left: list[str]) -> str:
    left += [tag.strip(" ,") for tag in _TAGS.findall(text)]
    left += ["BREAK"] if _BREAKS.search(text) else []
    return _BREAKS.sub(", ", _TAGS.sub("", text)).strip(" ,\n")


def brought(path: Path, given: Container[str] = ()) -> Brought:
    """Returns what a picture brings to a run. `given`: names of options that were given by hand, which hold.

    Raises BadInput where the picture does not say how it was made.
    """
    found = read_picture(path)
    conditioning, left = conditioning_of(found)
    changes: dict[str, Any] = {}
    missed: list[str] = []
    for name, value, most in (
        ("seed", found.seed, MOST_SEED),
        ("steps", found.steps, MOST_STEPS),
        ("guidance_scale", found.cfg, 1000),
    ):
        if name in given or value is None:
            continue
        if 0 <= value <= most and (name != "steps" or value >= 1):
            changes[name] = value
        else:
            missed.append(f"{name.replace('_', ' ')} {note('', value)} (at most {most} here)")
    sampler, schedule = parted(found.sampler, found.schedule)
    known = sampler_named(sampler) if sampler else None
    plain = not schedule or schedule.lower() in ("automatic", "normal", "simple", "uniform")
    scheduler = known.diffusers if known and plain else None
    if found.sampler and scheduler is None:
        missed.append(note("sampler", f"{sampler} {schedule}".strip()))
    tags = " ".join(left).lower()
    missed += [f"LoRA {item}" for item in found.loras if f":{item.name}:".lower() not in tags]
    missed += [note("checkpoint", found.model)] if found.model else []
    return Brought(found, conditioning, changes, found.size, scheduler, (*left, *missed, *found.notes))


def prompt_of(path: Path, name: str = "") -> str:
    """Returns the words that a picture says it was drawn from. Raises BadInput where it says none.

    `name`: what to call the picture in messages, instead of its path.
    """
    try:
        return conditioning_of(read_picture(path))[0].text
    except BadInput as error:
        said = str(error).replace(str(path), name) if name else str(error)
        raise BadInput(f"{said}; give the prompt that it should be judged for") from error
