"""The common form of imported rows: what a row may contain about a prompt and a picture of it, and its names in different files."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from limner.promptdb.files.file_kinds import usable
from limner.promptdb.files.text_lines import Malformed

if TYPE_CHECKING:
    import pyarrow as pa

NAMES: dict[str, tuple[str, ...]] = {
    "text": ("text", "prompt", "p"),
    "source": ("source",),
    "subject": ("subject", "query"),
    "negative": ("negative", "negative_prompt", "negativeprompt"),
    "nsfw": ("nsfw", "prompt_nsfw"),
    "name": ("name", "image_name", "id"),
    "part": ("part", "part_id"),
    "pins": ("pins",),
    "seed": ("seed", "se"),
    "steps": ("steps", "step", "st"),
    "cfg": ("cfg", "cfg_scale", "cfgscale", "guidance_scale", "guidance", "c"),
    "sampler": ("sampler", "sampler_name", "sa"),
    "width": ("width",),
    "height": ("height",),
    "author": ("author", "user_name", "username"),
    "made": ("made", "timestamp", "createdat", "th"),
    "image_nsfw": ("image_nsfw",),
    "model": ("model",),
}
"""Our column -> its names in files: ours, DiffusionDB's table, Lexica's API, civitai's API, A1111's, DiffusionDB's per-part JSON. Names are
compared in lower case with `_` for blanks and hyphens. Other columns are ignored. `pins`: words that every rewrite must contain.
"""

PAIRS = (("input", "target"), ("input", "output"), ("prompt", "completion"), ("instruction", "output"))
"""Columns of pairs: what a user typed, and the professional prompt made of it (Promptist, and files to fine-tune language models on)."""

SAMPLERS = ("", "ddim", "plms", "k_euler", "k_euler_ancestral", "k_heun", "k_dpm_2", "k_dpm_2_ancestral", "k_lms", "others")
"""DiffusionDB's sampler numbers, from 1 on."""

Row = dict[str, Any]
"""A row in our columns; missing values are None, or left out."""


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
    """Returns the arrow schema of a chunk: every column of NAMES, all optional except `text`, and `plain`: what was typed, in a pair."""
    import pyarrow as pa

    kinds = {
        pa.string(): ("text", "source", "subject", "negative", "name", "sampler", "author", "model", "plain"),
        pa.list_(pa.string()): ("pins",),
        pa.int64(): ("part", "seed", "steps", "width", "height", "made"),
        pa.float64(): ("nsfw", "cfg", "image_nsfw"),
    }
    kind = {name: kind for kind, names in kinds.items() for name in names}
    return pa.schema([(name, kind[name]) for name in (*NAMES, "plain")])


def chosen(names: Sequence[str], column: str | None = None) -> dict[str, str]:
    """Returns {our column: the file's column} for the columns of a file. `column`: the one that holds the prompts, of whatever name.

    Of a pair the professional prompt is the text, and what the user typed is both the subject and `plain`.
    """
    return _chosen(tuple(names), column)


@lru_cache(512)
def _chosen(names: tuple[str, ...], column: str | None) -> dict[str, str]:
    lower = {_normal(name): name for name in reversed(names)}
    found = {ours: next((lower[name] for name in theirs if name in lower), None) for ours, theirs in NAMES.items()}
    if column is not None:
        found["text"] = column if column in names else lower.get(_normal(column))
    elif found["text"] is None or "completion" in lower:
        pair = next((pair for pair in PAIRS if set(pair) <= lower.keys()), None)
        if pair:
            found |= {"text": lower[pair[1]], "plain": lower[pair[0]], "subject": lower[pair[0]]}
    return {ours: theirs for ours, theirs in found.items() if theirs is not None}


def _normal(name: str) -> str:
    return _GAPS.sub("_", name.strip().lower())


_GAPS = re.compile(r"[\s_-]+")


def no_prompts(columns: Sequence[str]) -> str:
    """Returns the end of a sentence about a table without a known column of prompts: which columns it has, and what to do."""
    named = ", ".join(columns[:8])
    return f"no column 'prompt' or 'text', only {named}; say which one holds the prompts: --column NAME"


def parsed(given: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
    """Returns a row of a file in our columns. Raises Malformed where the prompt, or a value that decides whether it is shown, is unusable.

    Values about a picture are read leniently: an invalid seed becomes None. NaN, which stands for a missing value in JSON, counts as
    missing.
    """
    row = {ours: given.get(theirs) for ours, theirs in columns.items()}
    text = row.get("text")
    if text is None or text != text:
        raise Malformed(f"no field '{columns['text']}'" if columns.get("text") else "no field 'text' or 'prompt'")
    found: Row = {
        "text": usable(text, "prompt"),
        "source": _optional(row.get("source"), "source") or None,
        "subject": _optional(row.get("subject"), "subject"),
        "negative": _optional(row.get("negative"), "negative"),
        "nsfw": _nsfw(row.get("nsfw")),
        **{name: _PICTURE[name](value) for name, value in row.items() if name in _PICTURE},
    }
    if "pins" in row:
        found["pins"] = _pins(row["pins"])
    if "plain" in row:
        found["plain"] = found["subject"]
    return found


def _optional(value: Any, name: str) -> str:
    return usable(value, name, empty=True) if value and value == value else ""


def _pins(value: object) -> list[str]:
    """Returns pins given as a list, or as a text in which semicolons separate them."""
    if value is None or value != value:
        return []
    if not isinstance(value, str | list):
        raise Malformed("the field 'pins' is neither a list nor a text")
    pins = value.split(";") if isinstance(value, str) else value
    return [usable(pin, "pin") for pin in pins if not isinstance(pin, str) or pin.strip()]


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
