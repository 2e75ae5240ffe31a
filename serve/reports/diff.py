"""Which words a prompt gained and lost. Pure text; knows nothing of pages or colours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of words; those `removed` stand only in the first text, those `added` only in the second."""

    kind: Literal["same", "added", "removed"]
    text: str


def word_diff(before: str, after: str) -> list[Piece]:
    """The second text with what is new in it, and what is gone from the first, in reading order. Case and sentence marks are no change."""
    old, new = before.split(), after.split()
    matcher = SequenceMatcher(None, [_bare(word) for word in old], [_bare(word) for word in new], autojunk=False)
    pieces: list[Piece] = []
    for change, start, end, new_start, new_end in matcher.get_opcodes():
        same = change == "equal"
        if not same and end > start:
            pieces.append(Piece("removed", " ".join(old[start:end])))
        if new_end > new_start:
            pieces.append(Piece("same" if same else "added", " ".join(new[new_start:new_end])))
    return pieces


def _bare(word: str) -> str:
    return re.sub(r"^\W+|\W+$", "", word).casefold() or word
