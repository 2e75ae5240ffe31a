"""The settings of a chat model: parsed from the environment once, validated, immutable."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import urlsplit

from pydantic import SecretStr

from limner.promptdb.errors import BadInput

OPENAI_URL = "https://api.openai.com/v1"
DEFAULT_MODEL = "gpt-4o-mini"
DEFAULT_TIMEOUT = 60.0  # seconds for a whole answer
DEFAULT_PARALLEL = 4  # requests that small local servers handle without long queues

Method = Literal["json_schema", "function_calling"]


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """Which server and model, and the limits on requests.

    `api_key` is a SecretStr, so that no repr, log line or dump shows it. `method`: `json_schema` constrains decoding on OpenAI, vLLM,
    llama.cpp and Ollama; `function_calling` is for servers without it. `connect_timeout`: seconds. `timeout`: seconds for a whole answer.
    `retries`: repeats after a transport error. `max_answer_chars`: longer answers are rejected. `max_tokens`: sent to the server where set;
    None by default, because servers disagree on the parameter's name. `parallel`: simultaneous requests. `price_in`, `price_out`: US
    dollars per million tokens.
    """

    model: str = DEFAULT_MODEL
    base_url: str | None = None
    api_key: SecretStr | None = None
    method: Method = "json_schema"
    connect_timeout: float = 5.0
    timeout: float = DEFAULT_TIMEOUT
    retries: int = 3
    max_answer_chars: int = 20_000
    max_tokens: int | None = None
    parallel: int = DEFAULT_PARALLEL
    price_in: float | None = None
    price_out: float | None = None

    @property
    def has_server(self) -> bool:
        """Whether a server is configured; otherwise the offline stand-in answers."""
        return self.base_url is not None or self.api_key is not None

    @property
    def url(self) -> str:
        """The base URL of the server, OpenAI's by default."""
        return self.base_url or OPENAI_URL

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> ChatSettings:
        """Reads OPENAI_API_KEY, OPENAI_BASE_URL, LIMNER_CHAT_MODEL, and LIMNER_CHAT_METHOD, LIMNER_CHAT_TIMEOUT, LIMNER_CHAT_MAX_TOKENS,
        LIMNER_CHAT_PARALLEL, LIMNER_CHAT_PRICE_IN, LIMNER_CHAT_PRICE_OUT. Blank counts as unset.

        Raises BadInput that names the invalid variable.
        """
        key = env.get("OPENAI_API_KEY", "").strip()
        max_tokens = _number(env, "LIMNER_CHAT_MAX_TOKENS")
        return cls(
            model=env.get("LIMNER_CHAT_MODEL", "").strip() or DEFAULT_MODEL,
            base_url=_base_url(env.get("OPENAI_BASE_URL", "").strip()),
            api_key=SecretStr(_header_safe(key)) if key else None,
            method=_method(env.get("LIMNER_CHAT_METHOD", "").strip()),
            timeout=_number(env, "LIMNER_CHAT_TIMEOUT") or DEFAULT_TIMEOUT,
            max_tokens=None if max_tokens is None else max(1, int(max_tokens)),
            parallel=max(1, int(_number(env, "LIMNER_CHAT_PARALLEL") or DEFAULT_PARALLEL)),
            price_in=_number(env, "LIMNER_CHAT_PRICE_IN"),
            price_out=_number(env, "LIMNER_CHAT_PRICE_OUT"),
        )


def _base_url(text: str) -> str | None:
    if not text:
        return None
    try:
        parts = urlsplit(text)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        raise BadInput("OPENAI_BASE_URL is no web address (write it like http://127.0.0.1:8000/v1)") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_fine:
        raise BadInput(f"OPENAI_BASE_URL must be like http://127.0.0.1:8000/v1, not {text.split('@')[-1]!r}")
    if parts.username or parts.password:
        raise BadInput("OPENAI_BASE_URL must not hold a user name or password: they would show up in logs (put the key in OPENAI_API_KEY)")
    return text


def _header_safe(key: str) -> str:
    if not key.isascii() or not key.isprintable() or " " in key:
        raise BadInput("OPENAI_API_KEY holds blanks or characters that no key has (was it pasted whole, and nothing else?)")
    return key


def _method(text: str) -> Method:
    if text and text not in ("json_schema", "function_calling"):
        raise BadInput(f"LIMNER_CHAT_METHOD must be json_schema or function_calling, not {text!r}")
    return cast(Method, text or "json_schema")


def _number(env: Mapping[str, str], name: str) -> float | None:
    text = env.get(name, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise BadInput(f"{name} must be a number that is not negative, not {text!r}")
    return value
