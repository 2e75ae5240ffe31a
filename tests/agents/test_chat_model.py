"""The chat model against a real HTTP server that fails in every way that servers do."""

from __future__ import annotations

import dataclasses
import email.utils
import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from pydantic import BaseModel, Field, SecretStr

from agents.chat_model import ChatSettings, ServerChat, open_chat
from agents.messages import Message, NoAnswer
from agents.offline import OfflineChat
from promptdb.errors import BadInput
from tests.chat_server import ChatServer, Reply, answer, completion, cut, document, drip, page, refusal, refused_url, reset, status
from tools.budget import Budget, BudgetSpent

KEY = "sk-very-secret-4711"
QUESTION = [Message("system", "be brief"), Message("user", "which pet?", {"exemplars": ["never sent"]})]


class Pet(BaseModel):
    """A pet."""

    name: str = Field(description="what it is called")
    legs: int


TOM = {"name": "Tom", "legs": 4}


class Answers:
    """An answer store in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}

    def stored_answer(self, key: str) -> str | None:
        return self.rows.get(key)

    def add_answer(self, key: str, model: str, answer_json: str) -> None:
        self.rows[key] = answer_json


class Clock:
    """Records how long the client would have waited."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)


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


# What goes over the wire


def test_a_good_answer_is_validated_counted_and_priced(server, open_server_chat):
    server.script = [answer(TOM, tokens=(1000, 200))]
    budget = Budget()
    chat = open_server_chat(budget, price_in=0.5, price_out=2.0)
    assert chat.ask(QUESTION, Pet) == Pet(name="Tom", legs=4)
    assert budget.used()["llm_calls"] == 1
    assert (chat.usage.calls, chat.usage.prompt_tokens, chat.usage.completion_tokens) == (1, 1000, 200)
    assert chat.usage.cost_usd == pytest.approx((1000 * 0.5 + 200 * 2.0) / 1e6)
    assert chat.name == "stub-1"


def test_without_prices_no_cost_is_claimed(server, open_server_chat):
    server.script = [answer(TOM)]
    chat = open_server_chat()
    chat.ask(QUESTION, Pet)
    assert chat.usage.cost_usd is None


def test_the_request_asks_for_the_schema_and_never_holds_the_facts(server, open_server_chat):
    server.script = [answer(TOM)]
    open_server_chat().ask(QUESTION, Pet, temperature=0.7, seed=11)
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body["messages"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "which pet?"}]
    assert (request.body["model"], request.body["temperature"], request.body["seed"]) == ("stub-1", 0.7, 11)
    form = request.body["response_format"]
    assert form["type"] == "json_schema" and form["json_schema"]["strict"] is True
    assert form["json_schema"]["schema"]["required"] == ["name", "legs"]
    assert form["json_schema"]["schema"]["additionalProperties"] is False
    assert "never sent" not in str(request.body)


def test_function_calling_is_a_configured_alternative(server, open_server_chat):
    server.script = [answer(TOM)]
    assert open_server_chat(method="function_calling").ask(QUESTION, Pet, seed=5).name == "Tom"
    body = server.requests[0].body
    assert body["seed"] == 5 and body["tools"][0]["function"]["name"] == "Pet" and "response_format" not in body


def test_function_calling_repairs_arguments_that_are_no_json(server, open_server_chat):
    broken = {"id": "1", "type": "function", "function": {"name": "Pet", "arguments": '{"name": "Tom", '}}
    server.script = [completion({"role": "assistant", "content": None, "tool_calls": [broken]}), answer(TOM)]
    chat = open_server_chat(method="function_calling")
    assert chat.ask(QUESTION, Pet).legs == 4
    assert chat.usage.repaired == 1


@pytest.mark.parametrize(
    "wrapped",
    [
        '```json\n{"name": "Tom", "legs": 4}\n```',
        'Sure, here it is: {"name": "Tom", "legs": 4} Anything else?',
        '<think>a cat has {four} legs</think>{"name": "Tom", "legs": 4}',
    ],
)
def test_an_answer_inside_fences_prose_or_thoughts_needs_no_second_call(server, open_server_chat, wrapped):
    server.script = [answer(wrapped)]
    assert open_server_chat().ask(QUESTION, Pet).name == "Tom"
    assert len(server.requests) == 1


# Transport failures


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


# Answers that cannot be used


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


# Budget


def test_no_request_is_sent_that_the_budget_does_not_allow(server, open_server_chat):
    server.always = status(500)
    budget = Budget(llm_calls=2)
    with pytest.raises(BudgetSpent):
        open_server_chat(budget).ask(QUESTION, Pet)
    assert len(server.requests) == 2 and budget.used()["llm_calls"] == 2


def test_the_client_does_not_sleep_past_the_budgeted_seconds(server, open_server_chat):
    server.always = status(429, retry_after="100")
    clock = Clock()
    with pytest.raises(NoAnswer):
        open_server_chat(Budget(seconds=20), clock=clock, retries=1).ask(QUESTION, Pet)
    assert clock.waits[0] <= 20


# Stored answers


def test_a_stored_answer_costs_no_call_even_in_another_process(server, open_server_chat):
    server.script = [answer(TOM)]
    answers = Answers()
    first = open_server_chat(answers=answers).ask(QUESTION, Pet, temperature=0.7, seed=3)
    budget = Budget()
    again = open_server_chat(budget, answers)
    assert again.ask(QUESTION, Pet, temperature=0.7, seed=3) == first
    assert len(server.requests) == 1 and budget.used()["llm_calls"] == 0 and again.usage.calls == 0


def test_another_question_seed_temperature_model_or_schema_is_asked_anew(server, open_server_chat):
    class Named(BaseModel):
        name: str

    server.always = answer(TOM)
    answers = Answers()
    chat = open_server_chat(answers=answers)
    chat.ask(QUESTION, Pet)
    chat.ask(QUESTION, Pet, seed=1)
    chat.ask(QUESTION, Pet, temperature=0.5)
    chat.ask(QUESTION, Named)
    chat.ask([*QUESTION, Message("user", "and now?")], Pet)
    open_server_chat(answers=answers, model="stub-2").ask(QUESTION, Pet)
    assert len(server.requests) == 6


def test_facts_do_not_change_what_is_asked():
    from agents.chat_model import answer_key

    bare = [Message(message.role, message.content) for message in QUESTION]
    assert answer_key("m", QUESTION, Pet, 0, None) == answer_key("m", bare, Pet, 0.0, None)


def test_answers_that_were_thrown_away_are_not_stored(server, open_server_chat):
    server.always = answer("nonsense")
    answers = Answers()
    with pytest.raises(NoAnswer):
        open_server_chat(answers=answers).ask(QUESTION, Pet)
    assert answers.rows == {}


def test_a_stored_answer_that_no_longer_fits_is_asked_again(server, open_server_chat):
    server.always = answer(TOM)
    answers = Answers()
    open_server_chat(answers=answers).ask(QUESTION, Pet)
    (key,) = answers.rows
    answers.rows[key] = '{"name": 3'
    assert open_server_chat(answers=answers).ask(QUESTION, Pet).name == "Tom"
    assert len(server.requests) == 2


# Secrets, threads, settings


def test_the_key_shows_up_nowhere(server, open_server_chat, caplog):
    caplog.set_level(logging.DEBUG)
    echo = f"your key {KEY} is odd"
    shown = []
    for reply in (
        answer(TOM),
        status(500, echo),
        status(401, echo),
        status(400, echo),
        status(429, echo, retry_after="9999"),
        answer(echo),
        refusal(echo),
    ):
        server.always = reply
        chat = open_server_chat(retries=1)
        try:
            chat.ask(QUESTION, Pet)
        except (NoAnswer, BadInput) as error:
            shown += [str(error), repr(error)]
        shown += [repr(chat), str(chat.usage)]
    settings = ChatSettings(api_key=SecretStr(KEY))
    shown += [repr(settings), str(dataclasses.asdict(settings)), caplog.text]
    assert KEY not in "\n".join(shown)
    assert any("***" in text for text in shown)


def test_parallel_questions_are_counted_to_the_unit(server, open_server_chat):
    server.always = answer(TOM, tokens=(3, 2))
    budget = Budget()
    chat = open_server_chat(budget)
    threads = [threading.Thread(target=chat.ask, args=(QUESTION, Pet), kwargs={"seed": seed}) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (chat.usage.calls, chat.usage.prompt_tokens, budget.used()["llm_calls"]) == (12, 36, 12)


def test_the_offline_stand_in_answers_unless_a_server_is_configured():
    assert isinstance(open_chat(ChatSettings.from_env({}), Budget()), OfflineChat)
    assert isinstance(open_chat(ChatSettings.from_env({"LIMNER_CHAT_MODEL": "m"}), Budget()), OfflineChat)
    assert open_chat(ChatSettings.from_env({"OPENAI_API_KEY": "k"}), Budget()).name == "gpt-4o-mini"
    local = {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "LIMNER_CHAT_MODEL": "llama"}
    assert open_chat(ChatSettings.from_env(local), Budget()).name == "llama"


def test_settings_are_read_from_the_environment():
    env = {
        "OPENAI_API_KEY": " k \n",
        "OPENAI_BASE_URL": "https://example.org/v1",
        "LIMNER_CHAT_METHOD": "function_calling",
        "LIMNER_CHAT_TIMEOUT": "12.5",
        "LIMNER_CHAT_MAX_TOKENS": "800",
        "LIMNER_CHAT_PRICE_IN": "0.15",
        "LIMNER_CHAT_PRICE_OUT": "0.6",
    }
    settings = ChatSettings.from_env(env)
    assert settings.api_key is not None and settings.api_key.get_secret_value() == "k"
    assert (settings.url, settings.method, settings.timeout) == ("https://example.org/v1", "function_calling", 12.5)
    assert (settings.max_tokens, settings.price_in, settings.price_out) == (800, 0.15, 0.6)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENAI_BASE_URL", "127.0.0.1:8000"),
        ("OPENAI_BASE_URL", "ftp://example.org"),
        ("OPENAI_BASE_URL", "http://"),
        ("OPENAI_BASE_URL", "http://host:99999999/v1"),
        ("OPENAI_BASE_URL", f"http://user:{KEY}@example.org/v1"),
        ("OPENAI_API_KEY", "two words"),
        ("OPENAI_API_KEY", "schlüssel"),
        ("LIMNER_CHAT_METHOD", "telepathy"),
        ("LIMNER_CHAT_TIMEOUT", "soon"),
        ("LIMNER_CHAT_TIMEOUT", "-1"),
        ("LIMNER_CHAT_PRICE_IN", "inf"),
        ("LIMNER_CHAT_MAX_TOKENS", "nan"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(name, value):
    with pytest.raises(BadInput, match=name) as caught:
        ChatSettings.from_env({name: value})
    assert KEY not in str(caught.value)


def test_max_tokens_is_sent_only_where_set(server, open_server_chat):
    server.always = answer(TOM)
    open_server_chat().ask(QUESTION, Pet)
    open_server_chat(max_tokens=300).ask(QUESTION, Pet)
    assert "max_completion_tokens" not in server.requests[0].body
    assert server.requests[1].body["max_completion_tokens"] == 300
