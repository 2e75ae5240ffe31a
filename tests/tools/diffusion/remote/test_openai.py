"""An image model behind an images endpoint, over HTTP against a stub: pictures, faults, and what only a person can mend."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from limner.promptdb.errors import BadInput, ImagesAway
from limner.promptdb.records import Conditioning, Drawing
from limner.tools.diffusion.base import Drawn, Hooks
from limner.tools.diffusion.remote.openai import RemoteImages, RemoteSettings
from tests.chat_server import ChatServer, Reply, Scripted, cut, document, moved, page, refused_url, reset, status


def coded(colour: tuple[int, int, int] = (200, 30, 30)) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def picture(colour: tuple[int, int, int] = (200, 30, 30)) -> Reply:
    return document({"created": 0, "data": [{"b64_json": coded(colour)}]})


def model_at(server: ChatServer, **settings: Any) -> RemoteImages:
    waits: list[float] = []
    model = RemoteImages(replace(RemoteSettings("painter", server.url, "sk-secret", timeout=5), **settings), sleep=waits.append)
    model.waits = waits  # type: ignore[attr-defined]
    return model


def drawing(model: RemoteImages, text: str = "a red cat", negative: str = "", seed: int = 7) -> Drawing:
    return Drawing(Conditioning(text, negative), seed, model.default_settings, model.fingerprint)


def test_a_picture_is_asked_for_once_with_prompt_seed_and_size() -> None:
    with ChatServer(picture()) as server:
        model = model_at(server)
        heard: list[Drawn] = []
        one = drawing(model, negative="blurry")
        first, second = model.draw([one, one], heard.append)
    assert first.image is not None and first.image.size == (8, 8) and first == second and len(heard) == 1
    [request] = server.requests
    assert request.path == "/v1/images/generations"
    assert request.headers["authorization"] == "Bearer sk-secret"
    expected = {"model": "painter", "prompt": "a red cat", "negative_prompt": "blurry", "seed": 7, "n": 1, "size": "512x512"}
    assert request.body == {**expected, "response_format": "b64_json"}


@pytest.mark.parametrize(
    "fault",
    [status(500), status(503), status(429, retry_after="3"), reset(), cut(), page()],
    ids=lambda item: str(item.status) + item.fault,
)
def test_what_may_pass_is_tried_again(fault: Scripted) -> None:
    with ChatServer(fault, picture()) as server:
        model = model_at(server)
        [drawn] = model.draw([drawing(model)])
    assert drawn.image is not None and len(server.requests) == 2
    assert model.waits == [3.0 if isinstance(fault, Reply) and fault.status == 429 else 0.5]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "answer",
    [
        document({"data": []}),
        document({"data": [{"b64_json": "not base64!"}]}),
        document({"data": [{"b64_json": base64.b64encode(b"no picture").decode()}]}),
        document([1, 2]),
        document({"data": [{"url": "file:///etc/passwd"}]}),
        Reply(body=b"{"),
    ],
)
def test_an_answer_without_a_picture_ends_in_a_clear_message_and_keeps_what_was_drawn(answer: Scripted) -> None:
    with ChatServer(picture(), always=answer) as server:
        model = model_at(server, retries=2)
        kept: list[Drawn] = []
        with pytest.raises(ImagesAway, match="gave no picture after 3 requests"):
            model.draw([drawing(model), drawing(model, "a dog")], kept.append)
    assert len(kept) == 1 and len(server.requests) == 4


def test_a_prompt_that_the_server_refuses_comes_to_nothing_and_the_next_is_drawn() -> None:
    with ChatServer(status(400, "content policy violation"), picture()) as server:
        model = model_at(server)
        first, second = model.draw([drawing(model), drawing(model, "a dog")])
    assert first.image is None and second.image is not None


def test_a_field_that_the_server_does_not_know_is_left_out_from_then_on() -> None:
    with ChatServer(status(400, "unknown parameter: 'response_format'"), status(400, "no such field seed"), always=picture()) as server:
        model = model_at(server)
        model.draw([drawing(model), drawing(model, "a dog")])
    assert len(server.requests) == 4
    assert not {"seed", "response_format"} & set(server.requests[-1].body)


def test_a_server_without_negative_prompts_is_named() -> None:
    with ChatServer(always=status(400, "unknown field negative_prompt")) as server:
        model = model_at(server)
        with pytest.raises(BadInput, match="--space synonym"):
            model.draw([drawing(model, negative="blurry")])


@pytest.mark.parametrize(("code", "word"), [(401, "OPENAI_API_KEY"), (403, "forbids"), (404, "painter")])
def test_what_only_a_person_can_mend_is_said_at_once_without_the_key(code: int, word: str) -> None:
    with ChatServer(always=status(code, "your key sk-secret is wrong")) as server:
        model = model_at(server)
        with pytest.raises(BadInput, match=word) as raised:
            model.draw([drawing(model)])
    assert len(server.requests) == 1 and "sk-secret" not in str(raised.value) and "sk-secret" not in repr(model.settings)


def test_a_server_that_is_away_or_drips_or_asks_for_too_much_patience_ends_soon() -> None:
    gone = RemoteImages(RemoteSettings("painter", refused_url(), retries=1), sleep=lambda seconds: None)
    with pytest.raises(ImagesAway):
        gone.draw([drawing(gone)])
    with ChatServer(always=status(429, retry_after="3600")) as server:
        patient = model_at(server)
        with pytest.raises(ImagesAway, match="429"):
            patient.draw([drawing(patient)])
    assert len(server.requests) == 1
    from tests.chat_server import drip

    with ChatServer(always=drip()) as server:
        slow = model_at(server, timeout=0.3, retries=0)
        with pytest.raises(ImagesAway, match="timed out"):
            slow.draw([drawing(slow)])


def test_a_picture_may_be_named_by_its_address_and_gets_no_key() -> None:
    with ChatServer() as server:
        named = document({"data": [{"url": f"{server.url}/x.png"}]})
        server.script = [named, Reply(body=base64.b64decode(coded()), headers={"Content-Type": "image/png"})]
        model = model_at(server)
        [drawn] = model.draw([drawing(model)])
    assert drawn.image is not None
    asked, fetched = server.requests
    assert asked.headers["authorization"] == "Bearer sk-secret" and fetched.path == "/v1/x.png" and "authorization" not in fetched.headers


def test_a_key_does_not_follow_a_server_to_another_one() -> None:
    with ChatServer(always=picture()) as other, ChatServer(always=moved(f"{other.url}/images/generations")) as server:
        model = model_at(server)
        with pytest.raises(ImagesAway, match="302"):
            model.draw([drawing(model)])
    assert other.requests == []


def test_an_answer_that_is_too_large_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limner.tools.diffusion.remote.openai.LARGEST", 50)
    with ChatServer(always=picture()) as server:
        model = model_at(server, retries=0)
        with pytest.raises(ImagesAway, match="larger than 50 bytes"):
            model.draw([drawing(model)])


def test_whoever_cancels_is_heard_before_the_next_request() -> None:
    class Enough(Exception):
        pass

    class Cancel:
        def check(self) -> None:
            if heard:
                raise Enough

    with ChatServer(always=picture()) as server:
        model = model_at(server)
        heard: list[Drawn] = []
        with pytest.raises(Enough):
            model.draw([drawing(model), drawing(model, "a dog")], heard.append, cancel=Cancel())
    assert len(server.requests) == len(heard) == 1


def test_hooks_are_refused_since_nothing_takes_part_in_what_a_server_draws() -> None:
    model = RemoteImages(RemoteSettings("painter", refused_url()))
    with pytest.raises(BadInput, match="behind a server"):
        model.draw([drawing(model)], hooks=Hooks())


def test_settings_come_from_the_environment_and_say_what_is_wrong() -> None:
    found = RemoteSettings.from_env("painter", {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1/", "LIMNER_IMAGES_SIZE": "256x128"})
    assert (found.url, found.size) == ("http://127.0.0.1:1/v1", (256, 128))
    for name, env, word in (
        ("", {}, "openai:"),
        ("painter", {"LIMNER_IMAGES_BASE_URL": "ftp://x"}, "LIMNER_IMAGES_BASE_URL"),
        ("painter", {"LIMNER_IMAGES_SIZE": "big"}, "LIMNER_IMAGES_SIZE"),
        ("painter", {"LIMNER_IMAGES_TIMEOUT": "soon"}, "LIMNER_IMAGES_TIMEOUT"),
        ("painter", {"LIMNER_IMAGES_TIMEOUT": "-1"}, "LIMNER_IMAGES_TIMEOUT"),
    ):
        with pytest.raises(BadInput, match=word):
            RemoteSettings.from_env(name, env)


def test_the_weights_hash_is_of_server_and_name() -> None:
    one, other = (RemoteImages(RemoteSettings("painter", url)) for url in ("http://a/v1", "http://b/v1"))
    assert one.fingerprint != other.fingerprint and one.name == "openai:painter"
    assert one.token_count("x" * 4004)[0] > one.token_count("")[1]
