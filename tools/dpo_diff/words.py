"""A prompt as words and what stands between them; nothing is lost: joined again it is the same text, character for character."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


@dataclass(frozen=True, slots=True)
class Words:
    """`separators` holds one more than `words`: before the first, between them, after the last."""

    words: tuple[str, ...]
    separators: tuple[str, ...]

    @classmethod
    def split(cls, text: str) -> Words:
        """A word is a run of letters and digits, with apostrophes and hyphens inside; everything else separates."""
        words, separators, end = [], [], 0
        for match in _WORD.finditer(text):
            separators.append(text[end : match.start()])
            words.append(match.group())
            end = match.end()
        return cls(tuple(words), (*separators, text[end:]))

    def join(self) -> str:
        return self.separators[0] + "".join(word + after for word, after in zip(self.words, self.separators[1:], strict=True))

    def between(self, start: int, end: int) -> str:
        """The text of words start..end-1 with the separators inside."""
        inner = "".join(word + after for word, after in zip(self.words[start : end - 1], self.separators[start + 1 : end], strict=True))
        return inner + self.words[end - 1]

    def places(self, phrase: str) -> tuple[tuple[int, int], ...]:
        """(start, end) of every occurrence of a phrase's words in a row, whatever the case and the separators."""
        wanted = tuple(word.lower() for word in Words.split(phrase).words)
        lower = tuple(word.lower() for word in self.words)
        length = len(wanted)
        starts = range(len(lower) - length + 1) if length else range(0)
        return tuple((start, start + length) for start in starts if lower[start : start + length] == wanted)

    def pinned(self, pins: Sequence[str]) -> frozenset[int]:
        """The indices of words that belong to an occurrence of a pin."""
        return frozenset(index for pin in pins for start, end in self.places(pin) for index in range(start, end))
