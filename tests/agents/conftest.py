"""A chat client against a server of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr

from limner.agents.llm.server import ChatSettings, ServerChat
from limner.tools.budget import Budget
from tests.agents.asking import KEY, Answers, Clock
from tests.chat_server import ChatServer


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


@pytest.fixture
def open_server_chat(server: ChatServer) -> Callable[..., ServerChat]:
    def build(budget: Budget | None = None, answers: Answers | None = None, clock: Clock | None = None, **settings: object) -> ServerChat:
        chosen = {"model": "stub-1", "base_url": server.url, "api_key": SecretStr(KEY), "timeout": 5.0, **settings}
        return ServerChat(ChatSettings(**chosen), budget or Budget(), answers, sleep=clock or Clock())

    return build
