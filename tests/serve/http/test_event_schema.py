"""What streams of server-sent events hold is what the OpenAPI document says of them: a refinement, a job and a turn of a conversation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")

import httpx
import jsonschema

from limner.graph.events import EVENTS
from tests.serve.http.test_api import events
from tests.serve.live_server import client, serving, tiny_settings

JOB = {
    "prompts": ["a cat", "a dog", "a red cat", "a blue dog"],
    "iterations": 1,
    "batch_size": 2,
    "budget": 40,
    "steps": 2,
    "search_seeds": 1,
}
REFINE, FOLLOW, SAY = "/v1/refine/events", "/v1/jobs/{job}/events", "/v1/threads/{thread}/turns/events"


@pytest.fixture(scope="module")
def http(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serving(tiny_settings(tiny, tmp_path_factory.mktemp("out"), budget=60)) as url, client(url) as opened:
        yield opened


@pytest.fixture(scope="module")
def document(http: httpx.Client) -> dict[str, Any]:
    return dict(http.get("/openapi.json").raise_for_status().json())


def schema_of(document: dict[str, Any], path: str) -> dict[str, Any]:
    """The schema of the data of a route's events, in which `$ref` finds the document's components."""
    (operation,) = document["paths"][path].values()
    item = operation["responses"]["200"]["content"]["text/event-stream"]["itemSchema"]
    return {**item["properties"]["data"]["contentSchema"], "components": document["components"]}


def test_every_route_with_a_stream_names_the_union(document: dict[str, Any]) -> None:
    streams = {path for path, routes in document["paths"].items() for route in routes.values() if "text/event-stream" in str(route)}
    assert streams == {REFINE, FOLLOW, SAY}
    for path in streams:
        assert {"$ref": "#/components/schemas/SentEvent"} in schema_of(document, path)["anyOf"]
    kinds = document["components"]["schemas"]["SentEvent"]["discriminator"]["mapping"]
    assert kinds.keys() == EVENTS.json_schema()["discriminator"]["mapping"].keys() and {"started", "drawn", "asked"} <= kinds.keys()


@pytest.mark.parametrize("route", [REFINE, FOLLOW, SAY])
def test_a_stream_keeps_to_its_schema(http: httpx.Client, document: dict[str, Any], route: str) -> None:
    if route == REFINE:
        asked = http.stream("POST", REFINE, json={"prompt": "a red cat", "budget": 14})
    elif route == FOLLOW:
        asked = http.stream("GET", FOLLOW.format(job=http.post("/v1/jobs", json=JOB).raise_for_status().json()["id"]))
    else:
        thread = http.post("/v1/threads", json={}).raise_for_status().json()["thread"]
        asked = http.stream("POST", SAY.format(thread=thread), json={"text": "a blue dog"})
    data = jsonschema.Draft202012Validator(schema_of(document, route))
    progress = jsonschema.Draft202012Validator(schema_of(document, route) | {"anyOf": [{"$ref": "#/components/schemas/SentEvent"}]})
    kinds = set()
    with asked as response:
        for name, event in events(response):
            data.validate(event)
            if name == "progress":
                progress.validate(event)
                kinds.add(event["kind"])
                EVENTS.validate_python({key: value for key, value in event.items() if (event["kind"], key) != ("drawn", "url")})
    assert kinds >= {"node", "drawn", "scored"} and name == ("state" if route == FOLLOW else "done")


@pytest.mark.parametrize(
    "event",
    [
        {"kind": "wink", "text": "x"},
        {"kind": "warning"},
        {"kind": "node", "node": "draw", "phase": "end"},
        {"kind": "drawn", "drawing": "d", "conditioning": "c", "seed": "1", "image": None},
    ],
    ids=str,
)
def test_the_published_schema_refuses_what_is_no_event(document: dict[str, Any], event: dict[str, Any]) -> None:
    schema = {"$ref": "#/components/schemas/SentEvent", "components": document["components"]}
    assert not jsonschema.Draft202012Validator(schema).is_valid(event)
