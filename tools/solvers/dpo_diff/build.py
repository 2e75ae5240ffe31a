"""Builds search spaces: which words of a prompt get a slot, and with which candidates.

A space is named by its parts joined with `+`, such as `antonym+library`: synonyms replace words of the prompt, antonyms and the
library go into the negative prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning
from limner.tools.lexicon.lexicon import WordSource
from limner.tools.solvers.dpo_diff.settings import unknown_space
from limner.tools.solvers.dpo_diff.space import LIBRARY, Slot, Space, Words

LONGEST_PHRASE = 6  # words of a prompt that are looked up together, as in "stop sign" or "on the sand by the sea"

Lookup = Callable[[str], Sequence[str]]


def build_space(given: Conditioning, name: str, source: WordSource, pins: Sequence[str] = ()) -> Space:
    """Returns the space called `name` of a conditioning. Pinned words get no slot and never enter the negative prompt.

    The space has no slots where no word has a candidate. Raises BadInput for an unknown name.
    """
    if why := unknown_space(name):
        raise BadInput(why)
    parts = name.split("+")
    words = Words.split(given.text)
    slots: list[Slot] = []
    if "synonym" in parts:
        slots += synonym_slots(words, source.synonyms, pins)
    if "antonym" in parts:
        slots += antonym_slots(words, source.antonyms, pins)
    # A prompt of punctuation alone gives nothing to search.
    if "library" in parts and words.words:
        slots += library_slots(words, pins)
    return Space(given, words, tuple(slots))


def synonym_slots(words: Words, lookup: Lookup, pins: Sequence[str] = ()) -> Iterator[Slot]:
    """Yields a positive slot for each word or phrase with candidates: the original first, capitals as in the original."""
    for start, end, found in _looked_up(words, lookup, pins):
        original = words.between(start, end)
        candidates = _distinct([original, *(_in_case_of(original, text) for text in found)])
        if len(candidates) > 1:
            yield Slot("positive", candidates, start, end, "synonym")


def antonym_slots(words: Words, lookup: Lookup, pins: Sequence[str] = ()) -> Iterator[Slot]:
    """Yields a negative slot for each word or phrase with opposites, in prompt order.

    Opposites that the prompt itself names are left out ("white" for "black and white"), and repeated words get one slot.
    """
    seen: set[str] = set()
    for start, end, found in _looked_up(words, lookup, pins):
        original = words.between(start, end).lower()
        candidates = _negative(words, found, pins)
        if len(candidates) > 1 and original not in seen:
            seen.add(original)
            yield Slot("negative", candidates, start, end, "antonym")


def library_slots(words: Words, pins: Sequence[str] = (), library: Sequence[Sequence[str]] = LIBRARY) -> Iterator[Slot]:
    """Yields a negative slot for each part of the library, without what the prompt names: no "sketch" for a pencil sketch."""
    for entries in library:
        candidates = _negative(words, entries, pins)
        if len(candidates) > 1:
            yield Slot("negative", candidates, origin="library")


def _looked_up(words: Words, lookup: Lookup, pins: Sequence[str]) -> Iterator[tuple[int, int, Sequence[str]]]:
    """Yields (start, end, candidates) for the longest phrases that have candidates; words inside them are not looked up again."""
    pinned, at = words.pinned(pins), 0
    while at < len(words.words):
        for length in range(min(LONGEST_PHRASE, len(words.words) - at), 0, -1):
            # Only a blank joins words into a phrase; a comma separates them.
            joined = all(separator == " " for separator in words.separators[at + 1 : at + length])
            if not joined or not pinned.isdisjoint(range(at, at + length)):
                continue
            if found := lookup(words.between(at, at + length)):
                yield at, at + length, found
                at += length - 1
                break
        at += 1


def _negative(words: Words, found: Sequence[str], pins: Sequence[str]) -> tuple[str, ...]:
    pinned = [Words.split(pin) for pin in pins]
    kept = [text for text in found if text.strip() and not words.places(text)]
    return _distinct(["", *(text for text in kept if not any(pin.places(text) or Words.split(text).places(pin.join()) for pin in pinned))])


def _distinct(candidates: Sequence[str]) -> tuple[str, ...]:
    """Returns the candidates without repeats in any case, and without empty ones except in the first place."""
    kept: dict[str, str] = {}
    for number, text in enumerate(candidates):
        text = " ".join(text.split()) if number else text
        if text or not number:
            kept.setdefault(text.lower(), text)
    return tuple(kept.values())


def _in_case_of(original: str, text: str) -> str:
    """Returns `text` in capitals for an original in capitals, capitalized for a capitalized one, else unchanged."""
    if len(original) > 1 and original.isupper():
        return text.upper()
    return text[:1].upper() + text[1:] if original[:1].isupper() else text
