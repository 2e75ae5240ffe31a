"""A turn's reply is told piece by piece: as the chat model says it over HTTP, and line by line where rules compose it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from limner.agents.llm.server import ServerChat
from limner.agents.llm.settings import ChatSettings
from limner.graph.chat.threads import Chats
from tests.chat_server import ChatServer
from tests.graph.chat.chat_stage import services
from tests.graph.chat.test_chat_model import REQUEST, calling, scripted

SAID = "Which of the two animals do you mean, the cat or the dog?"
FIRST_BYTE = 0.3  # seconds, before anything is drawn


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as opened:
        yield opened


def talking(folder: Path, server: ChatServer, retries: int = 0) -> Chats:
    chosen = ChatSettings("stub", server.url, SecretStr("none"), retries=retries)
    return Chats(services(folder, chat=lambda budget, db: ServerChat(chosen, budget, db, sleep=lambda seconds: None)))


def turn(chats: Chats, text: str, thread: str = "") -> list[dict[str, Any]]:
    return [dict(event) for event in chats.send(thread or chats.start(), text)]


def words(events: list[dict[str, Any]]) -> list[str]:
    return [event["text"] for event in events if event["kind"] == "words"]


def reply(events: list[dict[str, Any]]) -> str:
    return next(event["text"] for event in events if event["kind"] == "reply")


def test_a_chat_models_words_come_one_by_one_while_it_still_speaks(tmp_path: Path, server: ChatServer) -> None:
    server.always = replace(calling(text=SAID), token_delay=0.05)
    chats = talking(tmp_path, server)
    thread, came = chats.start(), list[float]()
    pieces: list[str] = []
    for event in chats.send(thread, "that beast again"):
        if event["kind"] == "words":
            came.append(time.monotonic())
            pieces.append(event["text"])
    assert len(pieces) == len(SAID.split()) and "".join(pieces) == SAID
    assert came[-1] - came[0] > 0.05 * (len(pieces) - 2)  # not all at the end
    assert server.requests[0].body["stream"] is True
    assert chats.history(thread)[-1].reply == SAID


def test_tokens_of_a_streamed_turn_are_counted(tmp_path: Path, server: ChatServer) -> None:
    server.always = calling(text=SAID)
    chats = talking(tmp_path, server)
    chat: Any = chats.services.context("count").chat_model(10)
    chat.consult([("user", "hello")], [], lambda text: None)
    assert (chat.usage.prompt_tokens, chat.usage.completion_tokens) == (11, 7)


@pytest.mark.parametrize("thought", ["<think>Let me see: cats, dogs.</think>\n", "  <THINK>a\nb</THINK> "])
def test_what_a_model_thinks_is_not_told(tmp_path: Path, server: ChatServer, thought: str) -> None:
    server.always = calling(text=thought + SAID)
    events = turn(talking(tmp_path, server), "that beast again")
    assert "".join(words(events)) == reply(events) == SAID and len(words(events)) > 3


def test_after_a_broken_stream_the_whole_reply_is_the_last_word(tmp_path: Path, server: ChatServer) -> None:
    server.script = [replace(calling(text="It is the first one, I think, or so."), fault="cut stream"), calling(text=SAID)]
    events = turn(talking(tmp_path, server, retries=1), "that beast again")
    assert reply(events) == SAID and events[-1]["payload"]["reply"] == SAID
    assert not "".join(words(events)).endswith(SAID)  # what was told first cannot be taken back, so the reply replaces it


def test_a_stream_without_end_is_cut_at_the_size_of_an_answer(tmp_path: Path, server: ChatServer) -> None:
    server.always = calling(text="word " * 6000)
    events = turn(talking(tmp_path, server), REQUEST)
    assert any(event["kind"] == "warning" and "rules" in event["text"] for event in events)
    assert events[-1]["payload"]["request"] == REQUEST


def test_words_beside_tool_calls_begin_the_reply(tmp_path: Path, server: ChatServer) -> None:
    server.always = scripted(calling(("describe", {"text": REQUEST}), text="I draw that."))
    events = turn(talking(tmp_path, server), "some automobile by the sea")
    kinds = [event["kind"] for event in events]
    assert reply(events).startswith("I draw that.\n") and "".join(words(events)) == reply(events)
    assert kinds.index("words") < kinds.index("drawn")


def test_the_rules_reply_comes_in_pieces_as_it_is_composed(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path))
    thread = chats.start()
    turn(chats, REQUEST, thread)
    events = turn(chats, "pin red car and draw it in watercolor style", thread)
    kinds = [event["kind"] for event in events]
    assert "".join(words(events)) == reply(events) and len(words(events)) >= 2
    assert kinds.index("words") < kinds.index("drawn") < len(kinds) - 1 - kinds[::-1].index("words")
    assert words(events)[0].startswith("Pinned: red car.")


def test_something_is_heard_of_a_turn_at_once(tmp_path: Path, server: ChatServer) -> None:
    server.always = replace(calling(text=SAID), delay=1.0)
    for chats in (Chats(services(tmp_path / "rules")), talking(tmp_path / "model", server)):
        thread = chats.start()
        started = time.monotonic()
        events = chats.send(thread, "that beast again")
        assert next(events)["kind"] == "heard"
        assert time.monotonic() - started < FIRST_BYTE
        events.close()
