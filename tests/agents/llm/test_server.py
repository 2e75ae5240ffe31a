"""The chat model against a real HTTP server: what goes over the wire, what is spent and stored, what it may be told."""

from __future__ import annotations

import dataclasses
import logging
import threading

import pytest
from pydantic import BaseModel, SecretStr

from limner.agents.llm.base import Message, NoAnswer
from limner.agents.llm.offline import OfflineChat
from limner.agents.llm.server import ChatSettings, open_chat
from limner.promptdb.errors import BadInput
from limner.tools.budget import Budget, BudgetSpent
from tests.agents.asking import KEY, QUESTION, TOM, Answers, Clock, Pet
from tests.chat_server import answer, completion, refusal, status

# What goes over the wire


def test_a_good_answer_is_validated_counted_and_priced(server, open_server_chat):
    server.script = [answer(TOM, tokens=(1000, 200))]
    budget = Budget()
    chat = open_server_chat(budget, price_in=0.5, price_out=2.0)
    assert chat.ask(QUESTION, Pet) == Pet(name="Tom", legs=4)
    assert budget.used()["llm_calls"] == 1
    assert (chat.usage.calls, chat.usage.prompt_tokens, chat.usage.completion_tokens) == (1, 1000, 200)
    assert chat.usage.cost_usd == budget.used()["usd"] == pytest.approx((1000 * 0.5 + 200 * 2.0) / 1e6)
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


# Budget


def test_no_request_is_sent_that_the_budget_does_not_allow(server, open_server_chat):
    server.always = status(500)
    budget = Budget(llm_calls=2)
    with pytest.raises(BudgetSpent):
        open_server_chat(budget).ask(QUESTION, Pet)
    assert len(server.requests) == 2 and budget.used()["llm_calls"] == 2


def test_no_request_is_sent_once_the_money_is_spent_and_what_the_last_answer_cost_is_counted(server, open_server_chat):
    server.always = answer(TOM, tokens=(1000, 200))
    budget = Budget(usd=0.001)
    chat = open_server_chat(budget, price_in=0.5, price_out=2.0)
    for seed in (1, 2):
        chat.ask(QUESTION, Pet, seed=seed)
    with pytest.raises(BudgetSpent, match="usd"):
        chat.ask(QUESTION, Pet, seed=3)
    assert len(server.requests) == 2 and budget.used()["usd"] == pytest.approx(0.0018)


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
    from limner.agents.llm.server import answer_key

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
