"""Work as a stream of server-sent events: `progress` as it goes on, then `done` with the document, or `error`. Decides nothing."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi.sse import ServerSentEvent

from limner.graph.events import Event
from limner.promptdb.errors import BadInput, Cancelled, ServerAway, Stopped
from limner.promptdb.errors import Busy as TurnInWork
from limner.serve.http.gate import error_document
from limner.serve.service.addresses import Addresses
from limner.serve.service.queue import Busy
from limner.serve.service.service import Ended

CODES: dict[type[Exception], str] = {
    TurnInWork: "turn_in_work",  # a kind of BadInput, so it stands before that
    BadInput: "bad_input",
    Busy: "busy",
    ServerAway: "chat_server_away",
    Stopped: "stopped",
    Cancelled: "cancelled",
}
"""Errors whose message clients get, with their codes; any other exception is a crash, whose words stay in the log."""


async def as_events(events: AsyncIterator[Event | Ended[Any]], places: Addresses, shown: Callable[[Any], Any]) -> AsyncIterator[Any]:
    """Yields the events, then the document, as `ServerSentEvent`s. `shown`: puts addresses into the document.

    A route that passes them on declares what their data is, so that the OpenAPI document has it.
    """
    try:
        async for event in events:
            if isinstance(event, Ended):
                yield ServerSentEvent(event="done", data=shown(event.result))
            else:
                yield ServerSentEvent(event="progress", data=places.event(event))
    except Exception as error:
        yield ServerSentEvent(event="error", data=told_error(error))


def told_error(error: Exception) -> dict[str, object]:
    """Returns the error as clients get it; logs one that is no entry of CODES."""
    for kind, code in CODES.items():
        if isinstance(error, kind):
            return error_document(str(error), code)
    logging.getLogger(__name__).error("a crash in a stream", exc_info=error)
    return error_document("an error in the server, which its log tells", "internal", "server_error")
