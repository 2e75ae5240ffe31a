"""Prompts as keyword lists: splits them, and removes the weighting syntax of other tools."""

from __future__ import annotations

import re

_NETWORK = re.compile(r"<\s*(?:lora|lyco|hypernet)\s*:[^<>]*>", re.IGNORECASE)
_WEIGHT = re.compile(r"[(\[{]([^()\[\]{}]*?)\s*:\s*[\d.]+\s*[)\]}]")
_SCHEDULE = re.compile(r"\[([^\[\]:]*):([^\[\]:]*):\s*[\d.]+\s*\]")
_EMPHASIS = re.compile(r"(^|[,(\[{\n]\s*)(?:\(([^()\[\]{}]*)\)|\[([^()\[\]{}]*)\]|\{([^()\[\]{}]*)\})(?=\s*(?:$|[,)\]}\n]))")
_BULLET = re.compile(r"^(?:(?:[-*•]|\d{1,2}[.)])\s+)+")
_ESCAPED = {r"\(": "\ue000", r"\)": "\ue001", r"\[": "\ue002", r"\]": "\ue003"}


def plain(text: str) -> str:
    """Returns `text` without A1111's syntax: `(tag:1.2)`, `((tag))`, `[tag]`, `{tag}`, `[from:to:0.5]`, `<lora:...>`, `BREAK`.

    Of `[from:to:0.5]` the later wording stays. Brackets inside a phrase stay, as in "saturn (planet)"; escaped ones lose their backslash.
    Idempotent.
    """
    while (bare := _without_marks(text)) != text:
        text = bare
    return text


def has_marks(text: str) -> bool:
    """Whether `plain` removes anything from `text` other than blanks and superfluous commas."""
    return re.sub(r"[\s,]+", "", plain(text)) != re.sub(r"[\s,]+", "", text)


def keywords(text: str) -> list[str]:
    """Returns the phrases between commas and line ends, in order, without bullets, final full stops and repetitions in any case."""
    found: dict[str, str] = {}
    for part in re.split(r"[,\n]", text):
        if phrase := _bare(" ".join(part.split())):
            found.setdefault(phrase.casefold(), phrase)
    return list(found.values())


def _bare(phrase: str) -> str:
    while True:
        bare = _BULLET.sub("", phrase)
        bare = bare[:-1].rstrip() if bare.endswith(".") and not bare.endswith("..") else bare
        if bare == phrase:
            return bare
        phrase = bare


def _without_marks(text: str) -> str:
    for escaped, stand_in in _ESCAPED.items():
        text = text.replace(escaped, stand_in)
    text = re.sub(r" ?\n[ \n]*", "\n", re.sub(r"[^\S\n]+", " ", text))
    text = _NETWORK.sub("", text)
    text = re.sub(r"\s*\bBREAK\b\s*", ", ", text)
    text = _SCHEDULE.sub(lambda match: match[2].strip() or match[1].strip(), text)
    while (bare := _WEIGHT.sub(r"\1", text)) != text:
        text = bare  # nested weights first: removing emphasis would strip their brackets and leave the numbers
    text = _EMPHASIS.sub(lambda match: match[1] + (match[2] or match[3] or match[4] or ""), text)
    for escaped, stand_in in _ESCAPED.items():
        text = text.replace(stand_in, escaped[1])
    return re.sub(r" ?,(?: ?,)+", ",", re.sub(r"  +", " ", text)).strip(" ,\n")
