"""What clients of OpenAI-compatible servers share: a transport bounded in size and time, and the repeating of requests.

The library's read timeout begins again with each byte, and the library reads any answer into memory whole. It repeats requests by itself
too, but then they could be neither counted nor paid for one by one. Knows nothing of chat messages and pictures.
"""

from __future__ import annotations

import email.utils
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from limner.promptdb.errors import BadInput

FRAMING = ("content-encoding", "content-length", "transfer-encoding")  # headers that describe what was sent, not the decoded body

FIRST_WAIT = 0.5  # seconds before the first repeat; doubled each time
LONGEST_WAIT = 8.0  # seconds between repeats when the server names no time of its own
LONGEST_RETRY_AFTER = 120.0  # a server that asks for more is not asked again
LONGEST_REASON = 300  # characters of a message

Answer = TypeVar("Answer")


class TooMuch(Exception):
    """The server sent more than an answer may hold."""


class Failed(Exception):
    """No usable answer after `requests` requests. `reason`: what was wrong with the last one."""

    def __init__(self, reason: str, requests: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.requests = requests


def bounded_client(timeout: float, connect_timeout: float, limit: int, streamed: int = 0, **options: Any) -> Any:
    """Returns an httpx client for the OpenAI library that stops reading at a size and at a time.

    It raises TooMuch past `limit` bytes (`streamed` bytes of a stream) and openai.APITimeoutError `timeout` seconds after a request.
    `options`: of httpx.Client.
    """
    import openai

    def check(deadline: float, request: Any) -> None:
        if time.monotonic() > deadline:
            raise openai.APITimeoutError(request)

    class BoundedClient(openai.DefaultHttpxClient):
        def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
            deadline = time.monotonic() + timeout
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
                        raise TooMuch(f"the answer is larger than {limit} bytes")
                    check(deadline, request)
            finally:
                response.close()
            headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in FRAMING]
            return type(response)(response.status_code, headers=headers, content=bytes(body), request=request)

    return BoundedClient(timeout=openai.Timeout(timeout, connect=connect_timeout), **options)


def repeated(
    send: Callable[[int], Answer], requests: int, sleep: Callable[[float], None], patience: Callable[[], float] = lambda: math.inf
) -> Answer:
    """Returns the answer of `send(number)`, numbers from 1, repeated up to `requests` times after errors that may pass.

    Waits as long as the server asks for, else longer each time, and never more than the seconds that `patience` returns. Raises Failed
    where no answer came, and any other error that `send` raises, such as BadInput.
    """
    import httpx
    import openai

    for number in range(1, requests + 1):
        wait: float | None = None
        try:
            return send(number)
        except BadInput:
            raise
        except openai.APIStatusError as error:
            reason = f"status {error.status_code}, {error.message}"
            passing = error.status_code in (408, 409, 429) or error.status_code >= 500
            if not passing or error.code == "insufficient_quota":
                raise Failed(reason, number) from None
            wait = asked_wait(error.response.headers)
        except (openai.OpenAIError, httpx.HTTPError, OSError) as error:
            reason = str(error) or type(error).__name__
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            # A 200 without an answer (a proxy's HTML page, null in place of a list): the library raises many kinds of error for it.
            reason = f"not a usable answer ({type(error).__name__}: {error})"
        if number == requests or (wait or 0) > LONGEST_RETRY_AFTER:
            break
        if wait is None:
            wait = min(FIRST_WAIT * 2 ** (number - 1), LONGEST_WAIT)
        sleep(min(wait, patience()))
    raise Failed(reason, number)


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds that a Retry-After header asks for (RFC 9110, 10.2.3: seconds or a date); None without a usable one."""
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def discreet(text: str, key: str) -> str:
    """Returns the text in one line of at most 300 characters, without the key in case a server has echoed it."""
    line = " ".join((text.replace(key, "***") if key else text).split())
    return line if len(line) <= LONGEST_REASON else line[: LONGEST_REASON - 3] + "..."


def _bounded_raw(
    raw: Callable[..., Iterable[bytes]], limit: int, check: Callable[[], None], chunk_size: int | None = None
) -> Iterator[bytes]:
    """The pieces of a stream as they come. Raises TooMuch past the size, and what `check` raises."""
    size = 0
    for piece in raw(chunk_size):
        size += len(piece)
        if size > limit:
            raise TooMuch(f"the answer is larger than {limit} bytes")
        check()
        yield piece
