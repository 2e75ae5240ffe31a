"""Edits a request as a person asks: this for that, another colour, another place, something more, something less.

The functions return None where the words do not determine the edit, so that the agent asks instead of guessing.
"""

from __future__ import annotations

import re

from limner.agents.keywords import keywords

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
    """Returns `words` without article, quotes and surrounding punctuation."""
    return _ARTICLE.sub("", words.strip(" \t\"'“”‘’.,;:!?"))


def replaced(text: str, old: str, new: str) -> str | None:
    """Returns `text` with `old` replaced by `new` and the article adjusted; None where `old` does not occur."""
    old, new = old.strip(), new.strip()
    for wanted in dict.fromkeys([old, bare(old)]):
        if not wanted:
            continue
        found = re.search(rf"(?<!\w)(?P<article>an?\s+|the\s+)?{_spaced(wanted)}(?!\w)", text, _FOLD)
        if found:
            before = _little_word(text[: found.start()], new)
            return _tidy(before + _with_article(found["article"] or "", wanted, new) + text[found.end() :])
    return None


def removed(text: str, words: str) -> str | None:
    """Returns `text` without `words` and the words that connected them; None where they do not occur or nothing would be left."""
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
    """Returns `text` with another colour: before the thing `of` where given, else in place of the only colour; None where neither works."""
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


_HOURS = {
    "at": ("night", "noon", "midnight", "dawn", "dusk", "sunset", "sunrise", "twilight", "golden hour", "blue hour"),
    "in the": ("morning", "evening", "afternoon", "rain", "fog", "mist"),
    "in": ("winter", "summer", "spring", "autumn", "daylight", "moonlight", "sunlight"),
    "in a": ("storm",),
    "during the": ("day", "snowfall"),
}
_HOUR = rf"(?:at|in|during|by|under)\s+(?:an?\s+|the\s+)?(?:\w+\s+)?(?:{'|'.join(word for words in _HOURS.values() for word in words)})"


def is_hour(words: str) -> bool:
    """Whether `words` name a time of day, a season or weather."""
    return any(bare(words).casefold() in known for known in _HOURS.values())


def _placed(where: str) -> str:
    """Returns `where` as a phrase of place: times and weather with their own preposition, anything else "in the background"."""
    if re.match(rf"{_IN_PLACE}\b", where, _FOLD) or re.fullmatch(_HOUR, where, _FOLD):
        return where
    name = bare(where).casefold()
    for little, words in _HOURS.items():
        if name in words:
            return f"{little} {name}"
    if name == "snow":
        return "in the snow"
    if _ARTICLE.match(where) or re.search(r"[^su]s$", name):  # "mountains" take no article
        return f"with {where} in the background"
    return f"with {_a(name)} {where}" if re.search(r"\bbackground$", name) else f"with {_a(name)} {where} background"


def resubjected(text: str, new: str) -> str:
    """Returns `text` with another subject: replaces what stands before the first preposition; the place stays."""
    first, *rest = keywords(text) or [text]
    place = re.search(rf"\s+(?:{_IN_PLACE}|with|left of|right of|next to|in front of)\b", first, _FOLD)
    return ", ".join([new.strip() + (first[place.start() :] if place else ""), *rest])


def moved(text: str, place: str) -> str:
    """Returns `text` with another place: replaces the place at the end of a part, or adds one.

    A time of day, a season or weather replaces no place: a beach at night is still a beach.
    """
    where = _placed(place.strip(" .,"))
    if re.fullmatch(_HOUR, where, _FOLD):
        return added(text, where)
    parts = keywords(text)
    for number, part in enumerate(parts):
        hour = re.search(rf"(?:\s+{_HOUR})+$", part, _FOLD)
        scene, when = (part[: hour.start()], hour[0]) if hour else (part, "")
        shorter = re.sub(r"\s+with\s+[^,]*\bbackground$", "", scene, flags=_FOLD)
        shorter = _PLACE.sub("", shorter) if shorter == scene else shorter
        if shorter != scene and shorter.strip():
            parts[number] = f"{shorter.strip()} {where}{when}"
            return ", ".join(parts)
    return ", ".join([f"{parts[0]} {where}", *parts[1:]]) if parts else where


def added(text: str, more: str) -> str:
    """Returns `text` with `more` appended; a phrase that begins with a preposition ("with a hat") follows without a comma."""
    more = more.strip(" .,")
    glue = " " if re.match(rf"(?:with|and|wearing|holding|{_IN_PLACE})\b", more, _FOLD) and "," not in text else ", "
    return f"{text.rstrip(' .,')}{glue}{more}"


def is_colour(words: str) -> bool:
    """Whether `words` name a known colour."""
    return bare(words).casefold() in COLOURS


_WITHIN = r"(?:forest|wood|jungle|desert|city|town|village|room|kitchen|garage|garden|park|valley|meadow|cave|castle|museum|snow|space)s?"
_UPON = r"(?:beach|street|road|hill|mountain|roof|table|stage|bridge|island|shore|coast|highway|path)s?"


def _little_word(before: str, place: str) -> str:
    """Returns `before` with its final preposition adjusted to the place: on a beach, but in a forest."""
    for right, wrong, places in (("in", "on", _WITHIN), ("on", "in", _UPON)):
        if re.search(rf"\b{places}$", place, _FOLD):
            return re.sub(rf"\b{wrong}\s+$", f"{right} ", before)
    return before


def _with_article(article: str, old: str, new: str) -> str:
    if not article or _ARTICLE.match(new):
        return new if _ARTICLE.match(new) or not article else article + new
    if article.strip().casefold() == "the":
        return f"the {new}"
    return f"{_a(new)} {new}"


def _a(word: str) -> str:
    return "an" if word[:1].casefold() in "aeiou" else "a"


def _articles(text: str) -> str:
    """Corrects `a` and `an` before colours."""
    return re.sub(
        rf"\b(an?)\s+(?=({'|'.join(COLOURS)})\b)", lambda match: "an " if match[2][0].casefold() in "aeiou" else "a ", text, flags=_FOLD
    )


def _spaced(words: str) -> str:
    return r"\s+".join(map(re.escape, words.split()))


def _tidy(text: str) -> str:
    text = re.sub(r"\s+([,.])", r"\1", " ".join(text.split()))
    return re.sub(r"(?:,\s*)+,", ",", text).strip(" ,")
