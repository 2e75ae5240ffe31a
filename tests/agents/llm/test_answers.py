"""Answers of a real HTTP server that cannot be used: repaired once, then dropped."""

from __future__ import annotations

import time

import pytest

from limner.agents.llm.base import NoAnswer
from limner.tools.budget import Budget
from tests.agents.asking import QUESTION, TOM, Pet
from tests.chat_server import answer, refusal, status


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(answer("a cat, I think"), id="prose"),
        pytest.param(answer('{"name": "Tom", "legs": '), id="half a JSON"),
        pytest.param(answer({"name": "Tom"}), id="a field missing"),
        pytest.param(answer({"name": "Tom", "legs": "four"}), id="a wrong type"),
        pytest.param(answer([TOM, TOM]), id="a list instead"),
        pytest.param(answer(""), id="empty"),
        pytest.param(answer("   \n "), id="blank"),
        pytest.param(answer("null"), id="null"),
        pytest.param(answer({"name": "Tom " * 5000, "legs": 4}), id="over-long"),
        pytest.param(answer({"name": "Tom", "legs": 4, "x": "y" * 2_000_000}), id="far over-long"),
        pytest.param(answer('{"name": "Tom', finish="length"), id="cut at the length limit"),
        pytest.param(answer("[" * 5000), id="deeply nested"),
        pytest.param(answer("half an emoji: \ud83d"), id="half a character"),
    ],
)
def test_an_unusable_answer_is_repaired_once_then_dropped(server, open_server_chat, bad):
    server.script = [bad, answer(TOM)]
    chat = open_server_chat(max_answer_chars=2000)
    assert chat.ask(QUESTION, Pet).legs == 4
    assert (chat.usage.calls, chat.usage.repaired, chat.usage.rejected, chat.usage.retried) == (2, 1, 0, 0)

    server.script, server.always = [], bad
    budget = Budget()
    chat = open_server_chat(budget, max_answer_chars=2000)
    with pytest.raises(NoAnswer, match="no valid Pet"):
        chat.ask(QUESTION, Pet, seed=1)
    assert (chat.usage.calls, chat.usage.repaired, chat.usage.rejected) == (2, 0, 1)
    assert budget.used()["llm_calls"] == 2


def test_a_flood_is_not_read_to_its_end(server, open_server_chat):
    server.script = [answer({"name": "x" * 40_000_000, "legs": 4}), answer(TOM)]
    chat = open_server_chat(max_answer_chars=2000)
    assert chat.ask(QUESTION, Pet).name == "Tom"
    deadline = time.monotonic() + 5
    while not server.hung_up and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.hung_up == 1


def test_the_repair_round_shows_the_model_its_answer_and_what_was_wrong(server, open_server_chat):
    server.script = [answer({"name": "Tom", "legs": "four"}), answer(TOM)]
    open_server_chat().ask(QUESTION, Pet)
    first, second = (request.body["messages"] for request in server.requests)
    assert second[: len(first)] == first
    assert second[2] == {"role": "assistant", "content": '{"name": "Tom", "legs": "four"}'}
    assert second[3]["role"] == "user" and "legs" in second[3]["content"] and "valid integer" in second[3]["content"]


def test_a_repair_request_that_fails_in_transport_is_retried_too(server, open_server_chat):
    server.script = [answer("nonsense"), status(500), answer(TOM)]
    chat = open_server_chat()
    assert chat.ask(QUESTION, Pet).name == "Tom"
    assert (chat.usage.calls, chat.usage.retried, chat.usage.repaired) == (3, 1, 1)


@pytest.mark.parametrize(
    "declined",
    [
        pytest.param(refusal("I won't draw that."), id="refusal field"),
        pytest.param(answer("I'm sorry, but I can't help with that request."), id="in prose"),
        pytest.param(answer("I cannot create content that violates our content policy."), id="policy"),
        pytest.param(answer("", finish="content_filter"), id="content filter"),
    ],
)
def test_a_refusal_is_no_answer_and_not_argued_with(server, open_server_chat, declined):
    server.always = declined
    chat = open_server_chat()
    with pytest.raises(NoAnswer, match="refused"):
        chat.ask(QUESTION, Pet)
    assert len(server.requests) == 1 and chat.usage.rejected == 1


def test_tokens_of_thrown_away_answers_are_counted_too(server, open_server_chat):
    server.script = [answer("nonsense", tokens=(10, 5)), answer('{"name', tokens=(20, 7), finish="length")]
    chat = open_server_chat()
    with pytest.raises(NoAnswer):
        chat.ask(QUESTION, Pet)
    assert (chat.usage.prompt_tokens, chat.usage.completion_tokens) == (30, 12)
