"""The HTTP server as people meet it: a real one, on a free port of this machine, in a thread of the test process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from limner.graph.settings import Settings
from limner.serve.http.app import build_app
from limner.serve.service.requests import Limits
from limner.serve.service.service import Offer

SMALL = {"budget": 14, "heldout_seeds": 2, "search_seeds": 1, "variants": 2}
"""Settings of a run that is over at once."""


def tiny_settings(checkpoint: Path, out: Path, **changes: Any) -> Settings:
    return Settings(**{"checkpoint": str(checkpoint), "out": str(out), **SMALL, **changes})


@contextmanager
def serving(settings: Settings, token: str | None = None, page: bool = False, also: tuple[str, ...] = (), **limits: int) -> Iterator[str]:
    """Its address. The thread ends with the context, and the jobs with it, as on a signal."""
    import uvicorn

    app = build_app(Offer(settings, also, Limits(**limits)), token, with_page=page)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


def client(url: str, token: str | None = None) -> httpx.Client:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=url, headers=headers, timeout=120)
