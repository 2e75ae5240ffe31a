"""Divides the tokens of a text into chunks that fit the text encoder's window, as the tools do in which such prompts are written.

A1111 ends a chunk after the last comma where one stands near its end; ComfyUI keeps short words whole; compel ends a chunk with a
sentence, else with a phrase, else with a word. All of them encode the chunks one by one and lay their embeddings side by side. Sources:
stable-diffusion-webui, modules/sd_hijack_clip.py; ComfyUI, comfy/sd1_clip.py; compel 2.5, src/compel/embeddings_provider.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from limner.promptdb.records import Chunking

MOST_CHUNKS = 32
"""Chunks of one prompt; attention to 2,400 tokens still works, and no prompt that people write is as long."""

BACKTRACK = 20
"""A1111's default: how many tokens before a chunk's end a comma may stand for the chunk to end after it."""

LONG_WORD = 8
"""ComfyUI divides a word of at least so many tokens, and moves a shorter one to the next chunk."""


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """One token: its id, its piece of the vocabulary, and the characters `start`..`end` of the text that it reads."""

    id: int
    piece: str
    start: int
    end: int


WORD_END = "</w>"
COMMA = f",{WORD_END}"
PHRASE_ENDS = tuple(mark + WORD_END for mark in ".,;:")
SENTENCE_END = f".{WORD_END}"


def chunks(text: str, tokens: Sequence[TokenPlace], breaks: Sequence[int], chunking: Chunking, room: int) -> list[range]:
    """Returns the tokens of each chunk as a range of indices into `tokens`; at least one chunk, which may be empty.

    `breaks`: offsets into the text at which a chunk begins; one at 0 leaves the first chunk empty. `room`: tokens in a chunk, without start
    and end marks.
    """
    borders = [0, *(next((at for at, token in enumerate(tokens) if token.start >= place), len(tokens)) for place in breaks), len(tokens)]
    found = list[range]()
    for start, stop in pairwise(borders):
        piece = range(start, stop)
        if chunking == "comma":
            found += _after_commas(tokens, piece, room)
        elif chunking == "word":
            found += _between_words(text, tokens, piece, room)
        else:
            found += _after_sentences(tokens, piece, room)
    return found


def _after_commas(tokens: Sequence[TokenPlace], piece: range, room: int) -> Iterator[range]:
    start, last_comma = piece.start, -1
    for at in piece:
        if tokens[at].piece == COMMA:
            last_comma = at
        elif at - start == room and last_comma >= start and at - last_comma <= BACKTRACK:
            yield range(start, last_comma + 1)
            start, last_comma = last_comma + 1, -1
        if at - start == room:
            yield range(start, at)
            start, last_comma = at, -1
    yield range(start, piece.stop)


def _between_words(text: str, tokens: Sequence[TokenPlace], piece: range, room: int) -> Iterator[range]:
    start = piece.start
    for word in _words(text, tokens, piece):
        if word.stop - start <= room:
            continue
        if len(word) < LONG_WORD:
            yield range(start, word.start)
            start = word.start
        while word.stop - start > room:
            yield range(start, start + room)
            start += room
    yield range(start, piece.stop)


def _after_sentences(tokens: Sequence[TokenPlace], piece: range, room: int) -> Iterator[range]:
    start = piece.start
    while piece.stop - start > room:
        window = range(start, start + room)
        ends = (
            next((at + 1 for at in reversed(window) if is_end(tokens[at].piece)), None)
            for is_end in (SENTENCE_END.__eq__, PHRASE_ENDS.__contains__, lambda token: token.endswith(WORD_END))
        )
        end = next((end for end in ends if end), window.stop)
        yield range(start, end)
        start = end
    yield range(start, piece.stop)


def _words(text: str, tokens: Sequence[TokenPlace], piece: range) -> Iterator[range]:
    """Yields the tokens of each run of characters without a blank."""
    start = piece.start
    for at in piece[1:]:
        between = text[tokens[at - 1].start : tokens[at].start + 1]
        if any(char.isspace() for char in between):
            yield range(start, at)
            start = at
    if piece:
        yield range(start, piece.stop)
