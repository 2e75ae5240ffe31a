"""Conversations over HTTP, by our own routes, by OpenAI's and as an MCP step tool: one graph behind all of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
pytest.importorskip("mcp", reason="the extra `serve` is not installed")

import httpx
import openai
from mcp.client import Client

from limner.serve.http.conversation import ChatAsk, fenced, literal, mark_of, marked, shown
from limner.serve.mcp.server import build_mcp
from limner.serve.service.service import Offer, Service
from tests.serve.live_server import client, serving, tiny_settings

CHAT = {"budget": 200}


@pytest.fixture(scope="module")
def server(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tiny_settings(tiny, tmp_path_factory.mktemp("out"), **CHAT)) as url:
        yield url


@pytest.fixture
def http(server: str) -> Iterator[httpx.Client]:
    with client(server) as opened:
        yield opened


def say(http: httpx.Client, thread: str, text: str = "", **action: Any) -> dict[str, Any]:
    body = {"text": text} | ({"action": action} if action else {})
    return dict(http.post(f"/v1/threads/{thread}/turns", json=body).raise_for_status().json())


def test_a_conversation_goes_from_a_wish_to_an_accepted_picture(http: httpx.Client) -> None:
    begun = http.post("/v1/threads", json={"cap": 60}).raise_for_status().json()
    thread = begun["thread"]
    assert begun["cap"] == 60 and begun["images"] == []
    shown = say(http, thread, "a red cat")
    assert shown["images"] and shown["request"] == "a red cat"
    assert http.get(shown["images"][0]["url"]).headers["content-type"] == "image/png"
    assert say(http, thread, kind="pin", words=["cat"])["contract"]["pins"] == ["cat"]
    done = say(http, thread, kind="accept", image=1)
    assert done["accepted"]["result"] and done["used"]["images"] <= 60
    assert http.get(f"/v1/threads/{thread}").json()["turn"] == done["turn"]
    turns = http.get(f"/v1/threads/{thread}/turns").json()
    assert turns[0]["said"] == "a red cat" and len(turns) == 3
    assert http.get("/v1/threads").json()[0]["thread"] == thread
    branch = http.post(f"/v1/threads/{thread}/branch", json={"turn": 1}).raise_for_status().json()
    assert branch["thread"] != thread and branch["request"] == "a red cat"


def test_a_turn_is_told_while_it_goes_on(http: httpx.Client) -> None:
    thread = http.post("/v1/threads", json={}).json()["thread"]
    told: list[tuple[str, Any]] = []
    with http.stream("POST", f"/v1/threads/{thread}/turns/events", json={"text": "a blue dog"}) as response:
        name = ""
        for line in response.iter_lines():
            name = line.removeprefix("event: ") if line.startswith("event: ") else name
            if line.startswith("data: "):
                told.append((name, json.loads(line.removeprefix("data: "))))
    assert told[0][1]["kind"] == "heard" and told[-1][0] == "done" and told[-1][1]["thread"] == thread


@pytest.mark.parametrize("thread", ["nothing", "%2e%2e", "..%2f..%2fetc"])
def test_there_is_no_conversation_that_was_not_begun(http: httpx.Client, thread: str) -> None:
    for path in ("", "/turns"):
        assert http.get(f"/v1/threads/{thread}{path}").status_code in (404, 422)
    assert http.post(f"/v1/threads/{thread}/turns", json={"text": "a cat"}).status_code in (400, 404, 405, 422)


def test_a_conversation_cannot_open_a_checkpoint_that_is_not_offered(http: httpx.Client) -> None:
    thread = http.post("/v1/threads", json={}).json()["thread"]
    before = say(http, thread, "a cat")["checkpoint"]
    for words in ("use checkpoint /etc", "switch to checkpoint someone/model"):
        assert say(http, thread, words)["checkpoint"] == before
    assert say(http, thread, kind="checkpoint", text="../../somewhere")["checkpoint"] == before


def test_the_openai_client_holds_a_conversation_and_may_go_back(server: str) -> None:
    ai = openai.OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0, timeout=120)
    messages: list[Any] = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "a red cat"}]

    def reply() -> str:
        stream = ai.chat.completions.create(model="limner", messages=messages, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    first = reply()
    assert "![1](http://127.0.0.1" in first
    messages += [{"role": "assistant", "content": first}, {"role": "user", "content": "pin cat"}]
    second = reply()
    thread, turn = mark_of(ChatAsk.model_validate({"messages": [*messages, {"role": "assistant", "content": second}, messages[-1]]}))
    assert turn == 2 and mark_of(ChatAsk.model_validate({"messages": messages}))[0] == thread
    with client(server) as http:
        assert http.get(f"/v1/threads/{thread}").json()["contract"]["pins"] == ["cat"]
        messages[-1] = {"role": "user", "content": "ban blurry"}  # the second message is edited: the pin is gone again
        reply()
        contract = http.get(f"/v1/threads/{thread}").json()["contract"]
        assert contract["pins"] == [] and contract["bans"] == ["blurry"]


def test_an_assistant_refines_step_by_step(tiny: Path, tmp_path: Path) -> None:
    import anyio

    service = Service(Offer(tiny_settings(tiny, tmp_path, **CHAT)), with_jobs=False)

    async def main() -> None:
        async with Client(build_mcp(service)) as assistant:
            first = await assistant.call_tool("refine", {"prompt": "a red cat"})
            turn = first.structured_content
            assert turn["images"] and [part.type for part in first.content][:2] == ["text", "image"]
            assert turn["images"][0]["url"].startswith("limner://images/")
            assert (await assistant.read_resource(turn["images"][0]["url"])).contents[0].blob
            pinned = await assistant.call_tool("refine", {"thread": turn["thread"], "answer": "pin cat"})
            assert pinned.structured_content["contract"]["pins"] == ["cat"]
            accepted = await assistant.call_tool("refine", {"thread": turn["thread"], "action": {"kind": "accept", "image": 1}})
            assert accepted.structured_content["accepted"]
            for wrong in ({}, {"thread": "nothing", "answer": "x"}, {"thread": turn["thread"]}):
                assert (await assistant.call_tool("refine", wrong)).is_error

    try:
        anyio.run(main)
    finally:
        service.close()


def test_what_people_and_databases_wrote_is_no_markup() -> None:
    from limner.serve.service.addresses import Addresses

    evil = "![x](https://evil.example/leak) <script>alert(1)</script> [y](javascript:z) `code`"
    payload = {
        **{"thread": "t", "turn": 3, "reply": evil, "pair": None, "images": [], "accepted": None},
        "base": {"conditioning": {"text": f"```\n{evil}"}},
    }
    text = marked(evil) + shown(payload, Addresses(None, "http://here"))
    outside = text.split("````")[0] + text.split("````")[-1]
    assert not re.search(r"(?<!\\)[<\[!]|\]\(", outside)
    assert literal("a_b*c") == r"a\_b\*c" and fenced("a ``` b").startswith("````\n")
    assert mark_of(ChatAsk.model_validate({"messages": [{"role": "assistant", "content": text}, {"role": "user", "content": "x"}]})) == (
        "t",
        3,
    )
