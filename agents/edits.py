"""Changing a request as a person asks: this for that, another colour, another place, something more, something less.

Works on the words as they stand and says None where it cannot tell what is meant, so that the agent asks instead of guessing. Pure text.
"""

from __future__ import annotations

import re

from agents.keywords import keywords

COLOURS = [
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "violet",
    "pink",
    "white",
    "black",
    "brown",
    "grey",
    "gray",
    "golden",
    "gold",
    "silver",
    "turquoise",
    "teal",
    "cyan",
    "magenta",
    "beige",
    "crimson",
    "scarlet",
    "navy",
    "olive",
    "maroon",
]
PLACES = ("background", "backdrop", "setting", "scene", "scenery", "place", "location", "surroundings", "environment")
COLOUR_NAMES = ("colour", "color", "colours", "colors", "hue")
TIMES = ("time of day", "time", "lighting", "light", "weather", "season")

_IN_PLACE = r"(?:in|on|at|inside|under|by|near|among|against|beside|outside|over|above|below|indoors|outdoors)"
_PLACE = re.compile(rf"[, ]*\b(?:(?:{_IN_PLACE})\s+(?:front\s+of\s+)?(?:an?\s+|the\s+)?[^,]+|indoors|outdoors)$", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:an?|the|some|my|his|her|its|their|one)\s+", re.IGNORECASE)
_FOLD = re.IGNORECASE


def bare(words: str) -> str:
    """Without article, quotes and stray marks."""
    return _ARTICLE.sub("", words.strip(" \t\"'“”‘’.,;:!?"))


def replaced(text: str, old: str, new: str) -> str | None:
    """`text` with `new` in the place of `old`; None where `old` does not stand there. The article of what stood there is kept in step."""
    old, new = old.strip(), new.strip()
    for wanted in dict.fromkeys([old, bare(old)]):
        if not wanted:
            continue
        found = re.search(rf"(?<!\w)(?P<article>an?\s+|the\s+)?{_spaced(wanted)}(?!\w)", text, _FOLD)
        if found:
            return _tidy(text[: found.start()] + _with_article(found["article"] or "", wanted, new) + text[found.end() :])
    return None


def removed(text: str, words: str) -> str | None:
    """`text` without `words` and the little words that tied them in; None where they do not stand there, or nothing would be left."""
    wanted = bare(words)
    if not wanted:
        return None
    if not re.search(rf"(?<!\w){_spaced(wanted)}(?!\w)", text, _FOLD):
        return None
    parts = keywords(text)
    whole = [part for part in parts if bare(part).casefold() != wanted.casefold()]
    if len(whole) < len(parts):
        return ", ".join(whole) or None
    tie = rf"(?:\s*,?\s*\b(?:and|with|wearing|holding|next to|beside|{_IN_PLACE}|of)\s+)?(?:an?\s+|the\s+|some\s+)?"
    left = _tidy(re.sub(rf"{tie}(?<!\w){_spaced(wanted)}(?!\w)", " ", text, count=1, flags=_FOLD))
    left = _tidy(re.sub(r"(^|,)\s*(?:and|with|of)\s+(?=\w)", r"\1 ", left))
    return left if re.search(r"\w", left) else None


def recoloured(text: str, colour: str, of: str = "") -> str | None:
    """`text` with another colour: before the thing `of` where it is named, else in the place of the one colour there is, else None."""
    colour, thing = bare(colour), bare(of)
    known = rf"\b(?:{'|'.join(COLOURS)})\b"
    if thing and thing.casefold() not in ("it", "this", "that", "picture", "image"):
        found = re.search(rf"(?<!\w)(?P<colour>{known}\s+)?(?P<thing>{_spaced(thing)})(?!\w)", text, _FOLD)
        if found is None:
            return None
        return _tidy(_articles(text[: found.start()] + f"{colour} {found['thing']}" + text[found.end() :]))
    found_all = list(re.finditer(known, text, _FOLD))
    if len(found_all) != 1:
        return None
    (match,) = found_all
    return _tidy(_articles(text[: match.start()] + colour + text[match.end() :]))


_HOUR = (
    r"(?:at|in|during|by|under)\s+(?:an?\s+|the\s+)?(?:\w+\s+)?(?:night|day|noon|midnight|dawn|dusk|sunset|sunrise|twilight|morning|evening"
    r"|afternoon|daylight|moonlight|sunlight|golden hour|blue hour|winter|summer|spring|autumn|rain|fog|mist|storm|snowfall)"
)


def moved(text: str, place: str) -> str:
    """`text` somewhere else: the place that stood at the end of a part gives way; where there was none, it is added. An hour, a season or
    weather takes nothing's place: a beach at night is a beach."""
    where = place.strip(" .,")
    if re.fullmatch(_HOUR, where, _FOLD):
        return added(text, where)
    if not re.match(rf"{_IN_PLACE}\b", where, _FOLD):
        where = f"with {_a(bare(where))} {where_noun(where)}".rstrip() if not _ARTICLE.match(where) else f"with {where} in the background"
    parts = keywords(text)
    for number, part in enumerate(parts):
        shorter = re.sub(r"\s+with\s+[^,]*\bbackground$", "", part, flags=_FOLD)
        shorter = _PLACE.sub("", shorter) if shorter == part else shorter
        if shorter != part and len(shorter.split()) > 0 and shorter.strip():
            parts[number] = f"{shorter.strip()} {where}"
            return ", ".join(parts)
    return ", ".join([f"{parts[0]} {where}", *parts[1:]]) if parts else where


def where_noun(where: str) -> str:
    return "" if re.search(r"\bbackground$", where, _FOLD) else "background"


def added(text: str, more: str) -> str:
    """`text` with something more; a phrase that begins with a little word ("with a hat") follows without a comma."""
    more = more.strip(" .,")
    glue = " " if re.match(rf"(?:with|and|wearing|holding|{_IN_PLACE})\b", more, _FOLD) and "," not in text else ", "
    return f"{text.rstrip(' .,')}{glue}{more}"


def is_colour(words: str) -> bool:
    return bare(words).casefold() in COLOURS


def _with_article(article: str, old: str, new: str) -> str:
    if not article or _ARTICLE.match(new):
        return new if _ARTICLE.match(new) or not article else article + new
    if article.strip().casefold() == "the":
        return f"the {new}"
    return f"{_a(new)} {new}"


def _a(word: str) -> str:
    return "an" if word[:1].casefold() in "aeiou" else "a"


def _articles(text: str) -> str:
    """`a` and `an` agreeing with what now follows them, where a colour was put in."""
    return re.sub(
        rf"\b(an?)\s+(?=({'|'.join(COLOURS)})\b)", lambda match: "an " if match[2][0].casefold() in "aeiou" else "a ", text, flags=_FOLD
    )


def _spaced(words: str) -> str:
    return r"\s+".join(map(re.escape, words.split()))


def _tidy(text: str) -> str:
    text = re.sub(r"\s+([,.])", r"\1", " ".join(text.split()))
    return re.sub(r"(?:,\s*)+,", ",", text).strip(" ,")
