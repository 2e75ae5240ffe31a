"""Conversations over HTTP: threads and their turns, streamed while they go on. Decides nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.sse import EventSourceResponse

from limner.promptdb.errors import BadInput
from limner.serve.http.gate import client_of
from limner.serve.http.routes import Placing, Serving, unless_gone
from limner.serve.http.streams import as_events
from limner.serve.service.documents import ThreadDocument, ThreadRow, ThreadStream, TurnDocument
from limner.serve.service.requests import DEFAULTS, BranchAsk, ReplyAsk, ThreadAsk
from limner.serve.service.service import Service, with_progress

router = APIRouter(prefix="/v1/threads", tags=["chat"], max_body_size=DEFAULTS.body)

ThreadId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]


@router.post("", response_model=ThreadDocument, status_code=201)
async def start(ask: ThreadAsk, request: Request, service: Serving, places: Placing) -> Any:
    """Begin a conversation. `cap`: pictures that it may draw in all."""
    return places.asked(await unless_gone(request, service.start_thread(client_of(request.scope), ask.cap)))


@router.get("", response_model=list[ThreadRow])
def threads(service: Serving, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> Any:
    """Conversations in which something was said, the latest first."""
    return service.chats.threads(limit)


@router.get("/{thread}", response_model=ThreadDocument)
def view(thread: ThreadId, service: Serving, places: Placing) -> Any:
    """Where a conversation is, and what it waits for."""
    return places.asked(_known(service, thread))


@router.get("/{thread}/turns", response_model=list[TurnDocument])
def history(thread: ThreadId, service: Serving, everything: bool = False) -> Any:
    """The turns that led to where the conversation is; with `everything` those that were undone too."""
    _known(service, thread)
    return service.history(thread, everything)


@router.post("/{thread}/turns", response_model=ThreadDocument)
async def say(thread: ThreadId, ask: ReplyAsk, request: Request, service: Serving, places: Placing) -> Any:
    """Say something, or choose an action; answers with what the conversation waits for then."""
    return places.asked(await unless_gone(request, service.say(client_of(request.scope), thread, ask.text, ask.action, lambda event: None)))


@router.post("/{thread}/turns/events", response_class=EventSourceResponse)
async def say_events(thread: ThreadId, ask: ReplyAsk, request: Request, service: Serving, places: Placing) -> AsyncIterator[ThreadStream]:
    """As saying something, told while it goes on: `progress`, at the end `done` with what the conversation waits for, or `error`."""
    work = with_progress(lambda tell: service.say(client_of(request.scope), thread, ask.text, ask.action, tell))
    async for event in as_events(work, places, places.asked):
        yield event


@router.post("/{thread}/branch", response_model=ThreadDocument, status_code=201)
def branch(thread: ThreadId, ask: BranchAsk, service: Serving, places: Placing) -> Any:
    """A new conversation that goes on from a turn of this one; this one stays as it is."""
    _known(service, thread)
    return places.asked(service.chats.view(service.chats.branch(thread, ask.turn)))


def _known(service: Service, thread: str) -> dict[str, Any]:
    try:
        return service.chats.view(thread)
    except BadInput as error:
        raise HTTPException(404, str(error)) from error
