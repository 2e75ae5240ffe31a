"""Admits or refuses requests: everything that is sent to the HTTP server passes here before any of it is read.

Without a token the server is for this machine: other names in Host are refused, so that no web page can reach it by rebinding a name. With
a token, every request must carry it. Pages of other sites may not post. Knows nothing of what a request asks for.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
from collections import Counter
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limner.promptdb.errors import BadInput
from limner.serve.service.addresses import signature

COOKIE = "limner_token"
HEALTH = "/health"
LOOPBACK = ("127.0.0.1", "localhost", "::1")

SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Returns whether a host is this machine's own: `localhost` or a loopback address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_exposure(host: str, token: str | None) -> None:
    """Raises BadInput where the server would be open to the network without a token, or the token could not be sent or is weak."""
    if token is None:
        if not is_loopback(host):
            raise BadInput(f"--host {host} can be reached by others, so it needs a --token; without one, leave --host away")
        return
    if not (token.isascii() and token.isprintable()) or any(char in token for char in ' ";,\\'):
        raise BadInput("--token may hold printable ASCII characters but blanks, quotes, commas, semicolons and backslashes")
    if len(token) < 16:
        raise BadInput("--token needs 16 characters at least; `python -c 'import secrets; print(secrets.token_urlsafe(24))'` makes one")


class Gate:
    """ASGI middleware. `token`: None admits every program on this machine. `requests`: most requests of one client at a time."""

    def __init__(self, app: ASGIApp, token: str | None, host: str, requests: int) -> None:
        self._app, self._token, self._most = app, token, requests
        self._hosts = {*LOOPBACK, host.strip("[]").lower()}
        self._under_way: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        if scope["path"] == HEALTH and scope["type"] == "http":
            return await self._app(scope, receive, _secured(send))
        refusal = self._refusal(scope, headers)
        if refusal is None and (place := self._with_token_in_address(scope)):
            return await _answer(scope, send, 303, {}, {"location": place, "set-cookie": self._cookie(scope)})
        if refusal:
            return await _answer(scope, send, *refusal)
        client = client_of(scope)
        if self._under_way[client] >= self._most:
            message = f"you have {self._most} requests under way; let one end first"
            return await _answer(scope, send, 429, error_document(message, "busy"), {"retry-after": "1"})
        self._under_way[client] += 1
        try:
            await self._app(scope, receive, _secured(send))
        finally:
            self._under_way[client] -= 1
            if not self._under_way[client]:
                del self._under_way[client]

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, dict[str, object], dict[str, str]] | None:
        host = headers.get("host", "")
        if self._token is None:
            name = (urlsplit(f"//{host}").hostname or "") if _parses(host) else ""
            if name not in self._hosts:
                return 421, error_document(f"this server does not answer to the name {name[:80]!r}", "wrong_host"), {}
        elif not self._shown(scope, headers):
            return 401, error_document("a token is needed: Authorization: Bearer TOKEN", "unauthorized"), {"www-authenticate": "Bearer"}
        origin = headers.get("origin")
        changes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD", "OPTIONS")
        if origin is not None and changes and (not _parses_url(origin) or urlsplit(origin).netloc.lower() != host.lower()):
            return 403, error_document("pages of other sites may not use this server", "wrong_origin"), {}
        return None

    def _shown(self, scope: Scope, headers: Headers) -> bool:
        assert self._token is not None
        scheme, _, value = headers.get("authorization", "").partition(" ")
        shown = [value.strip()] if scheme.lower() == "bearer" else []
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            morsel = None
        shown += [morsel.value] if morsel else []
        shown += [value for name, value in _query(scope) if name == "token" and scope["type"] == "http" and scope["method"] == "GET"]
        signatures = [value for name, value in _query(scope) if name == "signature"]
        if any(hmac.compare_digest(item.encode("utf-8", "replace"), self._token.encode()) for item in shown):
            return True
        expected = signature(self._token, scope["path"]).encode()
        is_read = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        return is_read and any(hmac.compare_digest(item.encode("utf-8", "replace"), expected) for item in signatures)

    def _with_token_in_address(self, scope: Scope) -> str:
        """The address to redirect to, so that a token typed into the address of a page stays in no history and no log; empty for no
        redirect.
        """
        if self._token is None or scope["type"] != "http" or scope["method"] != "GET" or scope["path"] != "/":
            return ""
        query = _query(scope)
        rest = [(name, value) for name, value in query if name != "token"]
        return "" if len(rest) == len(query) else "/" + (f"?{urlencode(rest)}" if rest else "")

    def _cookie(self, scope: Scope) -> str:
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        return f"{COOKIE}={self._token}; HttpOnly; SameSite=Strict; Path=/{secure}"


def client_of(scope: Scope) -> str:
    """Returns the client's address, by which limits are counted; `unknown` where there is none."""
    return scope["client"][0] if scope.get("client") else "unknown"


def error_document(message: str, code: str, kind: str = "invalid_request_error") -> dict[str, object]:
    """Returns an error in the form of OpenAI's API, which its clients show."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _secured(send: Send) -> Send:
    async def secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY.items():
                headers.setdefault(name, value)
        await send(message)

    return secured


async def _answer(scope: Scope, send: Send, status: int, document: dict[str, object], headers: dict[str, str]) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    body = json.dumps(document).encode() if document else b""
    given = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close", **SECURITY, **headers}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in given.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def _query(scope: Scope) -> list[tuple[str, str]]:
    try:
        return parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True, max_num_fields=100)
    except ValueError:
        return []


def _parses(host: str) -> bool:
    return _parses_url(f"//{host}") and not any(char in host for char in "/@?#\\")


def _parses_url(text: str) -> bool:
    try:
        urlsplit(text).port  # noqa: B018 - it is the reading that raises
    except ValueError:
        return False
    return True
