"""Who may enter: each way to ask the gate, and what it decides. No server: what passes reaches an application that answers 200."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")

from limner.promptdb.errors import BadInput
from limner.serve.http.gate import Gate, check_exposure, is_loopback
from limner.serve.service.addresses import signature

TOKEN = "correct-horse-battery"
PICTURE = "/v1/images/abc.png"
SIGNED = f"signature={signature(TOKEN, PICTURE)}"
OWN, OTHER = "http://127.0.0.1:8000", "https://evil.example"
ENTERS, CLOSED = 200, 1008  # an application's answer; the code with which a websocket is refused


async def inside(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
    else:
        await send({"type": "http.response.start", "status": ENTERS, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def answered(
    gate: Gate, method: str, path: str, query: str = "", scheme: str = "http", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body; of a websocket (`method` WS) ENTERS or CLOSED. `_` in a header's name stands for a hyphen."""
    sent: list[dict[str, Any]] = []
    given = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in {"host": "127.0.0.1:8000", **headers}.items()]
    scope: dict[str, Any] = {"path": path, "query_string": query.encode(), "headers": given, "client": ("127.0.0.1", 5)}
    scope |= {"type": "websocket", "scheme": "ws"} if method == "WS" else {"type": "http", "method": method, "scheme": scheme}

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    asyncio.run(gate(scope, receive, send))
    first = sent[0]
    if first["type"] == "websocket.close":
        return first["code"], {}, b""
    if first["type"] == "websocket.accept":
        return ENTERS, {}, b""
    return first["status"], {name.decode(): value.decode() for name, value in first["headers"]}, sent[1]["body"]


def answer(gate: Gate, method: str, path: str, query: str = "", **more: str) -> tuple[int, dict[str, str]]:
    return answered(gate, method, path, query, **more)[:2]


def decided(token: str | None, method: str, path: str, query: str = "", **headers: str) -> int:
    return answer(Gate(inside, token, "127.0.0.1", 8), method, path, query, **headers)[0]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": f"Bearer {TOKEN}"}, ENTERS),
        ({"authorization": f"bearer {TOKEN}"}, ENTERS),
        ({"authorization": f"Bearer  {TOKEN} "}, ENTERS),
        ({"authorization": "Bearer"}, 401),
        ({"authorization": "Bearer "}, 401),
        ({"authorization": f"Bearer {TOKEN[:-1]}"}, 401),
        ({"authorization": f"Bearer {TOKEN[:1]}"}, 401),
        ({"authorization": f"Bearer {TOKEN}x"}, 401),
        ({"authorization": f"Bearer {TOKEN.upper()}"}, 401),
        ({"authorization": f"Bearer {TOKEN}\xe9"}, 401),
        ({"authorization": f"Basic {TOKEN}"}, 401),
        ({"authorization": TOKEN}, 401),
        ({"cookie": f"limner_token={TOKEN}"}, ENTERS),
        ({"cookie": f"a=b; limner_token={TOKEN}"}, ENTERS),
        ({"cookie": "limner_token="}, 401),
        ({"cookie": f"limner_token={TOKEN[:-1]}"}, 401),
        ({"cookie": f"token={TOKEN}"}, 401),
        ({"cookie": "limner_token=[;=,"}, 401),
        ({"authorization": "Bearer wrong", "cookie": f"limner_token={TOKEN}"}, ENTERS),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "WS"])
def test_only_the_whole_token_opens(method: str, headers: dict[str, str], status: int) -> None:
    refused = CLOSED if method == "WS" else 401
    assert decided(TOKEN, method, "/v1/runs", **headers) == (ENTERS if status == ENTERS else refused)


@pytest.mark.parametrize(
    ("method", "path", "query", "status"),
    [
        ("GET", "/v1/runs", f"token={TOKEN}", ENTERS),
        ("GET", "/v1/runs", f"a=b&token={TOKEN}", ENTERS),
        ("GET", "/v1/runs", "token=", 401),
        ("GET", "/v1/runs", f"token={TOKEN[:-1]}", 401),
        ("GET", "/v1/runs", f"signature={TOKEN}", 401),
        ("POST", "/v1/runs", f"token={TOKEN}", 401),
        ("DELETE", "/v1/runs", f"token={TOKEN}", 401),
        ("WS", "/v1/runs", f"token={TOKEN}", CLOSED),
        ("GET", PICTURE, SIGNED, ENTERS),
        ("HEAD", PICTURE, SIGNED, ENTERS),
        ("POST", PICTURE, SIGNED, 401),
        ("PUT", PICTURE, SIGNED, 401),
        ("PATCH", PICTURE, SIGNED, 401),
        ("DELETE", PICTURE, SIGNED, 401),
        ("OPTIONS", PICTURE, SIGNED, 401),
        ("WS", PICTURE, SIGNED, CLOSED),
        ("GET", "/v1/images/abd.png", SIGNED, 401),
        ("GET", "/v1/runs", SIGNED, 401),
        ("GET", PICTURE, "signature=", 401),
        ("GET", PICTURE, SIGNED[:-1], 401),
        ("GET", PICTURE, f"signature={signature(TOKEN + 'x', PICTURE)}", 401),
        ("GET", PICTURE, SIGNED.replace("signature", "token"), 401),
        ("GET", PICTURE, "&".join(["a=b"] * 101 + [SIGNED]), 401),
        ("GET", "/health", "", ENTERS),
        ("WS", "/health", "", CLOSED),
        ("GET", "/health/", "", 401),
    ],
)
def test_an_address_opens_reading_alone_and_a_signature_its_one_path(method: str, path: str, query: str, status: int) -> None:
    assert decided(TOKEN, method, path, query) == status


@pytest.mark.parametrize(
    ("origin", "alien"),
    [
        (None, False),
        (OWN, False),
        ("http://127.0.0.1:8000/", False),
        ("HTTP://127.0.0.1:8000", False),
        (OTHER, True),
        ("null", True),
        ("http://[", True),
        ("http://127.0.0.1:8001", True),
        ("http://127.0.0.1", True),
        ("http://127.0.0.1:8000.evil.example", True),
    ],
)
@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize(
    ("method", "changes"),
    [("GET", False), ("HEAD", False), ("OPTIONS", False), ("POST", True), ("PUT", True), ("PATCH", True), ("DELETE", True), ("WS", True)],
)
def test_pages_of_other_sites_change_nothing_and_open_no_websocket(
    method: str, changes: bool, token: str | None, origin: str | None, alien: bool
) -> None:
    """Whoever has the token too: a browser sends its cookie along to a page of another site."""
    headers = {"cookie": f"limner_token={TOKEN}", **({} if origin is None else {"origin": origin})}
    refused = CLOSED if method == "WS" else 403
    assert decided(token, method, "/v1/search", **headers) == (refused if changes and alien else ENTERS)


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("127.0.0.1:8000", True),
        ("127.0.0.1", True),
        ("localhost:1", True),
        ("LOCALHOST", True),
        ("[::1]:8000", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost@evil.example", False),
        ("evil.example/localhost", False),
        ("127.0.0.2", False),
        ("", False),
        ("[", False),
        ("localhost:port", False),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "WS"])
def test_without_a_token_only_names_of_this_machine_are_answered(method: str, host: str, served: bool) -> None:
    assert decided(None, method, "/v1/runs", host=host) == (ENTERS if served else CLOSED if method == "WS" else 421)
    if host:
        assert decided(TOKEN, method, "/v1/runs", host=host, authorization=f"Bearer {TOKEN}") == ENTERS


def test_the_name_it_was_given_is_one_of_this_machine() -> None:
    assert answer(Gate(inside, None, "[::1]", 8), "GET", "/", host="[::1]:80")[0] == ENTERS
    assert answer(Gate(inside, None, "Painter.Local", 8), "GET", "/", host="painter.local")[0] == ENTERS


@pytest.mark.parametrize(
    ("method", "path", "query", "place"),
    [
        ("GET", "/", f"token={TOKEN}", "/"),
        ("GET", "/", f"a=b&token={TOKEN}&c=d", "/?a=b&c=d"),
        ("GET", "/", "a=b", None),
        ("GET", "/v1/runs", f"token={TOKEN}", None),
    ],
)
def test_a_token_in_the_address_of_the_page_becomes_a_cookie(method: str, path: str, query: str, place: str | None) -> None:
    status, headers = answer(Gate(inside, TOKEN, "127.0.0.1", 8), method, path, query, cookie=f"limner_token={TOKEN}")
    assert (status, headers.get("location")) == ((303, place) if place else (ENTERS, None))
    if place:
        assert headers["set-cookie"].startswith(f"limner_token={TOKEN}; HttpOnly; SameSite=Strict")


def test_a_wrong_token_in_the_address_sets_no_cookie() -> None:
    status, headers = answer(Gate(inside, TOKEN, "127.0.0.1", 8), "GET", "/", "token=wrong")
    assert status == 401 and "set-cookie" not in headers


def test_without_a_token_an_address_that_holds_one_is_any_address() -> None:
    assert decided(None, "GET", "/", "token=x") == ENTERS


@pytest.mark.parametrize(("held", "status"), [(0, ENTERS), (1, ENTERS), (2, 429), (3, 429)])
def test_as_many_requests_of_one_client_at_once_as_allowed(held: int, status: int) -> None:
    """Those of another client do not count, nor do those that have ended."""

    async def stage() -> list[int]:
        going, statuses = asyncio.Event(), list[int]()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/slow":
                await going.wait()
            await inside(scope, receive, send)

        gate = Gate(slow, None, "127.0.0.1", 2)

        async def ask(path: str, client: str) -> int:
            sent: list[Any] = []

            async def send(message: Any) -> None:
                sent.append(message)

            scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [(b"host", b"localhost")]}
            await gate({**scope, "client": (client, 1)}, None, send)  # type: ignore[arg-type]
            return int(sent[0]["status"])

        for _ in range(3):
            assert await ask("/", "10.0.0.1") == ENTERS  # and is over: only what is under way counts
        slow_ones = [asyncio.create_task(ask("/slow", "10.0.0.1")) for _ in range(held)]
        await asyncio.sleep(0)
        statuses += [await ask("/", "10.0.0.1"), await ask("/", "10.0.0.2")]
        going.set()
        await asyncio.gather(*slow_ones)
        return [*statuses, await ask("/", "10.0.0.1")]

    assert asyncio.run(stage()) == [status, ENTERS, ENTERS]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *((host, True) for host in ("127.0.0.1", "127.9.9.9", "[::1]", "::1", "localhost")),
        *((host, False) for host in ("0.0.0.0", "10.0.0.1", "example.org", "localhost.example.org")),
    ],
)
def test_which_hosts_nobody_else_can_reach(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("host", "token", "refusal"),
    [
        ("127.0.0.1", None, ""),
        ("::1", None, ""),
        ("localhost", None, ""),
        ("0.0.0.0", None, "needs a --token"),
        ("192.168.1.5", None, "needs a --token"),
        ("::", None, "needs a --token"),
        ("example.org", None, "needs a --token"),
        ("0.0.0.0", TOKEN, ""),
        ("0.0.0.0", "x" * 16, ""),
        ("0.0.0.0", "x" * 15, "16 characters"),
        ("127.0.0.1", "short", "16 characters"),
        ("127.0.0.1", "", "16 characters"),
        ("0.0.0.0", "with blanks in it all over", "printable ASCII"),
        ("0.0.0.0", "with;semicolons;in;it", "printable ASCII"),
        ("0.0.0.0", "with\\backslashes\\in\\it", "printable ASCII"),
        ("0.0.0.0", "ünïcödé-ünïcödé-ünïcödé", "printable ASCII"),
        ("0.0.0.0", "a-control\x07character-in-it", "printable ASCII"),
    ],
)
def test_where_a_server_may_listen_and_with_which_token(host: str, token: str | None, refusal: str) -> None:
    if not refusal:
        return check_exposure(host, token)
    with pytest.raises(BadInput, match=refusal):
        check_exposure(host, token)


@pytest.mark.parametrize(
    ("token", "headers", "method", "code"),
    [
        (TOKEN, {}, "GET", "unauthorized"),
        (None, {"host": "evil.example"}, "GET", "wrong_host"),
        (None, {"origin": OTHER}, "POST", "wrong_origin"),
    ],
)
def test_a_refusal_says_why_in_the_form_of_openais_errors(token: str | None, headers: dict[str, str], method: str, code: str) -> None:
    status, given, body = answered(Gate(inside, token, "127.0.0.1", 8), method, "/v1/runs", **headers)
    assert json.loads(body)["error"]["code"] == code and int(given["content-length"]) == len(body)
    assert given["x-content-type-options"] == "nosniff" and ("www-authenticate" in given) is (status == 401)


def test_what_passes_has_the_headers_that_guard_a_page() -> None:
    _, given = answer(Gate(inside, None, "127.0.0.1", 8), "GET", "/")
    assert given["x-frame-options"] == "SAMEORIGIN" and given["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(("scheme", "secure"), [("https", True), ("http", False)])
def test_the_cookie_is_kept_to_https_where_the_server_has_it(scheme: str, secure: bool) -> None:
    gate = Gate(inside, TOKEN, "127.0.0.1", 8)
    cookie = answer(gate, "GET", "/", f"token={TOKEN}", scheme=scheme)[1]["set-cookie"]
    assert cookie.endswith("; Secure") is secure
