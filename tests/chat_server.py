"""A chat server for tests: OpenAI's chat completions over HTTP on 127.0.0.1, scripted request by request, failures included.

    with ChatServer(status(500), answer({"positive": "a cat", "negative": ""})) as server:
        ...  # base URL server.url; afterwards server.requests

One reply of the script is used up by each request; then `server.always` answers (status 500 unless set). A script item may also be
a function of the request's JSON, for replies that depend on it. A completion is streamed where the client asks for a stream, `token_delay`
seconds between its words. `server.hung_up` counts clients that left before the end; `server.most_at_once` is the largest number of
requests that were under way together.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Fault = Literal["none", "reset", "cut body", "cut chunks", "cut stream", "drip"]


@dataclass(frozen=True)
class Reply:
    """What goes over the wire. `delay`: seconds before anything is sent."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: Fault = "none"
    delay: float = 0.0
    token_delay: float = 0.0


@dataclass(frozen=True)
class Request:
    """What a client sent; header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def text(self) -> str:
        """All messages' texts, as the model would read them."""
        return "\n".join(str(message["content"]) for message in self.body["messages"])


Scripted = Reply | Callable[[dict[str, Any]], Reply]


def answer(content: object, *, tokens: tuple[int, int] = (11, 7), finish: str = "stop", delay: float = 0.0) -> Scripted:
    """An answer: `content` as it is where it is a string, else as JSON; inside a tool call where the client asked for one."""
    text = content if isinstance(content, str) else json.dumps(content)

    def reply(request: dict[str, Any]) -> Reply:
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if "tools" in request and not isinstance(content, str):
            name = request["tools"][0]["function"]["name"]
            message |= {
                "content": None,
                "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": name, "arguments": text}}],
            }
        return replace(completion(message, tokens=tokens, finish=finish), delay=delay)

    return reply


def tokens_of(reply: Reply, request: dict[str, Any]) -> list[bytes]:
    """A chat completion as server-sent events, as a client that asked for a stream gets it: its text word by word, then its calls."""
    whole = json.loads(reply.body)
    choice = whole["choices"][0]
    message = choice["message"]
    words = re.findall(r"\s*\S+|\s+$", message.get("content") or "")
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *({"content": word} for word in words)]
    for place, call in enumerate(message.get("tool_calls") or []):
        deltas.append({"tool_calls": [{"index": place, **call}]})
    if message.get("refusal"):
        deltas.append({"refusal": message["refusal"]})
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 0, "model": "stub"}
    chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]})
    if request.get("stream_options", {}).get("include_usage"):
        chunks.append({**head, "choices": [], "usage": whole["usage"]})
    return [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks] + [b"data: [DONE]\n\n"]


def completion(message: dict[str, Any], *, tokens: tuple[int, int] = (11, 7), finish: str = "stop") -> Reply:
    """A chat completion with exactly this message."""
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
    return document({"id": "c1", "object": "chat.completion", "created": 0, "model": "stub", "choices": [choice], "usage": usage})


def refusal(text: str = "I'm sorry, but I can't help with that.") -> Reply:
    """A refusal in the field that OpenAI has for it."""
    return completion({"role": "assistant", "content": None, "refusal": text})


def status(code: int, message: str = "scripted", *, retry_after: str | None = None, error_code: str | None = None) -> Reply:
    """An error in OpenAI's form."""
    headers = {"Retry-After": retry_after} if retry_after is not None else {}
    return replace(document({"error": {"message": message, "type": "stub", "code": error_code}}), status=code, headers=headers)


def document(content: object) -> Reply:
    """Any JSON body."""
    return Reply(body=json.dumps(content).encode())


def page(html: str = "<html><body>Bad gateway</body></html>") -> Reply:
    """A web page with status 200, as a broken proxy serves it."""
    return Reply(body=html.encode(), headers={"Content-Type": "text/html"})


def moved(url: str) -> Reply:
    """A redirect."""
    return Reply(status=302, headers={"Location": url})


def reset() -> Reply:
    """The connection is torn down before anything is sent."""
    return Reply(fault="reset")


def cut(how: Literal["cut body", "cut chunks"] = "cut body") -> Reply:
    """Half of a body, then the connection closes; with a length announced, or in chunks."""
    return Reply(body=b'{"id": "c1", "choices": [{"index": 0, "message": {"role": "assistant", "content": "{' + b" " * 400, fault=how)


def drip() -> Reply:
    """A body that trickles in byte by byte for eight seconds, so that no single read takes long."""
    return Reply(body=b" ", fault="drip")


def refused_url() -> str:
    """A base URL on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"


class ChatServer:
    """Serves the script on a free port while the context lasts."""

    def __init__(self, *script: Scripted, always: Scripted | None = None) -> None:
        self.script = list(script)
        self.always = always or status(500, "the script is used up")
        self.requests: list[Request] = []
        self.hung_up = 0
        self.most_at_once = 0
        self._under_way = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def __enter__(self) -> ChatServer:
        outer = self

        class Handler(_Handler):
            server_of_tests = outer

        self._httpd = _QuietServer(("127.0.0.1", 0), Handler)
        self._httpd.daemon_threads = True
        self._httpd.block_on_close = False
        self._thread = threading.Thread(target=self._httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._httpd.shutdown()
        self._httpd.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._httpd.server_address[1]}/v1"

    def next_reply(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
            scripted = self.script.pop(0) if self.script else self.always
        return scripted if isinstance(scripted, Reply) else scripted(request.body)

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """While a request is answered."""
        with self._lock:
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    def pause(self, seconds: float) -> bool:
        """Waits; True when the server closes meanwhile."""
        return self._closing.wait(seconds)


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Clients that hang up are part of the play."""


class _Handler(BaseHTTPRequestHandler):
    server_of_tests: ChatServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        request = Request(
            self.path, {name.lower(): value for name, value in self.headers.items()}, json.loads(self.rfile.read(length) or b"{}")
        )
        with self.server_of_tests.under_way():
            self._answer(request)

    do_GET = do_POST

    def _answer(self, request: Request) -> None:
        reply = self.server_of_tests.next_reply(request)
        if reply.delay and self.server_of_tests.pause(reply.delay):
            return
        try:
            if request.body.get("stream") and reply.status == 200 and reply.fault in ("none", "cut stream"):
                self._stream(reply, request.body)
            else:
                self._send(reply)
        except OSError:
            self.server_of_tests.hung_up += 1
            self.close_connection = True

    def _send(self, reply: Reply) -> None:
        if reply.fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        if reply.fault in ("cut chunks", "drip"):
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self._chunk(reply.body)
            for _ in range(400 if reply.fault == "drip" else 0):
                self._chunk(reply.body)
                if self.server_of_tests.pause(0.02):
                    break
            self.close_connection = True
            return
        missing = 1000 if reply.fault == "cut body" else 0
        self.send_header("Content-Length", str(len(reply.body) + missing))
        self.end_headers()
        self.wfile.write(reply.body)
        self.close_connection = bool(missing)

    def _stream(self, reply: Reply, request: dict[str, Any]) -> None:
        """Server-sent events; a cut stream ends after half of them."""
        events = tokens_of(reply, request)
        self.send_response(reply.status)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        cut = reply.fault == "cut stream"
        for event in events[: len(events) // 2] if cut else events:
            self._chunk(event)
            if reply.token_delay and self.server_of_tests.pause(reply.token_delay):
                break
        if cut:
            self.close_connection = True
        else:
            self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Tests' output stays clean."""
