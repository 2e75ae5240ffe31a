"""Drawing and judging without a search: `generate`, `generate --from`, `score`. Returns documents; prints nothing.

Reads DF-Prompts as people write them, and lists which words act at which step.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from limner.graph.context import NO_EXTRAS, Extras, Models, check_places, open_context, open_models, open_scorers
from limner.graph.models import Lease, ModelPool
from limner.graph.runner import Control, new_run_id, recorded
from limner.graph.settings import Settings
from limner.graph.state import Context
from limner.promptdb.errors import BadInput
from limner.promptdb.images import drawing_of, provenance, read_provenance, write_png
from limner.promptdb.records import Conditioning, Drawing, RangeUnit, Run, SamplerSettings, WeightMode, canonical_text
from limner.promptdb.runs import Runs
from limner.serve.commands.from_picture import Brought, brought, is_own, prompt_of, refuse_infotext
from limner.serve.commands.reading import effects_of, notes_on, with_style
from limner.serve.commands.templates import AS_TYPED, Expanding, Wanted, wanted
from limner.tools.budget import BudgetSpent
from limner.tools.diffusion.remote.openai import RemoteImages
from limner.tools.diffusion.sampling.sampler import Sampler
from limner.tools.diffusion.sampling.timing import Timing
from limner.tools.prompt_language.assemble import LocatedError
from limner.tools.prompt_language.dialects import AUTO
from limner.tools.prompt_language.infotext import infotext_of
from limner.tools.prompt_language.reader import Reading, read_prompt
from limner.tools.prompt_language.schedule import timetable
from limner.tools.prompt_language.write import write, write_negative

WEIGHT_MODES = ("mean_restore", "none", "norm_restore", "lerp_from_empty")
RANGE_UNITS = ("step", "sigma")

MOST_RESIZED = 4
"""How many times as large or small as the checkpoint's own size a picture may be drawn; beyond, it draws one thing several times."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How prompts are read. `lenient`: brackets that begin no triple are text. `weights`: a weight mode, by default that of the dialect.
    `ranges`: a unit of ranges.
    """

    lenient: bool = False
    weights: str = ""
    ranges: str = "step"

    def __post_init__(self) -> None:
        for option, value, known in (("--weights", self.weights, ("", *WEIGHT_MODES)), ("--ranges", self.ranges, RANGE_UNITS)):
            if value not in known:
                raise BadInput(f"{option} knows {', '.join(filter(None, known))}, not {value!r}")


def asked(
    prompts: Sequence[str], negative: str, manner: Manner, dialect: str = AUTO, steps: int | None = None
) -> list[Reading]:
    """Returns the distinct prompts as they are read, in order.

    `steps`: model calls, for A1111's step numbers. Raises BadInput for an empty one, and with the place for what cannot be read.
    """
    found = dict[Conditioning, Reading]()
    for prompt in prompts:
        try:
            reading = read_prompt(prompt, negative, dialect, steps, manner.lenient)
        except LocatedError as error:
            raise BadInput(f"{error}; --lenient draws such brackets as text") from error
        if not reading.conditioning.text:
            raise BadInput("the prompt is empty; say what the picture should show")
        conditioning = replace(reading.conditioning, range_unit=cast(RangeUnit, manner.ranges))
        if manner.weights:
            conditioning = replace(conditioning, weight_mode=cast(WeightMode, manner.weights))
        found.setdefault(conditioning, replace(reading, conditioning=conditioning))
    return list(found.values())


def schedule(conditionings: Sequence[Conditioning], timing: Timing) -> list[dict[str, Any]]:
    """Returns which words act at which model calls, one row a prompt: {prompt, negative, calls, words: [{words, negative, weight, start,
    stop}]}.

    `start` to `stop` are half-open.
    """
    return [
        {
            "prompt": write(item),
            "negative": write_negative(item),
            "calls": timing.calls,
            "words": [
                {"words": row.words, "negative": row.negative, "weight": float(row.weight), "start": row.start, "stop": row.stop}
                for row in timetable(item, timing.places(item.range_unit))
            ],
        }
        for item in conditionings
    ]


COMMAND = "generate"
AS_WRITTEN = Manner()
NO_TEMPLATES: Mapping[str, str] = {}


def generate(
    settings: Settings,
    prompts: Sequence[str],
    negative: str,
    count: int,
    manner: Manner = AS_WRITTEN,
    control: Control | None = None,
    pool: ModelPool | None = None,
    expanding: Expanding = AS_TYPED,
) -> dict[str, Any]:
    """Draws every prompt on `count` seeds from `settings.seed` on; returns the document of `generate --json`. Texts may be in any dialect,
    and templates (`{red|blue}`, `__name__`), of which each picture has its own prompt.

    `expanding`: how templates become prompts. `pool`: where the checkpoint stays open for the next request; by default one that ends with
    this one. Raises BadInput before anything is written, Cancelled after `control.request_drain()`.
    """
    if not prompts:
        raise BadInput("there is nothing to draw; give a prompt, or --from IMAGE.png")
    refuse_infotext(prompts)
    rows, templates = wanted(prompts, negative, range(settings.seed, settings.seed + count), expanding)
    pictures = sum(len(row.seeds) for row in rows)
    if pictures > settings.budget:
        raise BadInput(f"{pictures} pictures are more than the budget of {settings.budget}; raise --budget")
    check_places(settings)
    settings = with_style(settings, " ".join(prompts))
    with (pool or ModelPool()).lease() as lease:
        document = _generate(settings, rows, manner, control or Control(), lease)
    return {**document, **({"templates": templates} if templates else {})}


def _generate(settings: Settings, rows: Sequence[Wanted], manner: Manner, control: Control, lease: Lease) -> dict[str, Any]:
    models = open_models(settings, lease, with_scorers=False)
    readings = [asked([row.prompt], row.negative, manner, settings.dialect, models.sampling.steps)[0] for row in rows]
    pairs = [(reading.conditioning, row) for reading, row in zip(readings, rows, strict=True)]
    document = _drawn(settings, models, pairs, control)
    distinct = {(reading.text, reading.negative): reading for reading in readings}
    return {**document, "readings": [_read_as(reading, models) for reading in distinct.values()]}


def _read_as(reading: Reading, models: Models) -> dict[str, Any]:
    return {
        "prompt": reading.text,
        "negative": reading.negative,
        "dialect": reading.dialect,
        "notes": notes_on(reading, models.sampler),
        "acts": effects_of(reading.conditioning),
    }



def _drawn(settings: Settings, models: Models, read: Sequence[tuple[Conditioning, Wanted]], control: Control) -> dict[str, Any]:
    """Draws the conditionings on their seeds and returns the document of `generate --json`."""
    conditionings = list(dict.fromkeys(conditioning for conditioning, _ in read))
    models.sampler.check([Drawing(item, settings.seed, models.sampling, models.sampler.fingerprint) for item in conditionings])
    shown = dict.fromkeys(row.template or conditioning.text for conditioning, row in read)
    with _running(settings, models, " | ".join(shown), control) as (context, run):
        drawings = {context.evaluator.drawing(item, seed): row.template for item, row in read for seed in row.seeds}
        try:
            context.evaluator.draw_each(list(drawings))
        except BudgetSpent as error:  # caps are checked above; this one was spent by another process
            raise BadInput(f"{error}; raise --budget") from error
        made_of = {drawing.id: template for drawing, template in drawings.items() if template}
        document = _document(context, run, settings.folder / run, [drawing.id for drawing in drawings], made_of)
    return {**document, "schedule": _schedule(models.sampler, models.sampling, conditionings)}


def redraw(
    settings: Settings, path: Path | str, given: Container[str] = (), count: int = 1, negative: str = ""
) -> dict[str, Any]:
    """Draws again what an image file says of itself, or an infotext.

    A picture of Limner's is drawn to the pixel, with its prompt, seed and sampler settings. Of one that another tool made, what the
    checkpoint can draw is carried, and the rest is named in `from`: {picture, tool, not_carried}. `given`: names of options that were given
    by hand, which hold there, as `negative` does where it is not empty. `count`: pictures of it, on seeds from its own on.

    Raises BadInput where the file says too little, or where the checkpoint's weights are not those that a picture of Limner's was drawn
    with.
    """
    if not isinstance(path, Path) or not is_own(path):
        return _drawn_after(settings, path, given, count, negative)
    known = read_provenance(path)
    drawing = drawing_of(known)
    check_places(settings)
    with ModelPool().lease() as lease:
        return _redraw(settings, path, drawing, lease, str(known.get("template", "")))


def _redraw(settings: Settings, path: Path, drawing: Drawing, lease: Lease, template: str) -> dict[str, Any]:
    dtype = settings.dtype or drawing.settings.dtype
    models = open_models(replace(settings, dtype=dtype), lease, with_scorers=False)
    if models.sampler.fingerprint != drawing.checkpoint:
        raise BadInput(
            f"{path} was drawn with the weights {drawing.checkpoint[:12]}, and {settings.checkpoint} has "
            f"{models.sampler.fingerprint[:12]}; name the checkpoint it was drawn with by --checkpoint"
        )
    again = Models(models.checkpoint, models.sampler, (), drawing.settings)
    with _running(settings, again, drawing.conditioning.text) as (context, run):
        context.evaluator.draw([drawing.conditioning], [drawing.seed])
        document = _document(context, run, settings.folder / run, [drawing.id], {drawing.id: template} if template else NO_TEMPLATES)
    return {**document, "schedule": _schedule(models.sampler, drawing.settings, [drawing.conditioning])}


def _drawn_after(
    settings: Settings, path: Path | str, given: Container[str], count: int, negative: str
) -> dict[str, Any]:
    found = brought(path, given)
    if negative:
        by_hand = read_prompt("", negative, settings.dialect).conditioning
        spans, breaks = by_hand.negative_spans, by_hand.negative_breaks
        conditioning = replace(found.conditioning, negative=by_hand.negative, negative_spans=spans, negative_breaks=breaks)
        found = replace(found, conditioning=conditioning)
    settings = found.settings(settings)
    if count > settings.budget:
        raise BadInput(f"{count} pictures are more than the budget of {settings.budget}; raise --budget")
    check_places(settings)
    with ModelPool().lease() as lease:
        models = open_models(settings, lease, with_scorers=False)
        sampling, missed = _sampling_after(models, found)
        row = Wanted(found.conditioning.text, found.conditioning.negative, tuple(range(settings.seed, settings.seed + count)))
        document = _drawn(settings, replace(models, sampling=sampling), [(found.conditioning, row)], Control())
    return {**document, "from": found.document(path, missed)}


def _sampling_after(models: Models, found: Brought) -> tuple[SamplerSettings, tuple[str, ...]]:
    """Returns the sampler settings with the picture's scheduler and size where the checkpoint can serve them, and what it cannot."""
    sampling, missed = models.sampling, list[str]()
    if found.scheduler and models.checkpoint is not None and found.scheduler != sampling.scheduler:
        try:
            models.checkpoint.scheduler(found.scheduler, sampling.steps)
            sampling = replace(sampling, scheduler=found.scheduler)
        except BadInput:
            missed.append(f"sampler {found.found.sampler}")
    if found.size and found.size != (sampling.width, sampling.height):
        width, height = found.size
        share = width * height / (sampling.width * sampling.height)
        if models.checkpoint is not None and width % 8 == height % 8 == 0 and 1 / MOST_RESIZED <= share <= MOST_RESIZED:
            sampling = replace(sampling, width=width, height=height)
        else:
            missed.append(f"size {width}x{height} (drawn as {sampling.width}x{sampling.height})")
    return sampling, tuple(missed)


def _schedule(model: Sampler | RemoteImages, sampling: SamplerSettings, asked_for: Sequence[Conditioning]) -> list[dict[str, Any]]:
    """Which words act when; empty for a black box, which does not say."""
    return schedule(asked_for, model.timing(sampling)) if isinstance(model, Sampler) else []


def score(
    settings: Settings, path: Path, prompt: str | None, pool: ModelPool | None = None, extras: Extras = NO_EXTRAS
) -> dict[str, Any]:
    """Returns the document of `score --json`: the values of every scorer for an image file and a prompt. Nothing is stored.

    `prompt`: judged by its words, without marks of its dialect; None for that which the picture's metadata says. `pool`: as in `generate`.
    `extras`: scorers that are objects already.
    """
    from PIL import Image, UnidentifiedImageError

    if prompt is not None and not canonical_text(prompt):
        raise BadInput("the prompt is empty; say what the picture should show")
    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except FileNotFoundError as error:
        raise BadInput(f"there is no file {path}") from error
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadInput(f"{path} is not a readable image") from error
    words = prompt_of(path) if prompt is None else read_prompt(prompt, dialect=settings.dialect, steps=settings.steps).conditioning.text
    with (pool or ModelPool()).lease() as lease:
        checkpoint = lease.checkpoint(settings.checkpoint, settings.device, settings.dtype)
        scorers = open_scorers(settings, lease, checkpoint, extras=extras)
        scores = {item.name: float(item.score([image], [words])[0]) for item in scorers}
    return {
        "image": str(path),
        "prompt": words,
        "checkpoint": checkpoint.name,
        "scores": {name: round(value, 6) if np.isfinite(value) else None for name, value in scores.items()},
    }


@contextmanager
def _running(settings: Settings, models: Models, prompt: str, control: Control | None = None) -> Iterator[tuple[Context, str]]:
    """Yields the context and the id of a run of `generate`, which is recorded in the database."""
    run = Run(new_run_id(COMMAND), COMMAND, prompt, settings.to_json())
    opened = open_context(settings, models, run.id, budget_images=settings.budget, cancel=control)
    with opened as context, recorded(context, run, control, resumable=False):
        yield context, run.id


def _document(
    context: Context, run: str, folder: Path, drawing_ids: Sequence[str], templates: Mapping[str, str] = NO_TEMPLATES
) -> dict[str, Any]:
    """`templates`: what the prompt of a drawing was made of, by drawing id."""
    stored = context.db.stored_drawings(drawing_ids)
    images = []
    for number, key in enumerate(drawing_ids):
        drawing, image = stored[key].drawing, stored[key].image
        made_of = {"template": templates[key]} if key in templates else {}
        path = None if image is None else folder / f"{number:03d}-seed{drawing.seed}.png"
        if path is not None and image is not None:
            said = infotext_of(drawing, context.evaluator.model.name)
            write_png(context.images.get(image), path, {**provenance(stored[key], {}, run), **made_of}, said)
        images.append({**_image_row(drawing, path), **made_of})
    document = {"run": run, "checkpoint": context.evaluator.model.name, "images": images, "used": context.evaluator.budget.used()}
    Runs(context.db).finish(run, "done", document)
    return document


def _image_row(drawing: Drawing, path: Path | None) -> Mapping[str, Any]:
    """`path` is None where the model drew NaN."""
    return {
        "path": None if path is None else str(path),
        "prompt": write(drawing.conditioning),
        "negative": write_negative(drawing.conditioning),
        "words": drawing.conditioning.text,
        "seed": drawing.seed,
        "settings": drawing.settings.to_json(),
        "drawing_id": drawing.id,
    }
