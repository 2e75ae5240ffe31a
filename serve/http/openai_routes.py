"""OpenAI's API, so that programs for it can use Limner as an image model or as a chat model. Decides nothing.

A picture is refined before it is drawn. While a chat turn is in work, progress is streamed as `reasoning_content`, which chat windows show
apart from the answer.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from limner.promptdb.errors import BadInput
from limner.serve.http.conversation import MODEL, ChatAsk, ImagesAsk, Progress, Said, turn
from limner.serve.http.gate import client_of
from limner.serve.http.routes import Serving, unless_gone
from limner.serve.http.streams import told_error
from limner.serve.service.addresses import Addresses
from limner.serve.service.requests import DEFAULTS, GenerateAsk, RefineAsk, copied
from limner.serve.service.service import Service

router = APIRouter(prefix="/v1", tags=["openai"], max_body_size=DEFAULTS.job_body)


def checkpoint_of(service: Service, model: str) -> str | None:
    """Returns the checkpoint of a model's name; None for the server's own. Raises BadInput for a model that is not offered."""
    if model == MODEL:
        return None
    if model not in service.offer.checkpoints:
        raise BadInput(f"there is no model {model!r}; there are {', '.join([MODEL, *service.offer.checkpoints])}")
    return model


@router.get("/models")
def models(service: Serving) -> dict[str, Any]:
    """The server's own checkpoint as `limner`, and every one that it offers by its name."""
    names = [MODEL, *(name for name in service.offer.checkpoints if name != MODEL)]
    return {"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": "limner"} for name in names]}


@router.post("/images/generations")
async def generate_images(ask: ImagesAsk, request: Request, service: Serving) -> dict[str, Any]:
    """Refine the prompt, then draw what came of it, or the prompt itself where nothing was found to be better."""
    checkpoint, client = checkpoint_of(service, ask.model), client_of(request.scope)

    async def work() -> dict[str, Any]:
        text, negative, dialect = ask.prompt, ask.negative, getattr(ask, "dialect", None)
        found: dict[str, Any] = {"verdict": None, "improved": None, "refined_by": None}
        if ask.refine:
            refined = await service.refine(client, copied(RefineAsk, ask, prompt=ask.prompt, negative=ask.negative, checkpoint=checkpoint))
            typed = refined["result"]["typed"]
            found = {"verdict": refined["verdict"], "improved": refined["improved"], "refined_by": refined["run"]}
            text, negative, dialect = typed["prompt"], typed["negative"], typed["dialect"]
        also = {"negative": negative, "dialect": dialect, "count": ask.n or 1, "checkpoint": checkpoint}
        generate = copied(GenerateAsk, ask, prompts=[text], **also)
        drawn = await service.generate(client, generate)
        data = [_image(service, row, drawn["run"], ask, _places(request)) for row in drawn["images"] if row["path"]]
        settings = drawn["images"][0]["settings"]
        return {
            "created": int(time.time()),
            "data": data,
            "size": f"{settings['width']}x{settings['height']}",
            "limner": {**found, "run": drawn["run"], "negative": negative},
        }

    return await unless_gone(request, work())


def _image(service: Service, row: dict[str, Any], run: str, ask: ImagesAsk, places: Addresses) -> dict[str, Any]:
    name = row["path"].replace("\\", "/").rsplit("/", 1)[-1]
    if ask.response_format == "b64_json":
        path = service.run_file(run, name)
        return {"b64_json": base64.b64encode(path.read_bytes()).decode() if path else None, "revised_prompt": row["words"]}
    return {"url": places.file(run, name), "revised_prompt": row["words"]}


def _places(request: Request) -> Addresses:
    return Addresses(request.app.state.token, str(request.base_url).rstrip("/"))


@router.post("/chat/completions", response_model=None)
async def chat(ask: ChatAsk, request: Request, service: Serving) -> dict[str, Any] | StreamingResponse:
    """Answer the last message. With `stream`, the first bytes come before anything is drawn."""
    checkpoint = checkpoint_of(service, ask.model)
    if not ask.last.strip():
        raise BadInput("the last message must be the user's and hold text; say what the picture should show")
    id, created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())
    parts = turn(service, client_of(request.scope), ask, checkpoint, _places(request))
    if ask.stream:
        return StreamingResponse(
            _chunks(parts, id, created, ask.model), media_type="text/event-stream", headers={"cache-control": "no-store"}
        )

    async def whole() -> str:
        return "".join([part.text async for part in parts if isinstance(part, Said)])

    message = {"role": "assistant", "content": await unless_gone(request, whole()), "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return {"id": id, "object": "chat.completion", "created": created, "model": ask.model, "choices": [choice]}


async def _chunks(parts: AsyncIterator[Said | Progress], id: str, created: int, model: str) -> AsyncIterator[bytes]:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return _event({"id": id, "object": "chat.completion.chunk", "created": created, "model": model, "choices": [choice]})

    yield chunk({"role": "assistant", "content": ""})
    try:
        async for part in parts:
            yield chunk({"content": part.text} if isinstance(part, Said) else {"reasoning_content": part.text})
    except Exception as error:
        yield _event(told_error(error))
        return
    yield chunk({}, "stop")
    yield b"data: [DONE]\n\n"


def _event(document: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(document, ensure_ascii=False)}\n\n".encode()
