"""A question, what answers it, and what a chat client of the tests is given."""

from __future__ import annotations

from pydantic import BaseModel, Field

from limner.agents.llm.base import Message

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
