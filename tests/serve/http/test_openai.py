"""The `openai` client against our server: pictures that are refined before they are drawn, and a chat that streams."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")

import httpx
import openai
from PIL import Image

from tests.chat_server import ChatServer, completion
from tests.serve.live_server import serving, tiny_settings

TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module", params=[None, TOKEN], ids=["open", "token"])
def connected(request: pytest.FixtureRequest, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    with serving(tiny_settings(tiny, tmp_path_factory.mktemp("out")), request.param) as url:
        yield openai.OpenAI(base_url=f"{url}/v1", api_key=request.param or "none", max_retries=0, timeout=120)


def test_a_picture_is_refined_before_it_is_drawn(connected: openai.OpenAI) -> None:
    answer = connected.images.generate(model="limner", prompt="a red cat", n=2, size="1024x1024")
    assert len(answer.data or []) == 2 and answer.size == "32x32"
    for item in answer.data or []:
        assert item.revised_prompt and item.url
        picture = httpx.get(item.url)  # as a chat window fetches it, without a token
        assert picture.status_code == 200 and Image.open(io.BytesIO(picture.content)).size == (32, 32)
    limner = answer.model_dump()["limner"]
    assert limner["improved"] in (True, False) and limner["refined_by"]


def test_a_picture_comes_in_base64_and_unrefined_where_that_is_asked_for(connected: openai.OpenAI) -> None:
    answer = connected.images.generate(prompt="a blue dog", response_format="b64_json", extra_body={"refine": False, "seed": 3})
    (item,) = answer.data or []
    assert item.revised_prompt == "a blue dog"
    assert Image.open(io.BytesIO(base64.b64decode(item.b64_json or ""))).size == (32, 32)


def test_a_chat_turn_streams_from_the_first_moment(connected: openai.OpenAI) -> None:
    started = time.monotonic()
    first, content, reasoning, finish = None, "", "", None
    stream = connected.chat.completions.create(model="limner", messages=[{"role": "user", "content": "a cat on a dog"}], stream=True)
    for chunk in stream:
        first = first or time.monotonic() - started
        delta = chunk.choices[0].delta
        content += delta.content or ""
        reasoning += getattr(delta, "reasoning_content", None) or ""
        finish = chunk.choices[0].finish_reason or finish
    assert finish == "stop" and "a cat on a dog" not in reasoning
    assert "![" in content and first is not None and first < time.monotonic() - started


def test_a_chat_turn_comes_whole_where_it_is_not_streamed(connected: openai.OpenAI) -> None:
    parts = [{"type": "text", "text": "a dog"}, {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]
    answer = connected.chat.completions.create(model="limner", messages=[{"role": "user", "content": parts}])  # type: ignore[list-item, misc]
    assert answer.choices[0].finish_reason == "stop" and "![" in (answer.choices[0].message.content or "")


def test_models_are_listed_and_others_are_refused(connected: openai.OpenAI) -> None:
    assert "limner" in [model.id for model in connected.models.list()]
    with pytest.raises(openai.BadRequestError, match="there is no model"):
        connected.images.generate(model="dall-e-3", prompt="a cat")


def test_errors_in_a_stream_reach_the_client(connected: openai.OpenAI) -> None:
    with pytest.raises(openai.APIError, match="characters"):
        list(connected.chat.completions.create(model="limner", messages=[{"role": "user", "content": "a cat " * 800}], stream=True))


def test_a_wrong_token_is_an_authentication_error(tiny: Path, tmp_path: Path) -> None:
    with serving(tiny_settings(tiny, tmp_path), TOKEN) as url, pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0, timeout=120).models.list()


@pytest.mark.parametrize("token", [None, TOKEN], ids=["open", "token"])
def test_a_chat_models_words_stream_through_as_it_says_them(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    said = "Which of the two animals do you mean, the *big* one?"
    with ChatServer(always=replace(completion({"role": "assistant", "content": said}), token_delay=0.1)) as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.url)
        with serving(tiny_settings(tiny, tmp_path), token) as url:
            client = openai.OpenAI(base_url=f"{url}/v1", api_key=token or "none", max_retries=0, timeout=120)
            pieces: list[tuple[float, str]] = []
            started = time.monotonic()
            first = None
            ask = [{"role": "user", "content": "that beast again"}]
            for chunk in client.chat.completions.create(model="limner", messages=ask, stream=True):  # type: ignore[call-overload]
                first = first or time.monotonic() - started
                if text := chunk.choices[0].delta.content:
                    pieces.append((time.monotonic(), text))
    whole = "".join(text for _, text in pieces)
    assert whole.startswith("Which of the two animals do you mean, the \\*big\\* one?") and whole.count("Which of") == 1
    assert len(pieces) >= len(said.split()) and pieces[-1][0] - pieces[0][0] > 0.5  # as they come, not all at the end
    assert first is not None and first < 1.0
