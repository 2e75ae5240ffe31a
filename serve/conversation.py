"""A turn of a conversation in words: what is said while it goes on, and the answer as Markdown with its pictures. Decides nothing."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from promptdb.errors import BadInput
from serve.addresses import Addresses
from serve.limits import PROMPT_CHARS
from serve.openai_asks import ChatAsk
from serve.requests import RefineAsk
from serve.service import Ended, Service, told


@dataclass(frozen=True, slots=True)
class Progress:
    """What is being done, for whoever waits; no part of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """A part of the answer."""

    text: str


async def turn(service: Service, client: str, ask: ChatAsk, checkpoint: str | None, places: Addresses) -> AsyncIterator[Said | Progress]:
    """Refine what the person said last. Raises BadInput, Busy."""
    if len(ask.last) > PROMPT_CHARS:
        raise BadInput(f"the message has {len(ask.last)} characters; {PROMPT_CHARS} are taken at most")
    refine = RefineAsk(prompt=ask.last, checkpoint=checkpoint)
    async for event in told(lambda tell: service.refine(client, refine, tell)):
        if isinstance(event, Ended):
            yield Said(answer(places.refined(event.result)))
        elif line := in_words(event):
            yield Progress(line + "\n")


def in_words(event: Mapping[str, Any]) -> str:
    """An event in a line; empty for those that are too many to be told."""
    if event["kind"] == "node" and event["phase"] == "end" and event["note"] not in ("", "not asked for"):
        return f"{event['node']}: {event['note']}"
    if event["kind"] == "draw" and event["images"]:
        return f"drawing {event['images']} pictures"
    return str(event["text"]) if event["kind"] == "warning" else ""


def answer(document: Mapping[str, Any]) -> str:
    """A refined prompt in Markdown; the prompt stands in a fence that nothing in it can leave."""
    result, lines = document["result"], list[str]()
    if document["improved"]:
        lines += ["**Improved.** Use this prompt:", "", fenced(result["text"])]
        if result["negative"]:
            lines += ["", "with this negative prompt:", "", fenced(result["negative"])]
    else:
        lines += ["**No improvement found.** Your prompt stays as it is."]
    for name in ("before", "after"):
        if document["images"][name]:
            lines += ["", f"{name}: " + " ".join(f"![{name}]({address})" for address in document["images"][name][:4])]
    lines += ["", "| scorer | before | after | difference | 95 % interval |", "|---|---|---|---|---|"]
    for scorer, row in document["scores"].items():
        interval = "" if row["ci95"] is None else f"{row['ci95'][0]:+.4g} to {row['ci95'][1]:+.4g}"
        numbers = ["" if row[key] is None else f"{row[key]:.4g}" for key in ("before", "after")]
        lines.append(f"| {scorer} | {' | '.join(numbers)} | {'' if row['delta'] is None else format(row['delta'], '+.4g')} | {interval} |")
    lines += [
        "",
        f"On {next(iter(document['scores'].values()))['n']} seeds that no search has seen; {document['used']['images']} pictures drawn.",
    ]
    return "\n".join(lines) + "\n"


def fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
