"""Answers for MCP clients: structured documents, pictures as image content, files as resources that they can read. Decides nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent
from pydantic import ValidationError

from limner.graph.verdict import verdict_in
from limner.promptdb.errors import BadInput, Cancelled, ServerAway, Stopped
from limner.serve.service.addresses import Addresses
from limner.serve.service.queue import Busy

SCHEME = "limner:/"
PICTURES = 4  # shown of each answer; all of them are resources


class Resources(Addresses):
    """Addresses of files as resources of this server."""

    def __init__(self) -> None:
        super().__init__(None, SCHEME)

    def file(self, run: str, name: str) -> str:
        """Returns the address of a file of a run."""
        return f"{self.base}/runs/{run}/files/{name}"

    def image(self, key: str) -> str:
        """Returns the address of a stored picture, by the hash of its pixels."""
        return f"{self.base}/images/{key}"


def answered(document: Mapping[str, Any], summary: str, pictures: Sequence[str | Path] = ()) -> CallToolResult:
    """Returns `summary` for a model to read, pictures for it to see, and the whole document for a program."""
    content: list[ContentBlock] = [TextContent(text=summary)]
    for path in pictures[:PICTURES]:
        data = base64.b64encode(Path(path).read_bytes()).decode()
        content.append(ImageContent(data=data, mime_type="image/png"))
    return CallToolResult(content=content, structured_content=json.loads(json.dumps(document)))


@contextmanager
def errors_told() -> Iterator[None]:
    """Turns errors that a person can correct into answers to the model; the words of any other error stay in the log."""
    try:
        yield
    except (BadInput, Busy, ServerAway, Stopped, Cancelled) as error:
        raise ToolError(str(error)) from error
    except ValidationError as error:
        parts = [f"{'.'.join(str(place) for place in item['loc'])}: {item['msg']}" for item in error.errors()[:5]]
        raise ToolError("; ".join(parts)) from error


def refined_summary(document: Mapping[str, Any]) -> str:
    """Returns the document of `refine` in a few lines."""
    result = document["result"]
    row = next(iter(document["scores"].items()), None)
    stays = "use this prompt" if document["improved"] else "the prompt stays"
    lines = [verdict_in(document)["words"], f"{stays}: {result['text']}"]
    lines += [f"negative: {result['negative']}"] if result["negative"] and document["improved"] else []
    if row and row[1]["ci95"]:
        lo, hi = row[1]["ci95"]
        lines.append(f"{row[0]}: {row[1]['delta']:+.4g} on {row[1]['n']} held-out seeds, 95 % interval {lo:+.4g} to {hi:+.4g}")
    lines.append(f"{document['used']['images']} pictures drawn, chat model {document['chat_model']}, run {document['run']}")
    return "\n".join(lines)


def optimized_summary(document: Mapping[str, Any]) -> str:
    """Returns the document of `optimize` in a few lines."""
    instruction = document["instruction"]
    head = f"{verdict_in(document)['words']}\nBest: {instruction['best']}"
    return f"{head}\n{document['used']['images']} pictures drawn, run {document['run']}"
