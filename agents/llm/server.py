"""Chat models on OpenAI-compatible servers, behind `ask(messages, Schema) -> Schema`.

Every answer is untrusted: limited in size and time, validated, repaired once, else NoAnswer. This module repeats requests itself instead of
the client library, so that each one is counted and charged.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

from pydantic import BaseModel, SecretStr, ValidationError

from limner.agents import guard
from limner.agents.llm import offline
from limner.agents.llm.base import Answer, ChatModel, Message, NoAnswer, Usage
from limner.agents.llm.offline import OfflineChat
from limner.agents.llm.settings import ChatSettings
from limner.promptdb.errors import BadInput
from limner.promptdb.records import content_id
from limner.tools.budget import Budget
from limner.tools.http_client import Failed, TooMuch, bounded_client, discreet, repeated

ENVELOPE = 65_536  # bytes that a reply may need around the answer's own text
STREAMED = 600  # bytes that a streamed character may need: a token may be one, and each comes in an envelope of its own

__all__ = ["AnswerCache", "ChatSettings", "ServerChat", "answer_key", "open_chat"]


class AnswerCache(Protocol):
    """Stores valid answers, so that no question is asked twice; PromptDB implements it."""

    def stored_answer(self, key: str) -> str | None:
        """Returns the stored answer, as JSON, or None."""

    def add_answer(self, key: str, model: str, answer_json: str) -> None:
        """Stores an answer of `model`."""


def open_chat(settings: ChatSettings, budget: Budget, answers: AnswerCache | None = None) -> ChatModel:
    """Returns the configured server's chat model; the offline stand-in where neither key nor base URL is set."""
    return ServerChat(settings, budget, answers) if settings.has_server else OfflineChat(offline.ALL_RULES)


def answer_key(model: str, messages: Sequence[Message], schema: type[BaseModel], temperature: float, seed: int | None) -> str:
    """Returns the content id of a question. Facts do not count, since a server never gets them."""
    turns = [[message.role, message.content] for message in messages]
    return content_id(["answer", model, turns, schema.__name__, schema.model_json_schema(), float(temperature), seed])


@dataclass(frozen=True, slots=True)
class _Reply:
    """A reply before validation. `refusal`: the server declined. `problem`: why `text` cannot be valid, where known."""

    text: str = ""
    refusal: str = ""
    problem: str = ""
    raw: Any = None


class ServerChat:
    """A chat model on an OpenAI-compatible server. Thread-safe.

    Raises NoAnswer for temporary failures and those of one question; BadInput for what only a person can correct (key refused, no such
    model, no structured output). `sleep` waits between repeats.
    """

    def __init__(
        self,
        settings: ChatSettings,
        budget: Budget,
        answers: AnswerCache | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = settings.model
        self.parallel = settings.parallel
        self.usage = Usage(cost_usd=None if settings.price_in is None and settings.price_out is None else 0.0)
        self._settings = settings
        self._budget = budget
        self._answers = answers
        self._sleep = sleep
        self._lock = threading.Lock()
        self._http: Any = None
        self._models: dict[float, Any] = {}

    def ask(self, messages: Sequence[Message], schema: type[Answer], *, temperature: float = 0.0, seed: int | None = None) -> Answer:
        """Returns an answer that fits `schema`; a stored answer to the same question is free, so vary `seed` to get another.

        Raises NoAnswer, BudgetSpent, BadInput.
        """
        key = answer_key(self.name, messages, schema, temperature, seed)
        if (known := self._stored(key, schema)) is not None:
            return known
        turns: list[tuple[str, str]] = [(message.role, message.content) for message in messages]
        answer, reply, problem = self._attempt(turns, schema, temperature, seed)
        if answer is None:
            said = guard.clean(reply.text)[:2000]
            echo = [("assistant", said)] if said else []
            demand = f"That was no valid answer: {problem}. Answer again with one JSON object that fits the schema, and nothing else."
            answer, _, problem = self._attempt([*turns, *echo, ("user", demand)], schema, temperature, seed)
            if answer is None:
                self._count(rejected=1)
                raise NoAnswer(self._discreet(f"{self.name} gave no valid {schema.__name__}: {problem}"))
            self._count(repaired=1)
        if self._answers is not None:
            self._answers.add_answer(key, self.name, answer.model_dump_json())
        return answer

    def _stored(self, key: str, schema: type[Answer]) -> Answer | None:
        text = self._answers.stored_answer(key) if self._answers is not None else None
        try:
            return None if text is None else schema.model_validate_json(text)
        except ValidationError:
            return None

    def _attempt(
        self, turns: list[tuple[str, str]], schema: type[Answer], temperature: float, seed: int | None
    ) -> tuple[Answer | None, _Reply, str]:
        """Returns a valid answer, or None with the reply and what is wrong with it.

        Raises NoAnswer for a refusal: asking again costs calls and rarely helps.
        """
        runnable = self._structured(schema, temperature, seed)
        reply = self._request(lambda: self._read(runnable.invoke(turns)["raw"]))
        problem = reply.problem or ("it was empty" if not reply.text.strip() else "")
        if not problem and len(reply.text) > self._settings.max_answer_chars:
            problem = f"it was longer than {self._settings.max_answer_chars} characters"
        if not reply.refusal and not problem:
            try:
                return _validated(schema, reply.text), reply, ""
            except ValidationError as error:
                problem = _readable(error)
        if reply.refusal or guard.is_refusal(reply.text):
            self._count(rejected=1)
            raise NoAnswer(self._discreet(f"{self.name} refused: {guard.shown(reply.refusal or reply.text)}"))
        return None, reply, problem

    def consult(self, messages: Sequence[Any], tools: Sequence[Any], on_text: Callable[[str], None] | None = None) -> Any:
        """Makes one turn of a conversation with tools: takes langchain messages and tools, returns the AIMessage, unexecuted and untrusted.

        `on_text` is called with all of the turn's text so far whenever more arrives; after a broken stream it may start over. Raises
        NoAnswer where no turn came or it was too long, BudgetSpent, BadInput.
        """
        model = self._chat_openai(0.0).bind_tools(tools)
        if on_text is None:
            reply = self._request(lambda: self._read(model.invoke(messages)))
        else:
            reply = self._request(lambda: self._read(self._streamed(model, messages, on_text)))
        if reply.raw is None or len(reply.text) > self._settings.max_answer_chars:
            raise NoAnswer(self._discreet(f"{self.name} gave no usable turn: {reply.problem or 'it was too long'}"))
        return reply.raw

    def _streamed(self, model: Any, messages: Sequence[Any], on_text: Callable[[str], None]) -> Any:
        """Returns a streamed message as a whole. Raises TooMuch once it is too long, and ValueError where nothing came."""
        from langchain_core.messages import message_chunk_to_message

        whole: Any = None
        for chunk in model.stream(messages, stream_usage=True):
            whole = chunk if whole is None else whole + chunk
            if chunk.text:
                text = str(whole.text)
                if len(text) > self._settings.max_answer_chars:
                    raise TooMuch
                on_text(text)
        if whole is None:
            raise ValueError("the stream was empty")
        return message_chunk_to_message(whole)

    def _request(self, send: Callable[[], _Reply]) -> _Reply:
        """One reply; each request for it is spent before it is sent. Raises NoAnswer, BadInput, BudgetSpent."""

        def attempt(number: int) -> _Reply:
            self._budget.spend(llm_calls=1, usd=0)
            self._count(calls=1, retried=int(number > 1))
            with self._mending():
                return self._replied(send)

        try:
            return repeated(attempt, self._settings.retries + 1, self._sleep, lambda: self._budget.left("seconds"))
        except Failed as error:
            times = "once" if error.requests == 1 else f"{error.requests} times"
            where = f"no answer from {self.name} at {self._settings.url}, asked {times}"
            raise NoAnswer(self._discreet(f"{where}: {error.reason}")) from None

    def _replied(self, send: Callable[[], _Reply]) -> _Reply:
        """What came, or why there is nothing to be had by asking the same again."""
        import openai

        try:
            return send()
        except openai.LengthFinishReasonError as error:
            usage, choices = error.completion.usage, error.completion.choices
            self._count_tokens(usage.model_dump() if usage else {}, "prompt_tokens", "completion_tokens")
            return _Reply((choices and choices[0].message.content) or "", problem="it was cut off at the length limit, so be brief")
        except TooMuch:
            return _Reply(problem=f"it was longer than {self._settings.max_answer_chars} characters")
        except openai.ContentFilterFinishReasonError:
            return _Reply(refusal="stopped by the server's content filter")

    @contextmanager
    def _mending(self) -> Iterator[None]:
        """Turns errors that only a person can correct into BadInput, without the server's own words, which may quote the key."""
        import openai

        server, model = self._settings.url, self.name
        try:
            yield
        except openai.AuthenticationError:
            what = "refused the key" if self._settings.api_key else "wants a key"
            raise BadInput(f"the chat server at {server} {what} (status 401): set OPENAI_API_KEY to a valid one") from None
        except openai.PermissionDeniedError:
            raise BadInput(
                f"the chat server at {server} forbids {model!r} to this key (status 403): check OPENAI_API_KEY and LIMNER_CHAT_MODEL"
            ) from None
        except openai.NotFoundError:
            raise BadInput(
                f"the chat server at {server} knows no model {model!r} (status 404): check LIMNER_CHAT_MODEL and OPENAI_BASE_URL"
            ) from None
        except openai.BadRequestError as error:
            if self._settings.method == "json_schema" and any(word in error.message for word in ("response_format", "json_schema")):
                raise BadInput(f"{model!r} at {server} cannot answer by JSON schema: set LIMNER_CHAT_METHOD=function_calling") from None
            raise

    def _structured(self, schema: type[BaseModel], temperature: float, seed: int | None) -> Any:
        """Passes the schema as JSON, not as a class: with a class the client library parses inside the request and raises on a bad answer,
        which loses the answer's text and its token count.
        """
        from langchain_core.utils.function_calling import convert_to_openai_tool

        function = convert_to_openai_tool(schema, strict=True)["function"]
        if self._settings.method == "json_schema":
            function["schema"] = function.pop("parameters")
        extra: dict[str, Any] = {} if seed is None else {"seed": seed}
        model = self._chat_openai(temperature)
        return model.with_structured_output(function, method=self._settings.method, include_raw=True, strict=True, **extra)

    def _chat_openai(self, temperature: float) -> Any:
        from langchain_openai import ChatOpenAI

        settings = self._settings
        with self._lock:
            if self._http is None:
                limit = ENVELOPE + 8 * settings.max_answer_chars  # JSON may write one character in six bytes
                streamed = ENVELOPE + STREAMED * settings.max_answer_chars
                self._http = bounded_client(settings.timeout, settings.connect_timeout, limit, streamed)
            if temperature not in self._models:
                self._models[temperature] = ChatOpenAI(
                    model=settings.model,
                    base_url=settings.url,
                    api_key=settings.api_key or SecretStr("none"),
                    temperature=temperature,
                    max_completion_tokens=settings.max_tokens,
                    max_retries=0,
                    timeout=self._http.timeout,
                    http_client=self._http,
                    use_responses_api=False if settings.base_url else None,
                )
            return self._models[temperature]

    def _read(self, raw: Any) -> _Reply:
        self._count_tokens(raw.usage_metadata or {}, "input_tokens", "output_tokens")
        text = str(raw.text)
        if raw.tool_calls:
            text = json.dumps(raw.tool_calls[0]["args"])
        elif raw.invalid_tool_calls:
            text = raw.invalid_tool_calls[0]["args"] or ""
        return _Reply(text, refusal=str(raw.additional_kwargs.get("refusal") or ""), raw=raw)

    def _count(self, **amounts: float) -> None:
        self.usage.count(**amounts)
        self._budget.note()

    def _count_tokens(self, usage: Mapping[str, Any], prompt: str, completion: str) -> None:
        tokens_in, tokens_out = usage.get(prompt) or 0, usage.get(completion) or 0
        cost = (tokens_in * (self._settings.price_in or 0) + tokens_out * (self._settings.price_out or 0)) / 1e6
        if cost:
            self._budget.charge(usd=cost)
        priced = {} if self.usage.cost_usd is None else {"cost_usd": cost}
        self._count(prompt_tokens=tokens_in, completion_tokens=tokens_out, **priced)

    def _discreet(self, text: str) -> str:
        """Returns one line of at most 300 characters, with the key masked in case a server echoed it."""
        key = self._settings.api_key
        return discreet(text, key.get_secret_value() if key else "")


def _validated(schema: type[Answer], text: str) -> Answer:
    """Returns the answer parsed from JSON, else from plain text by the schema's `from_text`, if it has one. Raises ValidationError."""
    try:
        return schema.model_validate_json(_json_object(text))
    except ValidationError:
        reader = getattr(schema, "from_text", None)
        if reader is None or (found := reader(guard.clean(text))) is None:
            raise
        return cast(Answer, found)


def _json_object(text: str) -> str:
    """Returns the JSON object inside an answer: servers without constrained decoding wrap it in thoughts, fences or prose."""
    text = guard.clean(text)
    start, end = text.find("{"), text.rfind("}")
    return text[start : end + 1] if 0 <= start < end else text


def _readable(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, detail['loc'])) or 'the answer'}: {detail['msg']}" for detail in details[:3])
