"""DF-Prompts as people give them to `generate`, and the table of which words act when. Options in, values and rows out; draws nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from promptdb.errors import BadInput
from promptdb.records import Conditioning, RangeUnit, WeightMode
from tools.df_prompt.located import LocatedError
from tools.df_prompt.parse import parse, read
from tools.df_prompt.schedule import timetable
from tools.df_prompt.write import write, write_negative
from tools.diffusion.timing import Timing

WEIGHT_MODES = ("mean_restore", "none", "norm_restore", "lerp_from_empty")
RANGE_UNITS = ("step", "sigma")


@dataclass(frozen=True, slots=True)
class Reading:
    """How prompts are read. `lenient`: brackets that begin no triple are text. `weights`, `ranges`: a weight mode and a unit of ranges."""

    lenient: bool = False
    weights: str = "mean_restore"
    ranges: str = "step"

    def __post_init__(self) -> None:
        for option, value, known in (("--weights", self.weights, WEIGHT_MODES), ("--ranges", self.ranges, RANGE_UNITS)):
            if value not in known:
                raise BadInput(f"{option} knows {', '.join(known)}, not {value!r}")


def asked(prompts: Sequence[str], negative: str, reading: Reading) -> list[Conditioning]:
    """The distinct conditionings that the prompts ask for, in order. Raises BadInput for an empty one, and with the place for brackets
    that begin no triple."""
    found = []
    for prompt in prompts:
        try:
            plain = read(prompt, negative, reading.lenient, cast(WeightMode, reading.weights))
        except LocatedError as error:
            raise BadInput(f"{error}; --lenient draws such brackets as text") from error
        if not plain.text:
            raise BadInput("the prompt is empty; say what the picture should show")
        found.append(replace(plain, range_unit=cast(RangeUnit, reading.ranges)))
    return list(dict.fromkeys(found))


def spoken_by_triples(prompt: str) -> str:
    """The words of a prompt that holds a triple; empty where it holds none."""
    found = parse(prompt, lenient=True)
    return found.spoken()[0] if any(piece.span for piece in found.pieces) else ""


def schedule(conditionings: Sequence[Conditioning], timing: Timing) -> list[dict[str, Any]]:
    """Which words act at which model calls, one row a prompt: {prompt, negative, calls, words: [{words, negative, weight, start, stop}]},
    the calls half open."""
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
