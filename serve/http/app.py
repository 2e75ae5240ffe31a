"""The HTTP server: one application with the gate, the routes, and what lives as long as the server.

Routes are in routes.py and openai_routes.py; here errors become answers, and nothing else is decided.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute

from limner.promptdb.errors import BadInput, Cancelled, ServerAway, Stopped
from limner.promptdb.errors import Busy as TurnInWork
from limner.serve.http import openai_routes, routes, thread_routes
from limner.serve.http.gate import HEALTH, Gate, error_document
from limner.serve.mcp.server import build_mcp
from limner.serve.service.documents import ErrorDocument
from limner.serve.service.queue import RETRY_SECONDS, Busy
from limner.serve.service.service import Offer, Service

ABOUT = """Limner returns prompts that make measurably better pictures, with the evidence. Errors have the form of OpenAI's API.
What is drawn or refined waits for its turn; a full line answers 429 with Retry-After."""

REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"model": ErrorDocument, "description": what}
    for code, what in {
        400: "bad input: what was wrong, and what to do",
        401: "no token, or another one",
        404: "there is no such thing",
        413: "the body is too large",
        422: "a field is missing or out of range",
        429: "the line is full; try again after Retry-After seconds",
    }.items()
}


def build_app(offer: Offer, token: str | None = None, host: str = "127.0.0.1", with_page: bool = True) -> FastAPI:
    """Returns the application; its service is opened here and closed when the server ends.

    `with_page`: with the web page, where gradio is installed. Raises BadInput where the folder or database cannot be used.
    """
    service = Service(offer)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with mcp.session_manager.run():
            yield
        service.close()

    app = FastAPI(
        title="Limner",
        version="1",
        description=ABOUT,
        lifespan=lifespan,
        max_body_size=offer.limits.upload * 3 // 2,
        responses=REFUSALS,
        docs_url=None,  # its page loads scripts from elsewhere; the document itself is at /openapi.json
        redoc_url=None,
    )
    app.state.service, app.state.token = service, token
    app.include_router(routes.router)
    app.include_router(routes.score_routes(offer.limits))
    app.include_router(routes.job_routes(offer.limits))
    app.include_router(openai_routes.router)
    app.include_router(thread_routes.router)
    mcp = build_mcp(service)
    app.router.routes.extend(_mcp_routes(mcp, offer))
    if with_page and find_spec("gradio") is not None:
        from limner.serve.web.page import mount

        mount(app, service)
        app.add_api_route("/", to_page, include_in_schema=False)
    _answer_errors(app)
    _log_crashes(app)
    app.add_middleware(Gate, token=token, host=host, requests=offer.limits.requests)

    @app.get(HEALTH, tags=["server"])
    def health() -> dict[str, str]:
        """Whether the server is there. Needs no token."""
        return {"status": "ok"}

    return app


def to_page() -> RedirectResponse:
    """Redirects to the web page."""
    return RedirectResponse("/web/")


def _mcp_routes(mcp: MCPServer, offer: Offer) -> Sequence[BaseRoute]:
    """The route /mcp. Names and origins are checked by the gate, which knows more of them than the SDK's own check."""
    unchecked = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    return mcp.streamable_http_app(max_request_body_size=offer.limits.upload * 3 // 2, transport_security=unchecked).routes


def _answer_errors(app: FastAPI) -> None:
    statuses: dict[type[Exception], tuple[int, str]] = {
        TurnInWork: (409, "turn_in_work"),
        BadInput: (400, "bad_input"),
        Busy: (429, "busy"),
        ServerAway: (503, "chat_server_away"),
        Stopped: (409, "stopped"),
        Cancelled: (409, "cancelled"),
    }

    def answerer(status: int, code: str) -> Callable[[Request, Exception], Awaitable[Response]]:
        async def answer(request: Request, error: Exception) -> Response:
            headers = {"retry-after": str(RETRY_SECONDS)} if status == 429 else None
            return JSONResponse(error_document(str(error), code), status, headers)

        return answer

    for kind, (status, code) in statuses.items():
        app.add_exception_handler(kind, answerer(status, code))

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        # Without the input: it may hold what JSON cannot.
        parts = [f"{'.'.join(str(place) for place in item['loc'][1:]) or 'body'}: {item['msg']}" for item in error.errors()[:5]]
        return JSONResponse(error_document("; ".join(parts), "invalid"), 422)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse(error_document(str(error.detail), "refused"), error.status_code, error.headers)

    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, refused)


def _log_crashes(app: FastAPI) -> None:
    async def crashed(request: Request, error: Exception) -> Response:
        logging.getLogger(__name__).error("%s %s", request.method, request.url.path, exc_info=error)
        return JSONResponse(error_document("an error in the server, which its log tells", "internal", "server_error"), 500)

    app.add_exception_handler(Exception, crashed)
