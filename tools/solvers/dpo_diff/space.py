"""The search space of DPO-Diff: the slots of a prompt and of its negative prompt, their candidates, and the text of a choice.

A choice is an index for each slot; 0 changes nothing, so the choice of all zeros is the given conditioning. A prompt is split into words
and separators; joined they give the same text, character for character. The negative library (common words of negative prompts, whatever
the picture, in four slots) is this project's own list: the paper's code has such a space beside the antonyms ("NPLib"), which its text does
not name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from limner.promptdb.records import Conditioning

LIBRARY: tuple[tuple[str, ...], ...] = (
    (  # how well it is made
        "blurry", "low quality", "worst quality", "out of focus", "grainy", "pixelated", "jpeg artifacts", "low resolution", "noisy",
        "unfinished", "amateurish", "sloppy", "smudged", "compressed",
    ),
    (  # what is where
        "cropped", "out of frame", "cluttered", "duplicate", "distorted", "deformed", "disfigured", "extra limbs", "missing parts",
        "merged objects", "tilted", "crowded", "empty", "off-center",
    ),
    (  # light and colour
        "dull colors", "washed out", "overexposed", "underexposed", "too bright", "too dark", "faded", "oversaturated", "monochrome",
        "flat lighting", "harsh shadows", "muddy colors", "hazy", "low contrast",
    ),
    (  # what it looks like as a whole
        "watermark", "text", "signature", "logo", "border", "frame", "collage", "cartoon", "sketch", "painting", "3d render", "plastic",
        "surreal", "plain",
    ),
)  # fmt: skip
"""One tuple a slot, the most general terms first; single words and phrases of at most two words."""


_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


@dataclass(frozen=True, slots=True)
class Words:
    """A text as words and separators. `separators` has one more item than `words`: before the first, between them, after the last."""

    words: tuple[str, ...]
    separators: tuple[str, ...]

    @classmethod
    def split(cls, text: str) -> Words:
        """Splits a text. A word is a run of letters and digits, with apostrophes and hyphens inside; everything else separates."""
        words, separators, end = [], [], 0
        for match in _WORD.finditer(text):
            separators.append(text[end : match.start()])
            words.append(match.group())
            end = match.end()
        return cls(tuple(words), (*separators, text[end:]))

    def join(self) -> str:
        """Returns the text, character for character."""
        return self.separators[0] + "".join(word + after for word, after in zip(self.words, self.separators[1:], strict=True))

    def between(self, start: int, end: int) -> str:
        """Returns the text of words start..end-1 with the separators inside."""
        inner = "".join(word + after for word, after in zip(self.words[start : end - 1], self.separators[start + 1 : end], strict=True))
        return inner + self.words[end - 1]

    def places(self, phrase: str) -> tuple[tuple[int, int], ...]:
        """Returns (start, end) of every occurrence of a phrase's words in a row, ignoring case and separators."""
        wanted = tuple(word.lower() for word in Words.split(phrase).words)
        lower = tuple(word.lower() for word in self.words)
        length = len(wanted)
        starts = range(len(lower) - length + 1) if length else range(0)
        return tuple((start, start + length) for start in starts if lower[start : start + length] == wanted)

    def pinned(self, pins: Sequence[str]) -> frozenset[int]:
        """Returns the indices of words that belong to an occurrence of a pin."""
        return frozenset(index for pin in pins for start, end in self.places(pin) for index in range(start, end))


Side = Literal["positive", "negative"]

COMMA = ", "


@dataclass(frozen=True, slots=True)
class Slot:
    """One decision. Candidate 0 changes nothing: it is the original words on the positive side and empty on the negative.

    `start`, `end`: the words of the prompt that a positive slot replaces, or whose opposite a negative one holds; equal for neither.
    Candidates are distinct in lower case, and only a negative slot's first is empty. Raises ValueError otherwise.
    """

    side: Side
    candidates: tuple[str, ...]
    start: int = 0
    end: int = 0
    origin: str = ""

    def __post_init__(self) -> None:
        folded = [candidate.lower() for candidate in self.candidates]
        if len(folded) < 2 or len(set(folded)) != len(folded):
            raise ValueError(f"a slot needs two candidates or more, each once, not {self.candidates}")
        if (self.side == "negative") != (self.candidates[0] == "") or not all(text.strip() for text in self.candidates[1:]):
            raise ValueError(f"only the first candidate of a negative slot is empty, and it must be: {self.candidates}")
        if self.side == "positive" and not self.start < self.end:
            raise ValueError("a positive slot replaces at least one word")


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of text: fixed, or chosen by slot number `slot`. Soft prompts mix only pieces with a slot."""

    text: str
    slot: int | None = None


@dataclass(frozen=True)
class Space:
    """The slots of one conditioning: positive ones first, in prompt order, then negative ones.

    `given`: the user's conditioning, whose negative prompt stays in front of what is added. Raises ValueError for overlapping slots, and
    for effect spans on a searched side, whose offsets a substitution would move.
    """

    given: Conditioning
    words: Words
    slots: tuple[Slot, ...] = ()

    def __post_init__(self) -> None:
        positive = [slot for slot in self.slots if slot.side == "positive"]
        if list(self.slots[: len(positive)]) != positive or sorted(positive, key=lambda slot: slot.start) != positive:
            raise ValueError("positive slots come first, in prompt order")
        for left, right in pairwise(positive):
            if right.start < left.end:
                raise ValueError(f"two slots share word {right.start}")
        if any(slot.candidates[0] != self.words.between(slot.start, slot.end) for slot in positive):
            raise ValueError("the first candidate of a positive slot is the prompt's own text")
        if (positive and self.given.spans) or (len(positive) < len(self.slots) and self.given.negative_spans):
            raise ValueError("words cannot be searched in a prompt that has effect spans: search first, then add the spans")

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of candidates of each slot."""
        return tuple(len(slot.candidates) for slot in self.slots)

    @property
    def size(self) -> int:
        """The number of choices; 1 where nothing can be changed."""
        return math.prod(self.sizes)

    @property
    def identity(self) -> tuple[int, ...]:
        """The choice that changes nothing."""
        return (0,) * len(self.slots)

    def render(self, choice: Sequence[int]) -> Conditioning:
        """Returns the conditioning of a choice. Raises ValueError for a wrong length, IndexError for a candidate that does not exist."""
        if len(choice) != len(self.slots):
            raise ValueError(f"a choice among {len(self.slots)} slots has as many numbers, not {len(choice)}")
        if any(not 0 <= chosen < size for chosen, size in zip(choice, self.sizes, strict=True)):
            raise IndexError(f"{tuple(choice)} lies outside the slots' sizes {self.sizes}")
        text = "".join(piece.text for piece in self.positive_pieces(choice))
        negative = "".join(piece.text for piece in self.negative_pieces(choice))
        return replace(self.given, text=text, negative=negative)

    def positive_pieces(self, choice: Sequence[int]) -> tuple[Piece, ...]:
        """Returns the prompt under a choice as non-empty pieces in reading order, with separators among the fixed pieces."""
        pieces, at = [Piece(self.words.separators[0])], 0
        for number, slot in enumerate(self.slots):
            if slot.side == "positive":
                pieces += self._fixed(at, slot.start)
                pieces += [Piece(slot.candidates[choice[number]], number), Piece(self.words.separators[slot.end])]
                at = slot.end
        pieces += self._fixed(at, len(self.words.words))
        return tuple(piece for piece in pieces if piece.text)

    def negative_pieces(self, choice: Sequence[int]) -> tuple[Piece, ...]:
        """Returns the negative prompt under a choice: the given one, then the chosen words, joined by commas, without empty or repeated
        ones.
        """
        pieces = [Piece(self.given.negative)] if self.given.negative else []
        said = {part.strip().lower() for part in self.given.negative.split(",")}
        for number, slot in enumerate(self.slots):
            chosen = slot.candidates[choice[number]] if slot.side == "negative" else ""
            if chosen and chosen.lower() not in said:
                said.add(chosen.lower())
                pieces += [Piece(COMMA), Piece(chosen, number)] if pieces else [Piece(chosen, number)]
        return tuple(pieces)

    def _fixed(self, start: int, end: int) -> Iterator[Piece]:
        for index in range(start, end):
            yield Piece(self.words.words[index])
            yield Piece(self.words.separators[index + 1])
