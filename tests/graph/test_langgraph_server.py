"""The graphs of langgraph.json: made without arguments, driven with JSON alone; with the dev server where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

import httpx
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from limner.graph.chat import context
from limner.graph.chat.graph import build_chat
from tests.graph.chat.chat_stage import services

ROOT = Path(__file__).parents[2]


def test_every_graph_that_is_named_can_be_made() -> None:
    document = json.loads((ROOT / "langgraph.json").read_text())
    assert set(document["graphs"]) == {"chat", "optimize"}
    for place in document["graphs"].values():
        path, name = place.removeprefix("./").split(":")
        graph = getattr(import_module("limner." + path.removesuffix(".py").replace("/", ".")), name)()
        assert graph.get_graph().nodes and graph.checkpointer is None


def test_a_client_with_json_alone_goes_through_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_standard", [services(tmp_path)])
    graph = build_chat(context=None).compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t-1"}}
    asked = graph.invoke({}, config, version="v2").interrupts[0]
    assert asked.value["request"] == "" and asked.response_schema["properties"].keys() == {"text", "action"}
    asked = graph.invoke(Command(resume={"text": "a red car on a beach"}), config, version="v2").interrupts[0]
    assert len(asked.value["images"]) == 4
    asked = graph.invoke(Command(resume={"action": {"kind": "pick", "image": 2}}), config, version="v2").interrupts[0]
    assert asked.value["base"]["id"] == asked.value["images"][1]["conditioning"]
    json.dumps(asked.value)


DEV_SERVER = os.environ.get("LIMNER_LANGGRAPH") or shutil.which("langgraph", path=str(Path(sys.executable).parent))
"""The program of langgraph-cli[inmem]: that which LIMNER_LANGGRAPH names, else our own environment's. It wants another version of a library
than our tests pin, so it may need an environment of its own."""


@contextmanager
def developing(folder: Path, **environment: str) -> Iterator[str]:
    """`langgraph dev` on this checkout, on a free port; its address once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(DEV_SERVER), "dev", "--no-browser", "--no-reload", "--host", "127.0.0.1", "--port", str(port)]
    log = folder / "dev.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        ) as server,
    ):
        try:
            url, end = f"http://127.0.0.1:{port}", time.monotonic() + 240
            while True:
                assert server.poll() is None and time.monotonic() < end, log.read_text(errors="replace")[-3000:]
                with suppress(httpx.HTTPError):
                    if httpx.get(f"{url}/ok", timeout=5).status_code == 200:
                        break
                time.sleep(1)
            yield url
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


@pytest.mark.slow
@pytest.mark.skipif(DEV_SERVER is None, reason="langgraph's dev server is not installed")
def test_the_dev_server_takes_a_client_through_an_interrupt(tmp_path: Path, tiny: Path) -> None:
    from langgraph_sdk import get_sync_client

    settings = {"LIMNER_CHECKPOINT": str(tiny), "LIMNER_OUT": str(tmp_path / "out"), "LIMNER_STEPS": "2"}
    with developing(tmp_path, **settings) as url:
        client = get_sync_client(url=url)
        assert {item["graph_id"] for item in client.assistants.search()} == {"chat", "optimize"}
        thread = client.threads.create()["thread_id"]
        client.runs.wait(thread, "chat", input={})
        state = client.threads.get_state(thread)
        asked = state["tasks"][0]["interrupts"][0]["value"]
        assert state["next"] == ["listen"] and asked["request"] == "" and "accept" in asked["choices"]
        told = list(client.runs.stream(thread, "chat", command={"resume": {"text": "a red car"}}, stream_mode="custom"))
        assert "words" in {part.data.get("kind") for part in told if part.event == "custom"}
        shown = client.threads.get_state(thread)["tasks"][0]["interrupts"][0]["value"]
        assert shown["request"] == "a red car" and shown["images"]
        client.runs.wait(thread, "chat", command={"resume": {"action": {"kind": "pick", "image": 1}}})
        picked = client.threads.get_state(thread)["tasks"][0]["interrupts"][0]["value"]
        assert picked["base"]["id"] == shown["images"][0]["conditioning"] and picked["turn"] == 2
