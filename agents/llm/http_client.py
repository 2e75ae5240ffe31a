"""An HTTP client for the OpenAI library that stops reading at a size and at a time.

Its read timeouts alone begin anew with each byte that drips in, and it would hold any answer in memory whole. Knows nothing of
chat messages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from limner.agents.llm.settings import ChatSettings

ENVELOPE = 65_536  # bytes that a reply may need around the answer's own text
STREAMED = 600  # bytes that a streamed character may need: a token may be one, and each comes in an envelope of its own
FRAMING = ("content-encoding", "content-length", "transfer-encoding")  # true of what came in, not of the body as read


class TooMuch(Exception):
    """The server sent more than any answer may hold."""


def bounded_client(settings: ChatSettings) -> Any:
    """A client for `ChatOpenAI(http_client=...)`: raises TooMuch past the size and openai.APITimeoutError past the time of an answer."""
    import openai

    limit = ENVELOPE + 8 * settings.max_answer_chars  # JSON may write one character in six bytes
    streamed = ENVELOPE + STREAMED * settings.max_answer_chars

    def check(deadline: float, request: Any) -> None:
        if time.monotonic() > deadline:
            raise openai.APITimeoutError(request)

    class BoundedClient(openai.DefaultHttpxClient):
        def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
            deadline = time.monotonic() + settings.timeout
            response = super().send(request, stream=True, **options)
            if stream:
                raw, reach = response.iter_raw, deadline
                bounded = partial(_bounded_raw, raw, streamed, partial(check, reach, request))
                response.iter_raw = bounded  # type: ignore[method-assign]
                return response
            body = bytearray()
            try:
                for piece in response.iter_bytes():
                    body += piece
                    if len(body) > limit:
                        raise TooMuch
                    check(deadline, request)
            finally:
                response.close()
            headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in FRAMING]
            return type(response)(response.status_code, headers=headers, content=bytes(body), request=request)

    return BoundedClient(timeout=openai.Timeout(settings.timeout, connect=settings.connect_timeout))


def _bounded_raw(
    raw: Callable[..., Iterable[bytes]], limit: int, check: Callable[[], None], chunk_size: int | None = None
) -> Iterator[bytes]:
    return _within(raw(chunk_size), limit, check)


def _within(pieces: Iterable[bytes], limit: int, check: Callable[[], None]) -> Iterator[bytes]:
    """The pieces of a stream as they come. Raises TooMuch past the size, and what `check` raises."""
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > limit:
            raise TooMuch
        check()
        yield piece
