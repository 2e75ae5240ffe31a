"""The actions that a person can ask for in a conversation: one vocabulary for the rules, the chat model's tools and structured replies.

An action says what is wanted, not how it is done. It is flat, so that any server's structured output supports it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal[
    "describe",
    "accept",
    "pick",
    "more",
    "change",
    "remove",
    "style",
    "pin",
    "unpin",
    "ban",
    "allow",
    "trait",
    "trigger",
    "undo",
    "checkpoint",
    "solve",
    "cap",
    "compare",
    "vote",
    "find",
    "status",
    "help",
    "unclear",
]

Side = Literal["left", "right", "tie"]


class Action(BaseModel):
    """One wish. Which fields count depends on `kind`:

    describe: text, the request in the person's words. accept, pick, more: image (None: the one talked about; 0: the best). change: `old` to
    be replaced by `new` in the request (`old` empty: add or find the place; `aspect` says what it is: colour, place or subject), words to
    keep. remove: words. style: text. pin, unpin, ban, allow, trait, trigger: words. undo: turn (to go back to), or steps. checkpoint:
    text. solve: method, images (budget). cap: images. compare: image, other. vote: choice. find: text. unclear: text, what to ask back.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Kind
    text: str = ""
    words: list[str] = Field(default_factory=list)
    image: int | None = None
    other: int | None = None
    old: str = ""
    new: str = ""
    aspect: str = ""
    turn: int | None = None
    steps: int = 1
    method: str = ""
    images: int | None = None
    choice: Side | None = None


class Situation(BaseModel):
    """What the person sees while writing, which decides what "2", "the left one" or "it" can mean."""

    model_config = ConfigDict(frozen=True)

    request: str = ""
    shown: int = 0
    comparing: bool = False
    asked: str = ""
    methods: list[str] = Field(default_factory=list)
    checkpoints: list[str] = Field(default_factory=list)
