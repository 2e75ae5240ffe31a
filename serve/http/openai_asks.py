"""What clients of OpenAI's API send, as far as it means something here; other fields are passed by, as every compatible server does."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from serve.service import limits
from serve.service.requests import Method, Name, Negative, Pin, Prompt

MODEL = "limner"
"""The name of the server's own checkpoint, as a model; any other that it offers goes by its own name."""


class OpenAiAsk(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    model: Name = MODEL


class ImagesAsk(OpenAiAsk):
    """`refine` false draws the prompt as it is. `budget`, `method`, `pins`, `negative`, `seed`: Limner's own, for `extra_body`."""

    prompt: Prompt
    n: int | None = Field(default=1, ge=1, le=10)
    size: Annotated[str, StringConstraints(max_length=20)] | None = Field(
        default=None, description="pictures have the checkpoint's own size"
    )
    response_format: Literal["url", "b64_json"] | None = None
    refine: bool = True
    method: Method = "auto"
    budget: int | None = Field(default=None, ge=1)
    pins: list[Pin] = Field(default_factory=list, max_length=limits.PINS)
    negative: Negative = ""
    seed: int | None = Field(default=None, ge=0, lt=2**31)


class MessageAsk(BaseModel):
    model_config = ConfigDict(extra="ignore")

    role: Annotated[str, StringConstraints(max_length=40)]
    content: Annotated[str, StringConstraints(max_length=200_000)] | list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        """What was said; pictures and the like are left out."""
        if isinstance(self.content, str):
            return self.content
        parts = [part.get("text") for part in self.content or [] if part.get("type") == "text"]
        return "\n".join(part for part in parts if isinstance(part, str))


class ChatAsk(OpenAiAsk):
    messages: list[MessageAsk] = Field(min_length=1, max_length=1000)
    stream: bool | None = False
    n: int | None = Field(default=1, ge=1, le=1)

    @property
    def last(self) -> str:
        """What the person said last; empty where the last message is not theirs."""
        return self.messages[-1].text if self.messages[-1].role == "user" else ""
