"""What a picture that was made elsewhere brings to a run: its prompt, negative prompt, seed, steps, guidance and size, and by name what of
it cannot be carried. Draws nothing."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from limner.graph.settings import HELDOUT_FROM, MOST_SEEDS, Settings
from limner.promptdb.errors import BadInput
from limner.promptdb.generated.a1111 import is_infotext, read_infotext
from limner.promptdb.generated.limner import KEYWORD
from limner.promptdb.generated.metadata import read_texts
from limner.promptdb.generated.pictures import read_picture
from limner.promptdb.generated.record import Generated, note
from limner.promptdb.records import Conditioning
from limner.tools.prompt_language.fidelity import Reason
from limner.tools.prompt_language.reader import Reading, read_prompt
from limner.tools.prompt_language.samplers import parted, sampler_named

MOST_SEED = HELDOUT_FROM - MOST_SEEDS
MOST_STEPS = 250


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

    def document(self, source: Path | str, more: tuple[str, ...] = ()) -> dict[str, Any]:
        """Returns what a document says of the picture or infotext: {picture, tool, not_carried}. `more`: what the run cannot carry
        besides.
        """
        name = str(source) if isinstance(source, Path) else "the infotext"
        return {"picture": name, "tool": self.found.tool, "not_carried": [*self.left, *more]}


def is_own(path: Path) -> bool:
    """Whether a picture has Limner's own record, which draws it again to the pixel; False where it cannot be read."""
    try:
        return KEYWORD in read_texts(path.expanduser())
    except BadInput:
        return False


def conditioning_of(found: Generated) -> tuple[Conditioning, tuple[str, ...]]:
    """Returns the Conditioning of what a picture says, read in its tool's notation, and what of the text is not carried, by name.

    Tags that load networks and embeddings are taken out. A text that its notation does not read is taken for plain words. This is the one
    place where a `Generated` becomes a Conditioning.
    """
    try:
        reading = read_prompt(found.prompt, found.negative, found.notation, found.steps)
    except BadInput as error:
        reasons = (Reason("unsupported", f"{found.notation} marks, drawn as words ({error})"),)
        reading = Reading("plain", "", found.prompt, found.negative, Conditioning(found.prompt, found.negative), reasons=reasons)
    if not reading.conditioning.text:
        raise BadInput("the picture's prompt is empty")
    losses = [reason.words or reason.why for reason in (*reading.reasons, *reading.on_parts()) if reason.level == "unsupported"]
    return reading.conditioning, tuple(dict.fromkeys(losses))


def refuse_infotext(prompts: Iterable[str]) -> None:
    """Raises BadInput for a prompt that is an infotext, whose settings would be drawn as words."""
    if any(is_infotext(prompt) for prompt in prompts):
        raise BadInput("the prompt is an infotext: settings and a negative prompt follow its words; give the words alone, or `convert` it")


def brought(source: Path | str, given: Container[str] = ()) -> Brought:
    """Returns what a picture, or an infotext, brings to a run. `given`: names of options that were given by hand, which hold.

    Raises BadInput where the picture does not say how it was made.
    """
    found = read_picture(source) if isinstance(source, Path) else read_infotext(source)
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
