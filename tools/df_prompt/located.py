"""What is wrong with a prompt, and where."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from promptdb.errors import BadInput

CONTEXT = 24  # characters shown on either side of the place


@dataclass(frozen=True, slots=True)
class Problem:
    """`at`: character offset into the prompt, whose outer blanks are gone. `reason`: what is wrong and how to mend it, one line."""

    at: int
    reason: str


class LocatedError(BadInput):
    """A prompt that cannot be read. The message is one line with the character (from 1) and the place; `shown` has a caret under it."""

    def __init__(self, source: str, problem: Problem) -> None:
        self.source, self.problem = source, problem
        before, after = _excerpt(source, problem.at)
        super().__init__(f"character {problem.at + 1}: {problem.reason} (here: {before}⟨{after[:1] or 'the end'}⟩{after[1:]})")

    @property
    def at(self) -> int:
        return self.problem.at

    @property
    def shown(self) -> str:
        """Two lines: the place in the prompt, and a caret below it."""
        before, after = _excerpt(self.source, self.at)
        return f"{before}{after}\n{' ' * _columns(before)}^"


def _excerpt(source: str, at: int) -> tuple[str, str]:
    before, after = source[max(0, at - CONTEXT) : at], source[at : at + CONTEXT]
    before = ("…" if at > CONTEXT else "") + before
    after += "…" if at + CONTEXT < len(source) else ""
    return _one_line(before), _one_line(after)


def _one_line(text: str) -> str:
    """One character for one, so that places stay: blanks and control characters as a blank."""
    return "".join(" " if char.isspace() or unicodedata.category(char)[0] == "C" else char for char in text)


def _columns(text: str) -> int:
    """Columns of a terminal that `text` takes."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) != 0 for char in text)
