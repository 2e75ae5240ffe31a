"""The commands `serve` (over HTTP) and `mcp` (over stdin and stdout). Checks first, then serves until told to end."""

from __future__ import annotations

import socket
import sys
from importlib.util import find_spec
from typing import Annotated

import typer

from limner.graph.settings import Settings
from limner.promptdb.errors import BadInput
from limner.serve.cli.options import SEARCHING, takes_settings

SECONDS_TO_END = 5  # to finish answers in work

SWITCH_SECONDS = 0.001
"""Seconds after which a computing thread yields to one that answers requests; Python's default is 5 ms."""

NEEDED = ("fastapi", "uvicorn", "mcp", "multipart")


def check_extra(needed: tuple[str, ...] = NEEDED) -> None:
    """Raises BadInput where the extra is not installed."""
    absent = [name for name in needed if find_spec(name) is None]
    if absent:
        raise BadInput(f"serving needs {', '.join(absent)}: pip install -c constraints.txt -e '.[serve]'")


def serve_http(settings: Settings, host: str, port: int, token: str | None, also: tuple[str, ...], models: int = 1) -> None:
    """Serves until a signal ends it; jobs in work go on at the next start. Raises BadInput."""
    check_extra()
    import uvicorn

    from limner.serve.http.app import build_app
    from limner.serve.http.gate import check_exposure
    from limner.serve.service.requests import Limits
    from limner.serve.service.service import Offer

    check_exposure(host, token)
    listening = _listen(host, port)
    config = uvicorn.Config(
        build_app(Offer(settings, also, Limits(models=models)), token, host),
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # headers of proxies are not trusted: their sender could choose whose limits count
        server_header=False,
        timeout_graceful_shutdown=SECONDS_TO_END,
    )
    sys.setswitchinterval(SWITCH_SECONDS)
    print(f"serving on http://{'[' + host + ']' if ':' in host else host}:{port}", file=sys.stderr, flush=True)
    with listening:
        uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    """Binds the socket before anything is opened. Raises BadInput where that is not possible."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, UnicodeError) as error:
        raise BadInput(f"{host} port {port} cannot be listened on ({error}); choose another --port or --host") from error


def serve_mcp(settings: Settings, also: tuple[str, ...]) -> None:
    """Serves MCP on stdin and stdout until they close; everything else that is printed goes to stderr. Raises BadInput."""
    check_extra(("mcp",))
    import anyio

    from limner.serve.mcp.server import build_mcp
    from limner.serve.service.service import Offer, Service

    service = Service(Offer(settings, also), with_jobs=False)
    try:
        anyio.run(build_mcp(service).run_stdio_async)
    finally:
        service.close()


@takes_settings(*SEARCHING)
def serve_command(
    settings: Settings,
    host: Annotated[str, typer.Option("--host", help="the address to listen on; any but this machine's own needs a --token")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 7878,
    token: Annotated[
        str | None, typer.Option("--token", envvar="LIMNER_TOKEN", help="what clients must show, 16 characters or more")
    ] = None,
    also: Annotated[list[str] | None, typer.Option("--also", help="a checkpoint that requests may name; repeatable")] = None,
    models: Annotated[int, typer.Option("--models", min=1, help="checkpoints that stay open, for requests and for jobs each")] = 1,
) -> None:
    """Serve the HTTP API, OpenAI's API and MCP, with jobs that survive a restart. The options are what holds where a request is silent."""
    serve_http(settings, host, port, token, tuple(also or ()), models)


@takes_settings(*SEARCHING)
def mcp_command(
    settings: Settings,
    also: Annotated[list[str] | None, typer.Option("--also", help="a checkpoint that requests may name; repeatable")] = None,
) -> None:
    """Serve assistants over MCP, on stdin and stdout. The options are what holds where a request is silent."""
    serve_mcp(settings, tuple(also or ()))
