"""A turn's reply, told in pieces: a line when it is composed, a chat model's words when they come. Decides nothing of what is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langgraph.runtime import Runtime

from agents import guard

LONGEST = 600  # characters of a chat model's answer in words


def spoken(text: str) -> str:
    """A chat model's words as they go into the reply."""
    return guard.clean(text)[:LONGEST]


class Told:
    """`text`: what was told of the reply so far. Only what goes on from it is told; the whole reply comes at the turn's end anyway."""

    def __init__(self, runtime: Runtime[Any], text: str) -> None:
        self._runtime, self.text = runtime, text

    def go_on(self, reply: str) -> None:
        """Tell what is new of the reply as it stands now."""
        if len(reply) > len(self.text) and reply.startswith(self.text):
            self._runtime.stream_writer({"kind": "words", "text": reply[len(self.text) :]})
            self.text = reply

    def hear(self, before: Sequence[str], text: str) -> None:
        """Tell what a chat model has said by now, behind the lines `before`: nothing while it thinks or may yet turn out to be wrapping."""
        if not _unfinished(text):
            self.go_on("\n".join([*before, spoken(text).rstrip()]))


def tell_lines(runtime: Runtime[Any], told: str, lines: Sequence[str]) -> str:
    """Tell the lines that were composed since; returns what is told by now."""
    saying = Told(runtime, told)
    saying.go_on("\n".join(lines))
    return saying.text


def _unfinished(text: str) -> bool:
    """Whether it may begin with what is no part of the answer: a thought that is not closed, a fence, a quotation mark, a label."""
    start = text.lstrip().lower()
    if start.startswith("<think>"):
        return "</think>" not in start
    return "<think>".startswith(start) or start[:1] in "`\"'“‘«「*_#>" or (":" not in start and len(start) < 12 and start in _LABELS)


_LABELS = ("prompt", "answer", "output", "positive", "keywords", "tags")
