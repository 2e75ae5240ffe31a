"""What a client may ask for, checked field by field before anything is opened: the options of the command line, within limits.

Where a request leaves a field out, the server's own setting holds. The server chooses which checkpoints may be named: a name from outside
never becomes a path or a download. The limits of one request, one client and the whole server are numbers here; others enforce them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, create_model
from pydantic_core import PydanticCustomError

from limner.agents.chat.actions import Action
from limner.graph.plan import DEFAULT_BUDGET, DEFAULT_HELDOUT_SEEDS, LearningSettings
from limner.graph.settings import RefineSettings, Settings
from limner.promptdb.errors import BadInput
from limner.tools.options import Declared, Option, options_of
from limner.tools.solvers.dpo_diff.settings import DpoSettings

PROMPT_CHARS = 4000
"""Characters of a prompt: far more than any text encoder reads."""

QUERY_CHARS = 1000
PIN_CHARS = 200
PINS = 32
PROMPTS = 10_000
"""Prompts of one optimize job."""

HITS = 200
RUNS = 500


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of what clients may ask for.

    `body`, `job_body`, `upload`: bytes of a request, of one that brings a file of prompts, and of one that brings a picture. `pixels`: of a
    picture to be judged. `budget`: pictures that one request may draw. `waiting`: requests in a queue. `per_client`: of these from one
    client. `requests`: of any kind in work from one client. `chat_messages`: of one chat. `models`: checkpoints that each of the two queues
    has open.
    """

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
Dialect = Literal["plain", "a1111", "comfyui", "compel", "invokeai", "novelai", "df"]
RunId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,79}$")]


Model = TypeVar("Model", bound=BaseModel)


class Ask(BaseModel):
    """A request: nothing in it that is not known."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


NOT_SERVED = {
    "device": "the server decides where it computes",
    "dtype": "one checkpoint is open for all, in one precision",
    "out": "a name from outside never becomes a path",
    "db": "a name from outside never becomes a path",
}
"""Settings that no request may change, by field, with the reason. All others are fields of requests."""

SERVED_MOST: dict[str, float] = {
    "steps": 250,
    "guidance_scale": 100,
    "search_seeds": 256,
    "heldout_seeds": 256,
    "variants": 64,
    "scorers": 8,
    "pins": PINS,
    "triggers": PINS,
    "bans": PINS,
    "let_go": PINS,
    "traits": PINS,
    "iterations": 100,
    "batch_size": 64,
    "arms": 32,
    "children": 32,
}
"""Upper bounds of requests, by field, where the setting has a higher one or none; of lists, the length."""

DRAWING = ("checkpoint", "steps", "guidance_scale", "dialect", "seed", "truncate")
SEARCHING = tuple(item.field for item in options_of(Settings) if item.field not in (*DRAWING, *NOT_SERVED))

_HELP = {"checkpoint": "one of the checkpoints that this server offers"}
"""Help of fields in which a request may name less than a command line."""

_KINDS: dict[str, Any] = {"checkpoint": Name, "selector": Name, "scorers": Name}


def field_of(item: Option) -> Any:
    """Returns the type of a request's field, and pydantic's field with the help and bounds that the option declares."""
    most = SERVED_MOST.get(item.field)
    kind: Any = _KINDS.get(item.field, item.kind)
    if item.kind is list:
        kind = Annotated[list[_KINDS.get(item.field, Pin)], Field(max_length=int(most or PINS))]  # type: ignore[misc]
    elif kind is item.kind:
        highest = min((bound for bound in (item.most, most) if bound is not None), default=None)
        shown = {"minimum": item.least, "maximum": highest, "enum": list(item.choices()) if item.choices else None}
        schema: dict[str, Any] = {name: value for name, value in shown.items() if value is not None}
        kind = Annotated[kind, AfterValidator(partial(_checked, item, highest)), Field(json_schema_extra=schema)]
    usual = "" if item in options_of(Settings) or item.default == "" else f"; by default {item.default}"
    return kind | None, Field(default=None, description=_HELP.get(item.field, item.help) + usual)


def _checked(item: Option, most: float | None, value: Any) -> Any:
    """The value, within the bounds that every front end has, refused in the same words."""
    try:
        return item.clean(value, most=most)
    except BadInput as error:
        raise PydanticCustomError("bad_input", "{why}", {"why": str(error)}) from None


def offers(group: type[Declared], *fields: str) -> Callable[[type[Model]], type[Model]]:
    """Returns a decorator that adds the declared fields of `group` to a request, or those named alone. A field that is left out is None."""

    def with_fields(model: type[Model]) -> type[Model]:
        asked: Any = {item.field: field_of(item) for item in options_of(group) if item.field in (fields or (item.field,))}
        return create_model(model.__name__, __base__=model, __module__=model.__module__, __doc__=model.__doc__, **asked)

    return with_fields


@offers(Settings, *DRAWING)
class DrawingAsk(Ask):
    """How to draw; the server's settings where nothing is said."""

    def given(self, group: type[Declared]) -> dict[str, Any]:
        """Returns the fields of `group` that the request sets."""
        values = {item.field: getattr(self, item.field, None) for item in options_of(group)}
        return {name: value for name, value in values.items() if value is not None}


@offers(Settings, *SEARCHING)
class SearchingAsk(DrawingAsk):
    """How to search; the server's settings where nothing is said."""


@offers(RefineSettings)
@offers(DpoSettings)
class RefineAsk(SearchingAsk):
    """A prompt to be refined. `negative`: every candidate keeps it."""

    prompt: Prompt
    negative: Negative = ""


class GenerateAsk(DrawingAsk):
    """Prompts to be drawn."""

    prompts: list[Prompt] = Field(min_length=1, max_length=64)
    negative: Negative = ""
    count: int = Field(default=1, ge=1, le=64, description="pictures of each prompt, on seeds from `seed` on")
    lenient: bool = Field(default=False, description="brackets that begin no triple of a DF-Prompt are plain text")


class BatchPromptAsk(Ask):
    """A prompt to learn on, with words of its own that no rewriting may lose."""

    prompt: Prompt
    pins: list[Pin] = Field(default_factory=list, max_length=PINS)


@offers(LearningSettings)
class OptimizeAsk(SearchingAsk):
    """Prompts to learn an instruction on."""

    prompts: list[Prompt | BatchPromptAsk] = Field(min_length=1, max_length=PROMPTS)
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


def copied(model: type[Model], source: BaseModel, **fields: Any) -> Model:
    """Returns another request with the settings of `source`, and `fields`. Raises pydantic's ValidationError."""
    shared = {name: getattr(source, name) for name in model.model_fields if name in type(source).model_fields}
    return model(**{**shared, **fields})


def settings_of(ask: DrawingAsk, base: Settings, offered: Sequence[str], most_images: int) -> Settings:
    """Returns the server's settings with those that the request sets. Raises BadInput for a checkpoint not offered and for too large a
    budget.
    """
    given = ask.given(Settings)
    if isinstance(ask, OptimizeAsk):
        given = {"budget": DEFAULT_BUDGET, "heldout_seeds": DEFAULT_HELDOUT_SEEDS, **given}
    if "checkpoint" in given and given["checkpoint"] not in offered:
        raise BadInput(f"this server offers {', '.join(offered)}, not {given['checkpoint']!r}")
    if given.get("budget", 0) > most_images:
        raise BadInput(f"a request may draw {most_images} images at most, not {given['budget']}")
    return replace(base, **given)
