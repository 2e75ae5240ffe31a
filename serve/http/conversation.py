"""A turn of a conversation in Markdown, for chat windows of other programs: progress, and the answer with its pictures.

Such programs send the whole conversation each time and store no thread, so every answer ends with its thread and turn, by which both are
found again; where a person edited earlier words, the thread goes back to the turn before them. Of the fields that clients of OpenAI's API
send, those that mean something here are read and the others ignored, as every compatible server does.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from limner.graph.settings import RefineSettings, Settings
from limner.promptdb.errors import BadInput
from limner.serve.service.addresses import Addresses
from limner.serve.service.progress import in_words
from limner.serve.service.requests import DRAWING, PROMPT_CHARS, SEARCHING, Name, Negative, Prompt, offers
from limner.serve.service.service import Ended, Service, with_progress
from limner.tools.solvers.dpo_diff.settings import DpoSettings

MODEL = "limner"
"""The name of the server's own checkpoint as a model; every other one that it offers has its own name."""


class OpenAiAsk(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    model: Name = MODEL


@offers(Settings, *(name for name in (*DRAWING, *SEARCHING) if name != "checkpoint"))
@offers(RefineSettings)
@offers(DpoSettings)
class ImagesAsk(OpenAiAsk):
    """`refine` false draws the prompt as it is. `negative` and the settings, `budget` and `pins` among them, are Limner's own, for
    `extra_body`."""

    prompt: Prompt
    n: int | None = Field(default=1, ge=1, le=10)
    size: Annotated[str, StringConstraints(max_length=20)] | None = Field(
        default=None, description="pictures have the checkpoint's own size"
    )
    response_format: Literal["url", "b64_json"] | None = None
    refine: bool = True
    negative: Negative = ""


class MessageAsk(BaseModel):
    model_config = ConfigDict(extra="ignore")

    role: Annotated[str, StringConstraints(max_length=40)]
    content: Annotated[str, StringConstraints(max_length=200_000)] | list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        """What was said; pictures and the like are left out."""
        if isinstance(self.content, str):
            return self.content
        parts = [part.get("text") for part in self.content or [] if part.get("type") == "text"]
        return "\n".join(part for part in parts if isinstance(part, str))


class ChatAsk(OpenAiAsk):
    messages: list[MessageAsk] = Field(min_length=1, max_length=1000)
    stream: bool | None = False
    n: int | None = Field(default=1, ge=1, le=1)

    @property
    def last(self) -> str:
        """What the person said last; empty where the last message is not theirs."""
        return self.messages[-1].text if self.messages[-1].role == "user" else ""


_MARK = re.compile(r"thread `([A-Za-z0-9][\w.-]{0,99})`, turn (\d{1,6})\s*$")


@dataclass(frozen=True, slots=True)
class Progress:
    """A line on what is being done; no part of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """A part of the answer."""

    text: str


def mark_of(ask: ChatAsk) -> tuple[str, int]:
    """Returns the (thread, turn) that the assistant's last answer named; ("", 0) where there is none."""
    answers = [message.text for message in ask.messages[:-1] if message.role == "assistant"]
    found = _MARK.search(answers[-1]) if answers else None
    return (found[1], int(found[2])) if found else ("", 0)


async def turn(service: Service, client: str, ask: ChatAsk, checkpoint: str | None, places: Addresses) -> AsyncIterator[Said | Progress]:
    """Sends the last message to the thread of the conversation, to a new one at its beginning; yields the answer and the progress.

    Raises BadInput, Busy.
    """
    if len(ask.last) > PROMPT_CHARS:
        raise BadInput(f"the message has {len(ask.last)} characters; {PROMPT_CHARS} are taken at most")
    thread, place = mark_of(ask)
    said = ""
    async for event in with_progress(lambda tell: service.say(client, thread, ask.last, None, tell, place, checkpoint)):
        if isinstance(event, Ended):
            reply = str(event.result["reply"])
            rest = reply.removeprefix(said) if reply.startswith(said) else f"\n\n{reply}"
            yield Said(marked(rest) + "  \n" + shown(event.result, places))
            continue
        match event["kind"]:
            case "words":
                said += event["text"]
                yield Said(marked(event["text"]))
            case "heard" if said:  # the answer so far is of a step before this one, such as an undo
                said = ""
                yield Said("\n\n")
            case _:
                if line := in_words(event):
                    yield Progress(line + "\n")


def marked(text: str) -> str:
    """Returns a piece of a reply in Markdown, with its lines. Words of people, models and the database are text in it, never markup."""
    return literal(text).replace("\n", "  \n")


def shown(payload: Mapping[str, Any], places: Addresses) -> str:
    """Returns what a thread shows below its reply while it waits, in Markdown."""
    lines: list[str] = []
    if payload["pair"]:  # a blind vote: nothing may tell the two apart
        sides = [f"**{side}** ![{side}]({places.image(payload['pair'][side])})" for side in ("left", "right")]
        lines += ["", " ".join(sides)]
    else:
        for row in payload["images"]:
            scores = ", ".join(f"{literal(name)} {value:.4g}" for name, value in row["scores"].items())
            lines += ["", f"**{row['number']}** ![{row['number']}]({places.image(row['image'])}) {scores}"]
    if payload["accepted"]:
        lines += ["", *_table(payload["accepted"]["scores"])]
    if payload["base"]:
        conditioning = payload["base"]["conditioning"]
        lines += ["", fenced(conditioning["text"])]
        lines += ["", "negative:", "", fenced(conditioning["negative"])] if conditioning.get("negative") else []
    lines += ["", f"thread `{payload['thread']}`, turn {payload['turn']}"]
    return "\n".join(lines) + "\n"


def _table(scores: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The comparison on held-out seeds: the only numbers that are results."""
    lines = ["| scorer | before | after | difference | 95 % interval | seeds |", "|---|---|---|---|---|---|"] if scores else []
    for scorer, row in scores.items():
        interval = "" if row["ci95"] is None else f"{row['ci95'][0]:+.4g} to {row['ci95'][1]:+.4g}"
        cells = ["" if row[key] is None else f"{row[key]:.4g}" for key in ("before", "after")]
        delta = "" if row["delta"] is None else f"{row['delta']:+.4g}"
        lines.append(f"| {literal(scorer)} | {' | '.join(cells)} | {delta} | {interval} | {row['n']} |")
    return lines


def literal(text: str) -> str:
    """Returns text that no Markdown reader takes for markup: no links, no pictures from elsewhere, no HTML."""
    return re.sub(r"([\\`*_{}\[\]()<>#+!|~&-])", r"\\\1", text)


def fenced(text: str) -> str:
    """Returns the text as a code block, whose fence is longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
