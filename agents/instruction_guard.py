"""Refuses what must not become an instruction: empties, refusals, preambles, over-long texts, near duplicates, talk of one subject."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from agents import guard
from agents.directives import read
from agents.guard import Verdict

MOST_WORDS = 200
MOST_CHARACTERS = 2000  # for scripts without blanks; the guard's own limit is one for prompts, and would vary with the parent's length
ALIKE = 0.9  # share of words in common from which two instructions are one
LONGEST_COMMON = 3  # words of a subject in a row, fewer for shorter subjects, that make an instruction be about it

_OPENING = re.compile(
    r"^\s*(?:as an? (?:\w+ ){0,2}prompt engineer|to (?:refine|improve|enhance|optimi[sz]e) (?:\w+ ){0,4}(?:prompt|text|image))\b[\s,:]*",
    re.IGNORECASE,
)
"""Gives a chat answer away where a prompt was asked for, but is how instructions begin."""

_ANY_PICTURE = (
    "a an the this that some of in on at by with without and or to for from into onto over under near next as like is are be being",
    "it its his her their he she they who which while has have having up down out off one",
    "photo photograph picture image painting drawing illustration portrait sketch render rendering art artwork style scene view shot",
    "angle background foreground light lighting",
)
_NO_SUBJECT = frozenset(word for line in _ANY_PICTURE for word in line.split())


def check_instruction(text: str, parent: str, seen: Iterable[str] = (), subjects: Sequence[str] = ()) -> Verdict:
    """Whether `text` may stand as an instruction made from `parent`.

    `seen`: instructions of the run, dropped ones included. `subjects`: prompts of the rows that it was made from; what the parent
    already says of them is not held against it.
    """
    verdict = guard.check(_OPENING.sub("", text), parent)
    if not verdict.ok and verdict.kind != "over-long":
        return verdict
    if len(text.split()) > MOST_WORDS or len(text) > MOST_CHARACTERS:
        said = f"{len(text.split())} words, {len(text)} characters"
        return Verdict(False, "over-long", f"{said}; {MOST_WORDS} and {MOST_CHARACTERS} allowed")
    for other in seen:
        if guard.key(text) == guard.key(other) or _likeness(text, other) > ALIKE:
            return Verdict(False, "duplicate", f"already there: {guard.shown(other)}")
    for subject in subjects:
        if _names(text, subject) and not _names(parent, subject):
            return Verdict(False, "one subject", f"is about one subject: {guard.shown(subject)}")
    return Verdict(True)


def _likeness(text: str, other: str) -> float:
    """Words in common over words in either (Jaccard); 0 where they demand different words, however few those are."""
    if _demands(text) != _demands(other):
        return 0.0
    one, two = (set(re.findall(r"\w+", item.casefold())) for item in (text, other))
    return len(one & two) / len(one | two) if one | two else 1.0


def _demands(text: str) -> tuple[frozenset[str], ...]:
    told = read(text)
    return tuple(frozenset(word.casefold() for word in words) for words in (told.add, told.leave, told.negate))


def _names(text: str, subject: str) -> bool:
    """Whether `text` says a phrase of `subject`, or all that it is about.

    Only what stands before the first comma counts, since tags of style follow it; words that any picture may need are no subject.
    """
    said = _stems(text)
    runs = _content(re.split(r"[,;:.!?\n]", subject.strip(), maxsplit=1)[0])
    words = {word for run in runs for word in run}
    return bool(words) and (words <= set(said) or any(phrase in f" {' '.join(said)} " for run in runs for phrase in _phrases(run)))


def _phrases(run: list[str]) -> list[str]:
    """Every few words in a row; a single word is no phrase."""
    length = min(LONGEST_COMMON, len(run))
    return [f" {' '.join(run[start : start + length])} " for start in range(len(run) - length + 1 if length > 1 else 0)]


def _content(text: str) -> list[list[str]]:
    """Words that carry meaning, in runs without another word between them."""
    runs: list[list[str]] = [[]]
    for word in re.findall(r"\w+", text.casefold()):
        if word in _NO_SUBJECT or _stem(word) in _NO_SUBJECT:
            runs.append([])
        else:
            runs[-1].append(_stem(word))
    return [run for run in runs if run]


def _stems(text: str) -> list[str]:
    return [_stem(word) for word in re.findall(r"\w+", text.casefold())]


def _stem(word: str) -> str:
    """Without the s of a plural."""
    return word[:-1] if len(word) > 3 and word[-1] == "s" and word[-2] != "s" else word
