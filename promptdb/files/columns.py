"""The common form of imported rows: what a row may contain about a prompt and a picture of it, and its names in different files."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from limner.promptdb.files.file_kinds import Malformed, usable

if TYPE_CHECKING:
    import pyarrow as pa

NAMES: dict[str, tuple[str, ...]] = {
    "text": ("text", "prompt", "p"),
    "source": ("source",),
    "subject": ("subject", "query"),
    "negative": ("negative", "negative_prompt"),
    "nsfw": ("nsfw", "prompt_nsfw"),
    "name": ("name", "image_name", "id"),
    "part": ("part", "part_id"),
    "seed": ("seed", "se"),
    "steps": ("steps", "step", "st"),
    "cfg": ("cfg", "guidance_scale", "guidance", "c"),
    "sampler": ("sampler", "sa"),
    "width": ("width",),
    "height": ("height",),
    "author": ("author", "user_name"),
    "made": ("made", "timestamp", "th"),
    "image_nsfw": ("image_nsfw",),
    "model": ("model",),
}
"""Our column -> its names in files: ours, DiffusionDB's table, Lexica's API, DiffusionDB's per-part JSON. Other columns are ignored."""

SAMPLERS = ("", "ddim", "plms", "k_euler", "k_euler_ancestral", "k_heun", "k_dpm_2", "k_dpm_2_ancestral", "k_lms", "others")
"""DiffusionDB's sampler numbers, from 1 on."""

Row = dict[str, Any]
"""A row in our columns; None for missing values."""


@dataclass(frozen=True)
class Chunk:
    """A part of a file.

    `rows`: its usable rows as a record batch of `schema()`. `end`: rows of the file, malformed ones included, read up to its end.
    `malformed`: (line or row number from 1, reason).
    """

    rows: pa.RecordBatch
    end: int
    malformed: list[tuple[int, str]] = field(default_factory=list)


@lru_cache(1)
def schema() -> pa.Schema:
    """Returns the arrow schema of a chunk: every column of NAMES, all optional except `text`."""
    import pyarrow as pa

    kinds = {
        pa.string(): ("text", "source", "subject", "negative", "name", "sampler", "author", "model"),
        pa.int64(): ("part", "seed", "steps", "width", "height", "made"),
        pa.float64(): ("nsfw", "cfg", "image_nsfw"),
    }
    kind = {name: kind for kind, names in kinds.items() for name in names}
    return pa.schema([(name, kind[name]) for name in NAMES])


def chosen(names: Sequence[str]) -> dict[str, str]:
    """Returns {our column: the file's column} for the columns of a file."""
    lower = {name.strip().lower(): name for name in reversed(names)}
    found = {ours: next((lower[name] for name in theirs if name in lower), None) for ours, theirs in NAMES.items()}
    return {ours: theirs for ours, theirs in found.items() if theirs is not None}


def parsed(given: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
    """Returns a row of a file in our columns. Raises Malformed where the prompt, or a value that decides whether it is shown, is unusable.

    Values about a picture are read leniently: an invalid seed becomes None.
    """
    row = {ours: given.get(theirs) for ours, theirs in columns.items()}
    text = row.get("text")
    if text is None:
        raise Malformed("no field 'text' or 'prompt'")
    return {
        "text": usable(text, "prompt"),
        "source": usable(row.get("source") or "", "source", empty=True) or None,
        "subject": usable(row.get("subject") or "", "subject", empty=True),
        "negative": usable(row.get("negative") or "", "negative", empty=True),
        "nsfw": _nsfw(row.get("nsfw")),
        **{name: convert(row.get(name)) for name, convert in _PICTURE.items()},
    }


def _nsfw(value: object) -> float | None:
    if value is None or value == "":
        return None
    number = _real(value)
    if number is None:
        raise Malformed("the field 'nsfw' is not a finite number")
    return number


def _real(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _whole(value: object) -> int | None:
    try:
        number = int(value) if isinstance(value, int | str) else int(float(value)) if isinstance(value, float) else -1
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < 2**63 else None


def _word(value: object) -> str | None:
    try:
        return usable(value, "field") if isinstance(value, str) else str(value) if isinstance(value, int) else None
    except Malformed:
        return None


def _sampler(value: object) -> str | None:
    number = _whole(value)
    return SAMPLERS[number] if number is not None and 0 < number < len(SAMPLERS) else _word(value)


def _time(value: object) -> int | None:
    """Returns seconds since 1970 in UTC; a text without a time zone counts as UTC."""
    if not isinstance(value, str) or (number := _whole(value)) is not None:
        return _whole(value) if not isinstance(value, str) else number
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return _whole(int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()))


_PICTURE: dict[str, Callable[[object], Any]] = {
    "name": _word,
    "part": _whole,
    "seed": _whole,
    "steps": _whole,
    "cfg": _real,
    "sampler": _sampler,
    "width": _whole,
    "height": _whole,
    "author": _word,
    "made": _time,
    "image_nsfw": _real,
    "model": _word,
}
