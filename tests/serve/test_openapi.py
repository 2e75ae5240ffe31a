"""The OpenAPI document taken at its word: requests made from it, valid and broken, and no answer is a crash (schemathesis)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("schemathesis", reason="the extra `serve-test` is not installed")
pytest.importorskip("fastapi", reason="the extra `serve` is not installed")

import schemathesis
from hypothesis import HealthCheck, Phase, settings

from serve.api import build_app
from serve.service import Offer
from tests.serve.live_server import serving, tiny_settings

DRAWS = r"^/v1/(refine|refine/events|generate|score|images/generations|chat/completions|jobs)$"
"""Routes of which a valid request draws pictures: few of them are sent, many of the others."""


@pytest.fixture(scope="module")
def server(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tiny_settings(tiny, tmp_path_factory.mktemp("fuzzed"), steps=1), budget=20) as url:
        yield url


@pytest.fixture(scope="module")
def loaded(server: str) -> object:
    return schemathesis.openapi.from_url(f"{server}/openapi.json")


QUICK = schemathesis.pytest.from_fixture("loaded")


def _settings(examples: int) -> settings:
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(max_examples=examples, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=checks)


@QUICK.exclude(path_regex=DRAWS).parametrize()
@_settings(25)
def test_no_request_crashes_the_server(case: object) -> None:
    response = case.call(timeout=60)  # type: ignore[attr-defined]
    assert response.status_code < 500, response.text


@QUICK.include(path_regex=DRAWS).parametrize()
@_settings(8)
def test_no_request_that_may_draw_crashes_the_server(case: object) -> None:
    response = case.call(timeout=120)  # type: ignore[attr-defined]
    assert response.status_code < 500, response.text


def test_the_document_is_the_same_whoever_asks(tiny: Path, tmp_path: Path, server: str) -> None:
    import httpx

    app = build_app(Offer(tiny_settings(tiny, tmp_path)), with_page=False)
    try:
        assert app.openapi()["paths"].keys() == httpx.get(f"{server}/openapi.json", timeout=60).json()["paths"].keys()
    finally:
        app.state.service.close()
