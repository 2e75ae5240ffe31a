"""The MCP server, driven by the official client over both wires: tools, pictures, resources, progress, cancelling."""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp", reason="the extra `serve` is not installed")

import anyio
import httpx2
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

from limner.promptdb.runs import Runs
from limner.promptdb.store import PromptDB
from tests.commands import ROOT
from tests.serve.live_server import serving, tiny_settings

TOKEN = "correct-horse-battery"
TOOLS = {"refine", "refine_prompt", "generate", "score", "optimize", "convert", "search_prompts"}
OPTIONS = ("--budget", "14", "--heldout-seeds", "2", "--search-seeds", "1", "--variants", "2")

Use = Callable[[Client], Awaitable[None]]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mcp")


@pytest.fixture(scope="module")
def url(tiny: Path, out: Path) -> Iterator[str]:
    with serving(tiny_settings(tiny, out), TOKEN) as address:
        yield address


def over_http(url: str, use: Use, token: str = TOKEN, mode: str = "auto") -> None:
    async def main() -> None:
        headers = {"authorization": f"Bearer {token}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=120) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
        ):
            await use(client)

    anyio.run(main)


def over_stdio(tiny: Path, out: Path, use: Use) -> None:
    arguments = [str(ROOT / "main.py"), "mcp", "--checkpoint", str(tiny), "--out", str(out), *OPTIONS]

    async def main() -> None:
        async with Client(StdioServerParameters(command=sys.executable, args=arguments)) as client:
            await use(client)

    anyio.run(main)


def text_of(result: Any) -> str:
    return "".join(part.text for part in result.content if part.type == "text")


async def everything(client: Client) -> None:
    """What an assistant does: looks around, refines with progress, looks at pictures, reads resources, judges."""
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) >= TOOLS and all(tools[name].output_schema and tools[name].description for name in TOOLS)
    told: list[float] = []

    async def heard(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    refined = await client.call_tool("refine_prompt", {"prompt": "a red cat", "method": "rewrite"}, progress_callback=heard)
    document = refined.structured_content
    assert not refined.is_error and document["scores"]["liking"]["n"] == 2 and document["chat_model"] == "offline"
    assert len(told) > 3 and told == sorted(told) and len(set(told)) == len(told)
    pictures = [part for part in refined.content if part.type == "image"]
    assert Image.open(io.BytesIO(base64.b64decode(pictures[0].data))).size == (32, 32) and pictures[0].mime_type == "image/png"
    resource = (await client.read_resource(document["images"]["before"][0])).contents[0]
    assert resource.blob == pictures[0].data
    runs = json.loads((await client.read_resource("limner://runs")).contents[0].text)
    assert runs[0]["run"] == document["run"] and runs[0]["status"] == "done"
    run = json.loads((await client.read_resource(f"limner://runs/{document['run']}")).contents[0].text)
    assert document["images"]["before"][0] in run["files"]
    judged = await client.call_tool("score", {"image": document["images"]["before"][0], "prompt": "a red cat"})
    assert set(judged.structured_content["scores"]) == {"liking", "likeness", "truth"}
    sent = await client.call_tool("score", {"image": pictures[0].data, "prompt": "a red cat"})
    assert sent.structured_content["scores"] == judged.structured_content["scores"]
    unsaid = await client.call_tool("score", {"image": document["images"]["before"][0]})
    assert unsaid.structured_content["prompt"] == document["prompt"]
    hits = (await client.call_tool("search_prompts", {"query": "castle", "limit": 2})).structured_content["hits"]
    assert len(hits) == 2
    prompt = json.loads((await client.read_resource(f"limner://prompts/{hits[0]['id']}")).contents[0].text)
    assert prompt["text"] == hits[0]["text"]
    converted = await client.call_tool("convert", {"text": "a (red:1.2) cat", "to": "compel", "source": "a1111"})
    assert text_of(converted) == converted.structured_content["output"]


async def in_steps(client: Client) -> None:
    """A person's way through the step tool: begin, change, look, accept, go back; then the picture as a resource."""
    begun = await client.call_tool("refine", {"prompt": "a red cat"})
    first = begun.structured_content
    pictures = [part for part in begun.content if part.type == "image"]
    assert not begun.is_error and first["request"] == "a red cat" and len(pictures) == len(first["images"]) > 0
    assert first["thread"] in text_of(begun) and first["reply"] in text_of(begun)
    stored = (await client.read_resource(first["images"][0]["url"])).contents[0]
    assert stored.blob == pictures[0].data and stored.mime_type == "image/png"

    async def say(**what: Any) -> Any:
        result = await client.call_tool("refine", {"thread": first["thread"], **what})
        assert not result.is_error, text_of(result)
        return result.structured_content

    assert (await say(answer="pin red cat"))["contract"]["pins"] == ["red cat"]
    picked = await say(action={"kind": "pick", "image": 1})
    assert picked["base"]["id"] == first["images"][0]["conditioning"]
    accepted = await say(answer="accept")
    assert accepted["accepted"]["result"]["id"] == picked["base"]["id"]
    assert (await say(answer="undo"))["accepted"] is None
    refused = await client.call_tool("refine", {"thread": "never-begun", "answer": "hello"})
    assert refused.is_error and "never-begun" in text_of(refused)
    neither = await client.call_tool("refine", {})
    assert neither.is_error and "prompt to begin" in text_of(neither)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_refining_in_steps_over_http(url: str, mode: str) -> None:
    over_http(url, in_steps, mode=mode)


def test_a_turn_is_cancelled_and_its_thread_goes_on(url: str, out: Path) -> None:
    async def use(client: Client) -> None:
        begun = (await client.call_tool("refine", {"prompt": "a blue dog"})).structured_content

        async def heard(progress: float, total: float | None, message: str | None) -> None:
            if message and message.startswith("understand"):
                scope.cancel()

        with anyio.CancelScope() as scope:
            arguments = {"thread": begun["thread"], "answer": "run rewrite with 14 images"}
            await client.call_tool("refine", arguments, progress_callback=heard)
        assert scope.cancelled_caught
        for _ in range(100):
            after = await client.call_tool("refine", {"thread": begun["thread"], "answer": "status"})
            if not after.is_error:
                break
            await anyio.sleep(0.1)
        assert not after.is_error and after.structured_content["request"] == "a blue dog"

    over_http(url, use)


def test_over_stdio(tiny: Path, tmp_path: Path) -> None:
    async def both(client: Client) -> None:
        await everything(client)
        await in_steps(client)

    over_stdio(tiny, tmp_path, both)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_over_http_by_the_new_protocol_and_the_one_before(url: str, mode: str) -> None:
    over_http(url, everything, mode=mode)


def test_without_the_token_there_is_nothing(url: str) -> None:
    async def use(client: Client) -> None:
        await client.list_tools()

    with pytest.raises(ExceptionGroup):
        over_http(url, use, token="wrong")
    assert httpx2.post(f"{url}/mcp", json={}).status_code == httpx2.get(f"{url}/mcp").status_code == 401


def test_a_call_is_cancelled_and_its_run_can_go_on(url: str, out: Path) -> None:
    prompts = ["a cat", "a dog", "a red cat", "a blue dog"]

    async def use(client: Client) -> None:
        async def heard(progress: float, total: float | None, message: str | None) -> None:
            if progress >= 1:
                scope.cancel()

        with anyio.CancelScope() as scope:
            arguments = {"prompts": prompts, "budget": 400, "iterations": 20}
            await client.call_tool("optimize", arguments, progress_callback=heard)
        assert scope.cancelled_caught
        with PromptDB.open(out / "limner.db") as db, anyio.fail_after(60):
            while Runs(db).latest(1)[0].status == "running":
                await anyio.sleep(0.1)
            assert (Runs(db).latest(1)[0].command, Runs(db).latest(1)[0].status) == ("optimize", "interrupted")
        assert not (await client.call_tool("generate", {"prompts": ["a cat"]})).is_error

    over_http(url, use)


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("refine_prompt", {"prompt": "a cat", "budget": 3}, "too small"),
        ("refine_prompt", {"prompt": "a cat", "checkpoint": "/etc"}, "this server offers"),
        ("refine_prompt", {"prompt": "x" * 9000}, "prompt"),
        ("score", {"image": "/etc/passwd", "prompt": "x"}, "files and addresses are not read"),
        ("score", {"image": "file:///etc/passwd", "prompt": "x"}, "files and addresses are not read"),
        ("score", {"image": "limner://runs/../files/limner.db", "prompt": "x"}, "no such picture"),
        ("score", {"image": base64.b64encode(b"nothing").decode(), "prompt": "x"}, "not a readable picture"),
        ("convert", {"text": "a cat", "to": "nothing"}, "to"),
    ],
)
def test_what_is_refused_says_why(url: str, tool: str, arguments: dict[str, Any], words: str) -> None:
    async def use(client: Client) -> None:
        result = await client.call_tool(tool, arguments)
        assert result.is_error and words in text_of(result)

    over_http(url, use)


@pytest.mark.parametrize(
    "uri",
    ["limner://runs/..%2f..%2fetc/files/passwd", "limner://runs/x/files/..%2flimner.db", "limner://images/..%2fx", "file:///etc/passwd"],
)
def test_resources_lead_nowhere_else(url: str, uri: str) -> None:
    async def use(client: Client) -> None:
        with pytest.raises(Exception, match=r"(?i)resource|there is no|not an image hash"):
            await client.read_resource(uri)

    over_http(url, use)
