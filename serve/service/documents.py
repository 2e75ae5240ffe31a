"""The types of answers, for the OpenAPI document and MCP's schemas: those of `--json`, field by field. Pure declarations."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypeAliasType

from limner.graph.events import OtherEvent
from limner.graph.state import Kind
from limner.tools.events import Drawn


class Document(BaseModel):
    model_config = ConfigDict(extra="allow")


class ScoreDocument(Document):
    """One scorer on held-out seeds. `ci95`: of the paired difference."""

    before: float | None
    after: float | None
    delta: float | None
    ci95: list[float] | None
    n: int


class PromptDocument(Document):
    text: str
    negative: str
    df_prompt: Any = None
    conditioning_id: str


class TriedDocument(PromptDocument):
    """A prompt with its own scores: means on the held-out seeds, by scorer."""

    scores: dict[str, float | None] = Field(default_factory=dict)


class VerdictDocument(Document):
    """What fresh seeds or prompts say of the change, and what they cannot say."""

    kind: Kind
    words: str = Field(description="the verdict in sentences, for a person")
    objective: str
    better_on: int = Field(description="seeds or prompts on which the objective is better, of `n`")
    n: int
    smallest: float | None = Field(description="the smallest difference that could have been seen with 80 % power")
    lost: list[str] = Field(description="scorers that are surely worse")
    scorers: dict[str, Kind] = Field(description="what each scorer says by itself")
    missing: list[str] = Field(description="evidence that no scorer of the run gives")


class ClauseDocument(Document):
    kind: str = Field(description="count, quoted text, colour, name, weight, network or negation")
    words: str


class ContractDocument(Document):
    """The words that every candidate had to hold, and those that none might. `automatic`: which of them the prompt kept by itself.
    `let_go`: words and kinds that it might not."""

    pins: list[str]
    bans: list[str]
    automatic: list[ClauseDocument]
    let_go: list[str]


class RefinedDocument(Document):
    verdict: VerdictDocument | None = Field(default=None, description="null in results of earlier versions")
    run: str
    prompt: str
    method: str
    checkpoint: str
    chat_model: str = Field(description="'offline' is a stand-in by rules, no language model")
    result: TriedDocument
    best_tried: TriedDocument | None = Field(default=None, description="the best candidate, where it was not adopted")
    improved: bool = Field(description="whether the verdict is the one that was wanted; if not, the result is the prompt as it was")
    contract: ContractDocument | None = Field(default=None, description="null in results of earlier versions")
    scores: dict[str, ScoreDocument]
    used: dict[str, int | float]
    images: dict[str, list[str]]
    report: str


class DrawnDocument(Document):
    path: str | None = Field(description="null where the model drew nothing usable")
    prompt: str
    negative: str
    seed: int
    settings: dict[str, Any]
    drawing_id: str


class GeneratedDocument(Document):
    run: str
    checkpoint: str
    images: list[DrawnDocument]
    used: dict[str, int | float]


class ScoredDocument(Document):
    image: str
    prompt: str
    checkpoint: str
    scores: dict[str, float | None]


class OptimizedDocument(Document):
    verdict: VerdictDocument | None = Field(default=None, description="on the best instruction against the initial one")
    run: str
    checkpoint: str
    chat_model: str
    instruction: dict[str, str] = Field(description="initial, best, id")
    improved: bool
    stopped: str
    heldout: dict[str, ScoreDocument]
    heldout_initial: dict[str, ScoreDocument]
    warnings: list[str]
    used: dict[str, int | float]
    report: str


class ConvertedDocument(Document):
    source: str = Field(alias="from")
    to: str
    steps: int | None
    output: Any
    negative: str
    fidelity: str
    reasons: list[dict[str, Any]]
    df_prompt: Any


class HitDocument(Document):
    id: str
    text: str
    subject: str
    negative: str
    source: str
    nsfw: float | None
    score: float
    merit: float | None
    highlights: list[list[int]]


class RunRow(Document):
    run: str
    command: str
    status: str
    started: str
    prompt: str


class RunDocument(RunRow):
    settings: dict[str, Any]
    candidates: list[dict[str, Any]]
    result: dict[str, Any] | None
    files: list[str] = Field(default_factory=list, description="addresses of pictures and report")


class JobDocument(Document):
    id: str = Field(description="also the id of the run")
    state: str = Field(description="waiting, running, paused, stopped, done or failed")
    created: str
    prompts: int
    error: str
    events: str = Field(description="address of its server-sent events")
    result: dict[str, Any] | None = Field(default=None, description="what `optimize --json` prints, once it is done")


class ShownDocument(Document):
    """A picture of a conversation. `scores` are those of the search, no results."""

    number: int
    image: str
    url: str = ""
    text: str
    negative: str
    seed: int
    scores: dict[str, float | None]


class ThreadDocument(Document):
    """What a conversation waits for. `pair`: a blind vote between two pictures is open. `accepted`: with the held-out comparison."""

    thread: str
    turn: int
    reply: str
    request: str
    checkpoint: str
    contract: dict[str, list[str]]
    base: dict[str, Any] | None
    images: list[ShownDocument]
    pair: dict[str, Any] | None
    accepted: dict[str, Any] | None
    cap: int
    used: dict[str, int | float]
    choices: list[str]


class ThreadRow(Document):
    thread: str
    turns: int
    said: str
    started: str
    last: str


class TurnDocument(Document):
    place: int
    parent: int
    said: str
    reply: str
    actions: list[dict[str, Any]]
    cost: dict[str, int | float]
    pictures: list[dict[str, Any]]
    made: str


class DrawnAt(Drawn):
    """A new picture, and where it is found."""

    url: NotRequired[str]


SentEvent = TypeAliasType("SentEvent", Annotated[DrawnAt | OtherEvent, Field(discriminator="kind")])
"""An event of a run or a conversation as servers send it."""


class JobStateDocument(Document):
    """A job's state has changed. `error`: why it failed, or waits to be resumed."""

    state: str
    error: str


class LoadedDocument(Document):
    """A checkpoint in memory. `queue`: `draw` for what somebody waits for, `learn` for jobs."""

    queue: str
    checkpoint: str
    device: str
    scorers: list[str]
    leased: bool = Field(description="whether a request is worked on with it just now")


class ErrorBody(BaseModel):
    message: str
    type: str
    param: str | None = None
    code: str


class ErrorDocument(BaseModel):
    error: ErrorBody


RefineStream = SentEvent | RefinedDocument | ErrorDocument
ThreadStream = SentEvent | ThreadDocument | ErrorDocument
JobStream = SentEvent | JobStateDocument
"""The data of server-sent events: of kind `progress`, then `done` or `error`; of a job `progress` and `state`."""
