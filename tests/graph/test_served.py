"""The graphs of langgraph.json: made without arguments, driven with JSON alone; with the dev server where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from graph import chat_desk
from graph.chat import build_chat
from graph.settings import settings_from
from promptdb.errors import BadInput
from tests.graph.chat_stage import studio

ROOT = Path(__file__).parents[2]


def test_every_graph_that_is_named_can_be_made() -> None:
    document = json.loads((ROOT / "langgraph.json").read_text())
    assert set(document["graphs"]) == {"chat", "optimize"}
    for place in document["graphs"].values():
        path, name = place.removeprefix("./").split(":")
        graph = getattr(import_module(path.removesuffix(".py").replace("/", ".")), name)()
        assert graph.get_graph().nodes and graph.checkpointer is None


def test_a_client_with_json_alone_goes_through_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_desk, "_standard", [studio(tmp_path)])
    graph = build_chat().compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t-1"}}
    asked = graph.invoke({}, config, version="v2").interrupts[0]
    assert asked.value["request"] == "" and asked.response_schema["properties"].keys() == {"text", "action"}
    asked = graph.invoke(Command(resume={"text": "a red car on a beach"}), config, version="v2").interrupts[0]
    assert len(asked.value["images"]) == 4
    asked = graph.invoke(Command(resume={"action": {"kind": "pick", "image": 2}}), config, version="v2").interrupts[0]
    assert asked.value["base"]["id"] == asked.value["images"][1]["conditioning"]
    json.dumps(asked.value)


def test_settings_come_from_the_environment() -> None:
    settings = settings_from({"LIMNER_CHECKPOINT": "x", "LIMNER_BUDGET": "12", "LIMNER_OUT": ""})
    assert (settings.checkpoint, settings.budget, settings.out) == ("x", 12, "runs")
    with pytest.raises(BadInput, match="LIMNER_BUDGET"):
        settings_from({"LIMNER_BUDGET": "many"})


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("langgraph", path=str(Path(sys.executable).parent)) is None, reason="langgraph-cli[inmem] is not installed"
)
def test_the_dev_server_takes_a_client_through_an_interrupt(tmp_path: Path, tiny: Path) -> None:
    from langgraph_sdk import get_sync_client

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).parent / "langgraph"
    environment = {**os.environ, "LIMNER_CHECKPOINT": str(tiny), "LIMNER_OUT": str(tmp_path), "LIMNER_STEPS": "2"}
    command = [str(program), "dev", "--no-browser", "--no-reload", "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            client = get_sync_client(url=f"http://127.0.0.1:{port}")
            end = time.monotonic() + 120
            while True:
                try:
                    thread = client.threads.create()
                    break
                except Exception:
                    assert time.monotonic() < end
                    time.sleep(1)
            client.runs.wait(thread["thread_id"], "chat", input={})
            client.runs.wait(thread["thread_id"], "chat", command={"resume": {"text": "a red car"}})
            state = client.threads.get_state(thread["thread_id"])
            assert state["values"]["topic"]["request"] == "a red car" and state["next"] == ["listen"]
        finally:
            server.terminate()
