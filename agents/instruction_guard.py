"""Refuses what must not become an instruction: empties, refusals, preambles, over-long texts, near duplicates, talk of one subject."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from agents import guard
from agents.directives import read
from agents.guard import Verdict

MOST_WORDS = 200
ALIKE = 0.9  # share of words in common from which two instructions are one
LONGEST_COMMON = 3  # words of a subject in a row, fewer for shorter subjects, that make an instruction be about it


def check_instruction(text: str, parent: str, seen: Iterable[str] = (), subjects: Sequence[str] = ()) -> Verdict:
    """Whether `text` may stand as an instruction made from `parent`.

    `seen`: instructions of the run, dropped ones included. `subjects`: prompts of the rows that it was made from; what the parent
    already says of them is not held against it.
    """
    verdict = guard.check(text, parent)
    if not verdict.ok:
        return verdict
    if len(text.split()) > MOST_WORDS:
        return Verdict(False, "over-long", f"{len(text.split())} words, {MOST_WORDS} allowed")
    for other in seen:
        if guard.key(text) == guard.key(other) or _likeness(text, other) > ALIKE:
            return Verdict(False, "duplicate", f"already there: {guard.shown(other)}")
    for subject in subjects:
        if (phrase := _shared_phrase(text, subject)) and not guard.holds(parent, phrase):
            return Verdict(False, "one subject", f"is about one subject ({phrase})")
    return Verdict(True)


def _likeness(text: str, other: str) -> float:
    """Words in common over words in either (Jaccard); 0 where their directives differ, however few words those are."""
    if read(text) != read(other):
        return 0.0
    one, two = (set(re.findall(r"\w+", item.casefold())) for item in (text, other))
    return len(one & two) / len(one | two) if one | two else 1.0


def _shared_phrase(text: str, subject: str) -> str:
    words = re.findall(r"[\w'-]+", subject.casefold())
    length = min(LONGEST_COMMON, len(words))
    phrases = [" ".join(words[start : start + length]) for start in range(len(words) - length + 1)] if length > 1 else words[:0]
    return next((phrase for phrase in phrases if guard.holds(text, phrase)), "")
