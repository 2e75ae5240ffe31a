"""What the web page's components are given: pictures with captions, texts, tables. Values in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import gradio as gr
from PIL import Image

from limner.graph.sources import OPTIONS
from limner.promptdb.images import ImageStore
from limner.serve.service.jobs import JobRecord
from limner.serve.service.progress import in_words
from limner.serve.service.requests import SERVED_MOST

__all__ = [
    "AT_ONCE",
    "client_of",
    "failed",
    "gallery",
    "hits_table",
    "in_words",
    "job_choices",
    "literal",
    "number_box",
    "opened",
    "pair_images",
    "picture_grid",
    "prompt_of",
    "run_choices",
]

# For events that are answered in milliseconds: past gradio's queue, whose stream of answers now and then closes (gradio 6) while the
# next event is on its way, so that its answer never arrives.
AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden"}


def gallery(images: ImageStore, payload: Mapping[str, Any]) -> list[tuple[Image.Image, str]]:
    """Pictures of a conversation with their number and scores."""
    rows = []
    for row in payload["images"]:
        scores = ", ".join(f"{name} {value:.3g}" for name, value in row["scores"].items() if value is not None)
        rows.append((images.get(row["image"]), f"{row['number']}: {scores}"))
    return rows


def prompt_of(payload: Mapping[str, Any], number: int = 0) -> str:
    """What the picture of that number was drawn from; by default what was accepted, else that of the best. "" where none is shown."""
    drawn = {row["number"]: row for row in payload["images"]}
    accepted = payload["accepted"]
    row = drawn.get(number or 1) if number or not accepted else accepted["result"]["conditioning"]
    return "" if row is None else row["text"] + (f"\nNegative: {row['negative']}" if row.get("negative") else "")


def pair_images(images: ImageStore, payload: Mapping[str, Any]) -> tuple[Image.Image | None, Image.Image | None]:
    """The two pictures of a blind vote: nothing goes with them that tells them apart."""
    pair = payload["pair"]
    return (images.get(pair["left"]), images.get(pair["right"])) if pair else (None, None)


def literal(text: str) -> str:
    """For the conversation's window, which takes its texts for HTML, markup or not."""
    return escape(text, quote=False)


def number_box(name: str, value: float | None = None, **more: Any) -> gr.Number:
    """A box for a setting that is a whole number, with its help and bounds. `value`: shown first; by default the setting's own."""
    item = OPTIONS[name]
    most = SERVED_MOST.get(item.field, item.most)
    facts = {"label": name.replace("_", " ").capitalize(), "info": item.help, "minimum": item.least, "maximum": most, "elem_id": name}
    return gr.Number(item.default if value is None else value, precision=0, **{**facts, **more})


def failed(error: Exception) -> str:
    return f"That did not work: {error}"


def hits_table(hits: Iterable[Mapping[str, Any]], pictures: Mapping[str, str]) -> str:
    """Prompts with the words of the query marked, and a thumbnail of those in `pictures` (prompt id to hash); escaped."""
    rows = []
    for hit in hits:
        picture = f"<td>{_thumbnail(pictures.get(hit['id']), hit['text'])}</td>" if pictures else ""
        words = _marked(hit["text"], hit["highlights"])
        rows.append(f'<tr>{picture}<td class="words">{words}</td><td>{escape(hit["source"])}</td></tr>')
    if not rows:
        return "<p>Nothing found.</p>"
    heads = "".join(f"<th>{name}</th>" for name in (("picture",) if pictures else ()) + ("prompt", "source"))
    return f'<table class="found-prompts"><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def picture_grid(pictures: Iterable[tuple[str, str]]) -> str:
    """Pictures of the store, (hash, prompt), by their addresses: the browser keeps those that it has. Escaped."""
    shown = "".join(f'<img src="/v1/images/{key}.png" alt="{escape(text)}" title="{escape(text)}">' for key, text in pictures)
    return f'<div class="grid-of-pictures">{shown}</div>'


def opened(path: str) -> Image.Image:
    with Image.open(path) as file:
        return file.convert("RGB")


def client_of(request: gr.Request) -> str:
    """Whose limits count."""
    return request.client.host if request.client else "web"


def job_choices(records: Sequence[JobRecord]) -> list[tuple[str, str]]:
    return [(f"{record.id} ({record.prompts} prompts)", record.id) for record in records]


def run_choices(runs: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    return [(" · ".join(str(run[name]) for name in ("command", "prompt", "status", "run") if run[name]), str(run["run"])) for run in runs]


def _thumbnail(key: str | None, text: str) -> str:
    return f'<img class="hit-picture" loading="lazy" src="/v1/images/{key}.png" alt="{escape(text)}">' if key else ""


def _marked(text: str, spans: Iterable[Sequence[int]]) -> str:
    parts, position = list[str](), 0
    for start, end in spans:
        parts += [escape(text[position:start]), "<mark>", escape(text[start:end]), "</mark>"]
        position = end
    return "".join([*parts, escape(text[position:])])
