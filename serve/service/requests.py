"""What a client may ask for, checked field by field before anything is opened: the options of the command line, within limits.

Where a request says nothing, the server's own settings hold. Which checkpoints may be asked for is the server's choice: a name from
outside never becomes a path or a download.

What one request, one client and the whole server may ask for. Numbers only; whoever serves enforces them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from limner.agents.chat.actions import Action
from limner.graph.plan import DEFAULT_BUDGET, DEFAULT_HELDOUT_SEEDS, LearningSettings
from limner.graph.settings import HELDOUT_FROM, Settings
from limner.promptdb.errors import BadInput

PROMPT_CHARS = 4000
"""Longer than any text encoder reads by far, and than any prompt a person writes."""

QUERY_CHARS = 1000
PIN_CHARS = 200
PINS = 32
PROMPTS = 10_000
"""Prompts of one optimize job."""

SCORERS = 8
STEPS = 250
GUIDANCE = 100.0
SEEDS = 256
VARIANTS = 64
ITERATIONS = 100
HITS = 200
RUNS = 500


@dataclass(frozen=True, slots=True)
class Limits:
    """`body`, `job_body`, `upload`: bytes of a request, of one that brings a file of prompts, and of one that brings a picture.
    `pixels`: of a picture to be judged. `budget`: pictures that one request may draw. `waiting`: requests in line for the one that is
    drawing. `per_client`: of these from one client. `requests`: of any kind under way from one client. `chat_messages`: of one chat.
    `models`: checkpoints that each of the two queues keeps open."""

    body: int = 256 << 10
    job_body: int = 8 << 20
    upload: int = 16 << 20
    pixels: int = 4096 * 4096
    budget: int = 100_000
    waiting: int = 32
    per_client: int = 8
    requests: int = 128
    chat_messages: int = 1000
    models: int = 1


DEFAULTS = Limits()


Prompt = Annotated[str, StringConstraints(min_length=1, max_length=PROMPT_CHARS)]
Negative = Annotated[str, StringConstraints(max_length=PROMPT_CHARS)]
Pin = Annotated[str, StringConstraints(min_length=1, max_length=PIN_CHARS)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Method = Literal["auto", "rewrite", "adapter", "df-prompt", "dpo-diff"]
Dialect = Literal["a1111", "comfyui", "compel", "df"]
RunId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,79}$")]


class Ask(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class DrawingAsk(Ask):
    """How to draw; the server's settings where nothing is said."""

    checkpoint: Name | None = Field(default=None, description="one of the checkpoints that this server offers")
    steps: int | None = Field(default=None, ge=1, le=STEPS)
    guidance_scale: float | None = Field(default=None, ge=0, le=GUIDANCE)
    seed: int | None = Field(default=None, ge=0, lt=HELDOUT_FROM)
    truncate: bool | None = Field(default=None, description="cut prompts over the text encoder's limit instead of refusing them")


class SearchingAsk(DrawingAsk):
    scorers: list[Name] | None = Field(default=None, max_length=SCORERS, description="the first is the objective")
    budget: int | None = Field(default=None, ge=1, description="images to draw at most")
    search_seeds: int | None = Field(default=None, ge=1, le=SEEDS)
    heldout_seeds: int | None = Field(default=None, ge=2, le=SEEDS)
    variants: int | None = Field(default=None, ge=1, le=VARIANTS, description="rewritten prompts to ask for")
    pins: list[Pin] | None = Field(default=None, max_length=PINS, description="words that no candidate may lose")


class RefineAsk(SearchingAsk):
    prompt: Prompt
    method: Method = "auto"


class GenerateAsk(DrawingAsk):
    prompts: list[Prompt] = Field(min_length=1, max_length=64)
    negative: Negative = ""
    count: int = Field(default=1, ge=1, le=64, description="pictures of each prompt, on seeds from `seed` on")
    lenient: bool = Field(default=False, description="prompts are DF-Prompts; brackets that begin no triple are plain text")


class BatchPromptAsk(Ask):
    prompt: Prompt
    pins: list[Pin] = Field(default_factory=list, max_length=PINS)


class OptimizeAsk(SearchingAsk):
    prompts: list[Prompt | BatchPromptAsk] = Field(min_length=1, max_length=PROMPTS)
    iterations: int | None = Field(default=None, ge=1, le=ITERATIONS)
    batch_size: int | None = Field(default=None, ge=1, le=64)
    arms: int | None = Field(default=None, ge=1, le=32)
    selector: Name | None = None
    professional: bool | None = None
    compat: Literal["", "maai"] | None = None
    instruction: Negative = Field(default="", description="where to start from; by default the rewriter's own")


class ConvertAsk(Ask):
    text: Annotated[str, StringConstraints(max_length=200_000)] = Field(description="a prompt, a ComfyUI graph or a DF-Prompt document")
    to: Dialect
    source: Dialect | None = Field(default=None, description="by default told from the prompt's marks")
    steps: int | None = Field(default=None, ge=1, le=1000)
    negative: Negative = ""
    lenient: bool = False


class SearchAsk(Ask):
    query: Annotated[str, StringConstraints(max_length=QUERY_CHARS)]
    limit: int = Field(default=20, ge=1, le=HITS)
    by: Literal["words", "likeness", "both", "meaning"] = "both"
    diverse: bool = False
    source: Name | None = None
    min_score: float | None = None
    nsfw: bool = False
    min_words: int | None = Field(default=None, ge=0, le=10_000)
    max_words: int | None = Field(default=None, ge=0, le=10_000)
    contains: list[Pin] = Field(default_factory=list, max_length=16)
    excludes: list[Pin] = Field(default_factory=list, max_length=16)


class ThreadAsk(Ask):
    cap: int | None = Field(default=None, ge=1, description="pictures that the conversation may draw in all")


class BranchAsk(Ask):
    turn: int | None = Field(default=None, ge=0, le=10**6, description="the turn to go on from; by default the last")


class ReplyAsk(Ask):
    text: Annotated[str, StringConstraints(max_length=PROMPT_CHARS)] = Field(default="", description="what the person says")
    action: Action | None = Field(default=None, description="the same as a choice that needs no understanding")


_SETTINGS = ("checkpoint", "steps", "guidance_scale", "seed", "truncate", "budget", "search_seeds", "heldout_seeds", "variants")
_LEARNING = ("iterations", "batch_size", "arms", "selector", "professional", "compat")


def settings_of(ask: DrawingAsk, base: Settings, offered: Sequence[str], most_images: int) -> Settings:
    """The server's settings with what was asked for. Raises BadInput for a checkpoint that is not offered, and for too large a budget."""
    given: dict[str, Any] = {name: value for name in _SETTINGS if (value := getattr(ask, name, None)) is not None}
    for name in ("scorers", "pins"):
        if (values := getattr(ask, name, None)) is not None:
            given[name] = tuple(values)
    if isinstance(ask, OptimizeAsk):
        given = {"budget": DEFAULT_BUDGET, "heldout_seeds": DEFAULT_HELDOUT_SEEDS, **given}
    if "checkpoint" in given and given["checkpoint"] not in offered:
        raise BadInput(f"this server offers {', '.join(offered)}, not {given['checkpoint']!r}")
    if given.get("budget", 0) > most_images:
        raise BadInput(f"a request may draw {most_images} images at most, not {given['budget']}")
    return replace(base, **given)


def learning_of(ask: OptimizeAsk) -> LearningSettings:
    return LearningSettings(**{name: value for name in _LEARNING if (value := getattr(ask, name)) is not None})
