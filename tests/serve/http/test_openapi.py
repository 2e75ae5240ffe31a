"""The OpenAPI document taken at its word: requests made from it, valid and broken, and no answer is a crash (schemathesis)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("schemathesis", reason="the extra `serve-test` is not installed")
pytest.importorskip("fastapi", reason="the extra `serve` is not installed")

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from limner.serve.http.app import build_app
from limner.serve.service.service import Offer
from tests.serve.live_server import serving, tiny_settings

DRAWS = r"^/v1/(refine|refine/events|generate|score|images/generations|chat/completions|jobs|threads|threads/.*turns.*)$"
"""Routes of which a valid request draws pictures: few of them are sent, many of the others."""

HEALTH = list(HealthCheck)


@pytest.fixture(scope="module")
def server(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tiny_settings(tiny, tmp_path_factory.mktemp("fuzzed"), steps=1), budget=20) as url:
        yield url


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: str(mode.value))
@pytest.mark.parametrize("draws", [False, True], ids=["reads", "draws"])
def test_no_request_crashes_the_server(server: str, mode: GenerationMode, draws: bool) -> None:
    asked = 0
    for found in schemathesis.openapi.from_url(f"{server}/openapi.json").get_all_operations():
        operation = found.ok()
        if bool(re.search(DRAWS, operation.path)) != draws:
            continue

        @settings(max_examples=4 if draws else 12, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=HEALTH)
        @given(case=operation.as_strategy(generation_mode=mode))
        def no_crash(case: schemathesis.Case) -> None:
            nonlocal asked
            asked += 1
            response = case.call(timeout=120)
            assert response.status_code < 500, f"{case.as_curl_command()}: {response.text}"

        try:
            no_crash()
        except Unsatisfiable:  # a route without anything that could be wrong
            assert mode == GenerationMode.NEGATIVE
    assert asked > 20


def test_the_document_is_the_same_whoever_asks(tiny: Path, tmp_path: Path, server: str) -> None:
    import httpx

    app = build_app(Offer(tiny_settings(tiny, tmp_path)), with_page=False)
    try:
        assert app.openapi()["paths"].keys() == httpx.get(f"{server}/openapi.json", timeout=60).json()["paths"].keys()
    finally:
        app.state.service.close()
