"""The HTTP API over a real socket: what the command line does, it does, with files as addresses."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")

import httpx
from PIL import Image

from tests.promptdb.generated.pictures_made import png
from tests.serve.live_server import client, serving, tiny_settings


@pytest.fixture(scope="module")
def server(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tiny_settings(tiny, tmp_path_factory.mktemp("out"))) as url:
        yield url


@pytest.fixture
def http(server: str) -> Iterator[httpx.Client]:
    with client(server) as opened:
        yield opened


def events(response: httpx.Response) -> Iterator[tuple[str, Any]]:
    """(event, data) of a stream of server-sent events."""
    name = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_a_prompt_is_refined_with_pictures_and_report_to_fetch(http: httpx.Client) -> None:
    document = http.post("/v1/refine", json={"prompt": "a red cat", "method": "rewrite", "heldout_seeds": 3}).raise_for_status().json()
    assert document["prompt"] == "a red cat" and document["scores"]["liking"]["n"] == 3
    assert document["chat_model"] == "offline" and document["used"]["images"] <= 14
    picture = http.get(document["images"]["before"][0])
    assert picture.headers["content-type"] == "image/png" and Image.open(io.BytesIO(picture.content)).size == (32, 32)
    report = http.get(document["report"])
    assert report.headers["content-type"].startswith("text/html") and "sandbox" in report.headers["content-security-policy"]
    run = http.get(f"/v1/runs/{document['run']}").json()
    assert run["status"] == "done" and run["result"]["run"] == document["run"] and document["report"] in run["files"]
    assert http.get("/v1/runs").json()[0]["run"] == document["run"]


def test_the_checkpoints_in_memory_are_listed(http: httpx.Client, tiny: Path) -> None:
    http.post("/v1/generate", json={"prompts": ["a cat"], "seed": 3}).raise_for_status()
    rows = http.get("/v1/loaded").raise_for_status().json()
    assert [(row["queue"], row["checkpoint"], row["device"]) for row in rows] == [("draw", str(tiny), "cpu")]


def test_a_refinement_is_told_while_it_goes_on(http: httpx.Client) -> None:
    with http.stream("POST", "/v1/refine/events", json={"prompt": "a blue dog", "method": "rewrite"}) as response:
        told = list(events(response))
    kinds = [data["kind"] for name, data in told if name == "progress"]
    assert kinds[0] == "started" and "drawn" in kinds and kinds[-1] == "finished"
    pictures = [data["url"] for _, data in told if data.get("kind") == "drawn"]
    assert http.get(pictures[0]).headers["content-type"] == "image/png"
    name, document = told[-1]
    assert name == "done" and document["prompt"] == "a blue dog"


def test_bad_input_in_the_middle_of_a_stream_is_told_as_an_error(http: httpx.Client) -> None:
    with http.stream("POST", "/v1/refine/events", json={"prompt": "a [cat|dog]"}) as response:
        assert [(name, data["error"]["code"]) for name, data in events(response)] == [("error", "bad_input")]


def test_pictures_are_drawn_judged_and_found_again(http: httpx.Client) -> None:
    drawn = http.post("/v1/generate", json={"prompts": ["a cat", "a dog"], "count": 2, "seed": 7}).raise_for_status().json()
    assert [(row["prompt"], row["seed"]) for row in drawn["images"]] == [("a cat", 7), ("a cat", 8), ("a dog", 7), ("a dog", 8)]
    picture = http.get(drawn["images"][0]["path"]).content
    judged = http.post("/v1/score", files={"image": ("cat.png", picture)}, data={"prompt": "a cat"}).raise_for_status().json()
    assert set(judged["scores"]) == {"liking", "likeness", "truth"} and judged["image"] == ""
    assert http.post("/v1/score", files={"image": ("cat.png", picture)}).raise_for_status().json() == judged  # as the picture says
    silent = http.post("/v1/score", files={"image": ("x.png", png())})
    assert silent.status_code == 400 and silent.json()["error"]["message"].startswith("the picture does not say how it was made")


def test_prompts_are_converted_and_searched(http: httpx.Client) -> None:
    document = http.post("/v1/convert", json={"text": "a (red:1.2) cat", "to": "compel", "source": "a1111"}).raise_for_status().json()
    assert document["from"] == "a1111" and "red" in document["output"]
    found = http.get("/v1/search", params={"q": "ocean", "limit": 3}).raise_for_status().json()
    assert len(found) == 3 and all("ocean" in row["text"] for row in found)
    assert http.post("/v1/search", json={"query": "ocean", "limit": 3, "excludes": [found[0]["text"]]}).json()[0]["id"] != found[0]["id"]


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/refine", {"prompt": "x", "checkpoint": "../../etc"}, 400, "this server offers"),
        ("/v1/refine", {"prompt": "x", "checkpoint": "someone/model"}, 400, "this server offers"),
        ("/v1/refine", {"prompt": "x", "budget": 3}, 400, "a budget of 3 images is too small"),
        ("/v1/refine", {"prompt": "x", "budget": 10**9}, 400, "at most"),
        ("/v1/refine", {"prompt": "x", "scorers": ["/etc/passwd"]}, 400, "there is no scorer"),
        ("/v1/refine", {"prompt": " "}, 400, "the prompt is empty"),
        ("/v1/refine", {"prompt": ""}, 422, "prompt"),
        ("/v1/refine", {"prompt": "x" * 5000}, 422, "prompt"),
        ("/v1/refine", {"prompt": "x", "out": "/tmp"}, 422, "out"),
        ("/v1/refine", {"prompt": "x", "seed": 2**31}, 422, "seed"),
        ("/v1/generate", {"prompts": []}, 422, "prompts"),
        ("/v1/jobs", {"prompts": ["a", "b"], "selector": "nonsense"}, 400, "nonsense"),
        ("/v1/jobs", {"prompts": ["a", "b"], "budget": 5}, 400, "too small"),
        ("/v1/chat/completions", {"messages": [{"role": "assistant", "content": "hm"}]}, 400, "user"),
        ("/v1/chat/completions", {"model": "gpt-9", "messages": [{"role": "user", "content": "a cat"}]}, 400, "gpt-9"),
    ],
)
def test_bad_input_is_answered(http: httpx.Client, path: str, body: dict[str, Any], status: int, words: str) -> None:
    answer = http.post(path, json=body)
    assert answer.status_code == status and words in answer.json()["error"]["message"]


def test_what_is_not_there_is_404(http: httpx.Client) -> None:
    for path in ("/v1/runs/nothing", "/v1/jobs/nothing", "/v1/jobs/nothing/events", f"/v1/images/{'0' * 24}.png", "/v1/images/x.png"):
        assert http.get(path).status_code == 404, path


def test_text_that_json_can_hold_and_numbers_that_it_cannot_are_no_crash(http: httpx.Client) -> None:
    for body in (
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "x", "guidance_scale": NaN}',
        b"[1, 2",
        b"\xff\xfe",
        b'{"prompt": "x", "seed": 1e400}',
    ):
        answer = http.post("/v1/refine", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 422 and answer.json()["error"]["code"] == "invalid"


def test_the_openapi_document_names_every_route_and_its_refusals(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    assert {"/v1/refine", "/v1/jobs/{job}/events", "/v1/images/generations", "/v1/search"} <= set(document["paths"])
    assert {"400", "429", "422"} <= set(document["paths"]["/v1/generate"]["post"]["responses"])
