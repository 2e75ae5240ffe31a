"""The chat model against a real HTTP server that does not answer, or refuses: what is asked again, what stops."""

from __future__ import annotations

import email.utils
import time

import pytest

from limner.agents.llm.base import NoAnswer
from limner.agents.llm.server import ChatSettings, ServerChat
from limner.promptdb.errors import BadInput
from limner.tools.budget import Budget
from tests.agents.asking import KEY, QUESTION, TOM, Clock, Pet
from tests.chat_server import Reply, answer, cut, document, drip, page, refused_url, reset, status


def test_nobody_listening_is_retried_then_no_answer():
    budget, clock = Budget(), Clock()
    chat = ServerChat(ChatSettings(base_url=refused_url(), retries=2), budget, sleep=clock)
    with pytest.raises(NoAnswer, match="asked 3 times"):
        chat.ask(QUESTION, Pet)
    assert (chat.usage.calls, chat.usage.retried, budget.used()["llm_calls"]) == (3, 2, 3)
    assert clock.waits == [0.5, 1.0]


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(status(500), id="500"),
        pytest.param(status(503), id="503"),
        pytest.param(status(429), id="429"),
        pytest.param(reset(), id="reset"),
        pytest.param(cut("cut body"), id="body cut"),
        pytest.param(cut("cut chunks"), id="stream cut"),
        pytest.param(page(), id="web page"),
        pytest.param(Reply(body=b"\xff\xfe not json"), id="no JSON"),
        pytest.param(Reply(body=b""), id="empty body"),
        pytest.param(document({"choices": None}), id="null choices"),
        pytest.param(document({"choices": []}), id="no choices"),
        pytest.param(document({}), id="empty object"),
        pytest.param(document([1, 2]), id="a list"),
        pytest.param(document({"error": "out of memory"}), id="error with status 200"),
    ],
)
def test_a_passing_failure_is_retried_and_the_answer_taken(server, open_server_chat, failure):
    server.script = [failure, failure, answer(TOM)]
    budget = Budget()
    chat = open_server_chat(budget)
    assert chat.ask(QUESTION, Pet).name == "Tom"
    assert len(server.requests) == 3
    assert (chat.usage.calls, chat.usage.retried, budget.used()["llm_calls"]) == (3, 2, 3)


@pytest.mark.parametrize("failure", [status(500, "on fire"), reset(), cut(), page()], ids=["500", "reset", "cut", "page"])
def test_a_lasting_failure_is_no_answer_after_so_many_requests(server, open_server_chat, failure):
    server.always = failure
    with pytest.raises(NoAnswer, match="asked 3 times") as caught:
        open_server_chat(retries=2).ask(QUESTION, Pet)
    assert len(server.requests) == 3
    assert "\n" not in caught.value.reason and len(caught.value.reason) <= 300


def test_waits_double_up_to_a_bound(server, open_server_chat):
    server.always = status(500)
    clock = Clock()
    with pytest.raises(NoAnswer):
        open_server_chat(clock=clock, retries=6).ask(QUESTION, Pet)
    assert clock.waits == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]


def test_retry_after_in_seconds_is_honoured(server, open_server_chat):
    server.script = [status(429, retry_after="7"), status(429, retry_after="0.25"), answer(TOM)]
    clock = Clock()
    open_server_chat(clock=clock).ask(QUESTION, Pet)
    assert clock.waits == [7.0, 0.25]


def test_retry_after_as_a_date_is_honoured(server, open_server_chat):
    server.script = [status(503, retry_after=email.utils.formatdate(time.time() + 30, usegmt=True)), answer(TOM)]
    clock = Clock()
    open_server_chat(clock=clock).ask(QUESTION, Pet)
    assert 25 < clock.waits[0] <= 30


@pytest.mark.parametrize("nonsense", ["soon", "-5", "nan", ""])
def test_a_senseless_retry_after_does_no_harm(server, open_server_chat, nonsense):
    server.script = [status(429, retry_after=nonsense), answer(TOM)]
    clock = Clock()
    assert open_server_chat(clock=clock).ask(QUESTION, Pet).name == "Tom"
    assert 0 <= clock.waits[0] <= 8


@pytest.mark.parametrize("forever", ["3600", "inf", "1e99"])
def test_a_server_that_asks_to_wait_for_an_hour_is_given_up_on(server, open_server_chat, forever):
    server.always = status(429, retry_after=forever)
    clock = Clock()
    with pytest.raises(NoAnswer, match="asked once"):
        open_server_chat(clock=clock).ask(QUESTION, Pet)
    assert clock.waits == [] and len(server.requests) == 1


def test_an_exhausted_quota_is_not_asked_again(server, open_server_chat):
    server.always = status(429, "You exceeded your current quota", error_code="insufficient_quota")
    with pytest.raises(NoAnswer, match="quota"):
        open_server_chat().ask(QUESTION, Pet)
    assert len(server.requests) == 1


def test_a_slow_answer_is_given_up_on_and_asked_again(server, open_server_chat):
    server.script = [answer(TOM, delay=30), answer(TOM)]
    started = time.monotonic()
    assert open_server_chat(timeout=0.3).ask(QUESTION, Pet).name == "Tom"
    assert len(server.requests) == 2 and time.monotonic() - started < 10


def test_an_answer_that_drips_in_for_ever_is_given_up_on(server, open_server_chat):
    server.script = [drip(), answer(TOM)]
    started = time.monotonic()
    assert open_server_chat(timeout=0.3).ask(QUESTION, Pet).name == "Tom"
    assert time.monotonic() - started < 6


# What only a person can mend


@pytest.mark.parametrize(
    ("reply", "variable"),
    [
        (status(401, f"Incorrect API key provided: {KEY}"), "OPENAI_API_KEY"),
        (status(403, "not for you"), "OPENAI_API_KEY"),
        (status(404, "The model `stub-1` does not exist"), "LIMNER_CHAT_MODEL"),
        (status(400, "'response_format' of type 'json_schema' is not supported with this model"), "LIMNER_CHAT_METHOD=function_calling"),
    ],
)
def test_what_only_a_person_can_mend_stops_at_the_first_request_and_says_how(server, open_server_chat, reply, variable):
    server.always = reply
    with pytest.raises(BadInput, match=variable) as caught:
        open_server_chat().ask(QUESTION, Pet)
    assert len(server.requests) == 1
    assert KEY not in str(caught.value) and "\n" not in str(caught.value)


def test_a_server_that_wants_a_key_is_told_apart_from_one_that_refuses_it(server, open_server_chat):
    server.always = status(401)
    with pytest.raises(BadInput, match="wants a key"):
        open_server_chat(api_key=None).ask(QUESTION, Pet)


@pytest.mark.parametrize("code", [400, 402, 413, 422])
def test_another_refused_request_concerns_one_question_and_is_not_repeated(server, open_server_chat, code):
    server.always = status(code, "maximum context length exceeded")
    with pytest.raises(NoAnswer, match=f"status {code}"):
        open_server_chat().ask(QUESTION, Pet)
    assert len(server.requests) == 1
