"""An HTTP client for the OpenAI library that limits the size and the time of an answer.

The library's read timeouts restart with each received byte, and it would hold an answer of any size in memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from limner.agents.llm.settings import ChatSettings

ENVELOPE = 65_536  # bytes allowed around the answer's own text
STREAMED = 600  # bytes allowed for a streamed character: a token may be one character, and each has its own JSON envelope
FRAMING = ("content-encoding", "content-length", "transfer-encoding")  # headers of the transfer, which do not fit the decoded body


class TooMuch(Exception):
    """The server sent more than any answer may contain."""


def bounded_client(settings: ChatSettings) -> Any:
    """Returns a client for `ChatOpenAI(http_client=...)` that raises TooMuch over the size and openai.APITimeoutError over the
    time limit.
    """
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
    """Yields the pieces of a stream. Raises TooMuch over the size, and whatever `check` raises."""
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > limit:
            raise TooMuch
        check()
        yield piece
