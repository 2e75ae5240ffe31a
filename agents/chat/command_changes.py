"""Rules for changes of the picture: this into that, a colour, a place, something more. Used by command_wishes.py.

They only parse; edits.py finds out whether the change is possible.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from limner.agents.chat.actions import Action
from limner.agents.chat.edits import COLOUR_NAMES, PLACES, TIMES, bare, is_colour, is_hour
from limner.promptdb.search.modifier_kinds import kind_of

Make = Callable[[re.Match[str]], Action | None]
_CHANGES: list[tuple[re.Pattern[str], Make]] = []

_IT = r"(?:it|this|that|everything|the (?:picture|image|whole (?:thing|scene|picture|image)))"
_DEGREE = r"(?:a (?:bit|little|lot|tad|touch)|slightly|much|somewhat|even|way|really|very|more|less|far)"
_OF_PICTURES = re.compile(r"\b(?:scene|picture|photo|photograph|painting|drawing|sketch|portrait|poster|image|view|close-?up|shot)\b", re.I)
_PLACE_START = r"(?:in|on|at|inside|under|by|near|among|against|beside|outside|over|above|below|indoors|outdoors)\b"


def change_of(text: str) -> Action | None:
    """Returns the change that a clause asks for; None where it asks for none."""
    said = re.sub(r"\s+instead$", "", text.strip(" ,.!?"), flags=re.IGNORECASE)
    for pattern, make in _CHANGES:
        found = pattern.match(said)
        if found and (action := make(found)) is not None:
            return action
    return None


def _rule(pattern: str) -> Callable[[Make], Make]:
    def register(make: Make) -> Make:
        _CHANGES.append((re.compile(rf"(?:{pattern})(?:\s+instead)?\s*[.!?]*$", re.IGNORECASE), make))
        return make

    return register


def _change(old: str, new: str, aspect: str = "") -> Action:
    return Action(kind="change", old=old.strip(), new=new.strip(" .,"), aspect=aspect)


def _aspect(name: str) -> str:
    flat = bare(name).lower()
    if flat in COLOUR_NAMES:
        return "colour"
    if flat in PLACES or flat in TIMES:
        return "place"
    return ""


@_rule(
    r"(?:i'd like|i would like|i want|i need|let|have|get)\s+(?P<a>(?:the|its?|my)\b.+?)\s+"
    r"(?:to be|be|become|as|to become)\s+(?P<b>.+)"
)
def _wanted_to_be(match: re.Match[str]) -> Action | None:
    return change_of(f"change {match['a']} to {match['b']}")


@_rule(r"(?:change|turn|convert|transform|switch|set|make|replace|swap)\s+(?P<a>.+?)\s+(?:to|into|with|by|for|be)\s+(?P<b>.+)")
def _this_into_that(match: re.Match[str]) -> Action | None:
    old, new = match["a"], match["b"]
    if re.fullmatch(_IT, old, re.I):
        if is_colour(new):
            return _change("", bare(new), "colour")
        if kind_of(bare(new).lower()) in ("medium", "style", "artist"):
            return None
        return _change("", new, "subject" if re.match(r"(?:an?|two|three|some)\b", new, re.I) and not _OF_PICTURES.search(new) else "")
    if colour := re.fullmatch(r"(?:the\s+)?colou?rs?(?:\s+of\s+(?P<of>.+))|(?P<whose>.+?)(?:'s)?\s+colou?r", old, re.I):
        return _change(bare(colour["of"] or colour["whose"] or ""), bare(new), "colour")
    if aspect := _aspect(old):
        return _change("", bare(new) if aspect == "colour" else new, aspect)
    if re.match(r"(?:make|set)\b", match.group(), re.I) and not re.search(r"\bto\b|\binto\b|\bbe\b", match.group(), re.I):
        return None
    return _change(bare(old), bare(new), "colour" if is_colour(new) and not is_colour(old) else "")


@_rule(
    r"(?P<b>.+?)\s+(?:instead of|rather than|in place of)\s+(?P<a>.+)|instead of\s+(?P<c>.+?)\s*,\s*(?:use |draw "
    r"|have |make it |i want )?(?P<d>.+)"
)
def _instead(match: re.Match[str]) -> Action | None:
    new = re.sub(r"\s+ones?$", "", match["b"] or match["d"])
    new = re.sub(
        r"^(?:(?:use|draw|put|have|make it|i want|i'd like|i(?:'d| would)? prefer|i(?:'d| would) rather have|show|with|let it be)\s+)+",
        "",
        new,
        flags=re.I,
    )
    old = bare(match["a"] or match["c"])
    return _change("", bare(new), "colour") if is_colour(old) and is_colour(new) else _change(old, bare(new))


@_rule(r"(?:can|could|may|might|would)\s+(?P<a>(?:the|its)\s+[\w -]+?)\s+(?:be|become|look)\s+(?P<b>.+)")
def _could_be(match: re.Match[str]) -> Action | None:
    return change_of(f"make {match['a']} {match['b']}")


@_rule(
    r"(?:(?:make|paint|colou?r|turn|dye|have|get|i want|i'd like|i need)\s+)(?P<a>.+?)\s+(?:in\s+|to be\s+|to\s+|into\s+)?(?P<b>[\w-]+)"
    r"|(?:the\s+)(?P<c>[\w -]+?)\s+(?:should|must|needs to|has to|could|ought to)\s+be\s+(?P<d>[\w-]+)"
)
def _paint(match: re.Match[str]) -> Action | None:
    thing, colour = match["a"] or match["c"], match["b"] or match["d"]
    if not is_colour(colour):
        return None
    if bare(thing).lower() in PLACES:
        return _change("", colour, "place")
    return _change("" if re.fullmatch(_IT, thing, re.I) else bare(thing), bare(colour), "colour")


_SURROUNDINGS = "|".join((*PLACES, *TIMES))


@_rule(
    rf"(?:make|have|set|i want|i'd like|i need)\s+(?:the|its)\s+(?P<a>{_SURROUNDINGS})\s+(?:look\s+)?(?:like\s+)?"
    rf"(?P<b>(?!(?:{_DEGREE})\b|[\w-]+er$).+)|(?:the\s+)?(?P<c>{_SURROUNDINGS})"
    r"(?:\s*[:=]\s*|\s+(?:should|must|needs to|has to|could|ought to)\s+be\s+)(?P<d>.+)"
)
def _make_surroundings(match: re.Match[str]) -> Action | None:
    return _change("", match["b"] or match["d"], "place")


_INSTEAD_OF = {
    "bright": "dark, dim, gloomy",
    "dark": "bright, light, overexposed",
    "sharp focus": "blurry, soft, unsharp",
    "vivid colors": "dull, pale, grey, gray",
    "high contrast": "flat",
    "muted colors": "colorful, colourful, vivid, saturated",
    "simple background": "busy, cluttered, crowded",
    "highly detailed": "plain, simple, empty, blocky",
    "warm light": "cold",
    "cold light": "warm",
    "wide shot": "close, near",
    "close-up": "far, far away",
    "big": "small, tiny, little",
    "small": "big, large",
    "new": "old",
    "old": "new, young",
    "long": "short",
    "short": "long",
    "wide": "thin",
    "thin": "wide",
    "dirty": "clean",
    "clean": "dirty",
}
_TOO = {word: answer for answer, words in _INSTEAD_OF.items() for word in words.split(", ")}  # "too dark" -> "bright"


@_rule(
    rf"(?:(?P<it>{_IT}|they|the (?:pictures|images|colou?rs?|light(?:ing)?|scene))(?:'s|'re| is| are| looks?| seems?)\s+|"
    r"the\s+(?P<a>[\w-]+)\s+(?:is|are|looks?)\s+)?(?:still |a bit |a little |much |way |far )*too\s+(?P<b>[\w-]+(?: away)?)"
)
def _too_much(match: re.Match[str]) -> Action | None:
    other = _TOO.get(match["b"].lower())
    if other is None:
        return None
    return _change(match["a"], f"{other} {match['a'].lower()}") if match["a"] else _change("", other)


@_rule(
    r"(?P<v>(?:zoom(?:ed)? (?:out|in)|(?:an? |from )?(?:close-?up|closer|wide shot|farther away|further away|above|below"
    r"|behind|afar|the side)))"
)
def _framed(match: re.Match[str]) -> Action | None:
    said = match["v"].lower()
    if re.match(r"zoom(?:ed)? out|farther|further", said):
        return _change("", "wide shot")
    return _change("", "close-up" if re.match(r"zoom|closer|(?:an? )?close", said) else said)


@_rule(r"(?:make|let) (?:it|this|that)(?: be)?\s+(?P<b>an?\s+(?!(?:bit|little|lot|tad|touch)\b).+)")
def _make_it_another(match: re.Match[str]) -> Action | None:
    return change_of(f"change it to {match['b']}")


@_rule(r"(?:make|turn|have)\s+the\s+(?P<a>[\w-]+(?: [\w-]+)?)\s+(?P<b>an?\s+(?!(?:bit|little|lot|tad|touch)\b).+)")
def _make_another(match: re.Match[str]) -> Action | None:
    return None if re.fullmatch(_IT, f"the {match['a']}", re.I) else _change(match["a"], bare(match["b"]))


_PLAINER = {
    f"{word}er": word for word in ("small", "bright", "dark", "old", "young", "tall", "long", "short", "fast", "soft", "sharp", "warm")
}
_PLAINER |= {"bigger": "big", "larger": "large", "happier": "happy", "fatter": "fat", "thinner": "thin", "cuter": "cute", "wider": "wide"}


@_rule(
    r"(?:make|have|i want|i'd like|i need)\s+(?:the|its)\s+(?P<a>[\w-]+(?: [\w-]+)??)\s+(?:look\s+)?"
    rf"(?:(?:{_DEGREE})\s+)*(?P<b>[\w-]+)"
)
def _describe_thing(match: re.Match[str]) -> Action | None:
    """Reads an attribute of a thing: "make the car big" becomes `change car to big car`."""
    thing, said = match["a"].lower(), match["b"].lower()
    if re.fullmatch(_IT, f"the {thing}", re.I) or is_colour(thing) or said in ("in", "on", "at", "is", "to", "be", thing):
        return None
    if not re.match(r"(?:make|have)\b", match.group(), re.I) and said not in _PLAINER and said not in _PLAINER.values():
        return None  # "I want the old bridge" is a wish for one
    return _change(thing, f"{_PLAINER.get(said, said)} {thing}")


@_rule(r"(?P<c>[\w-]+)|in\s+(?P<d>[\w-]+)|(?:make|paint)\s+(?:it|this|that)\s+(?P<e>[\w-]+)")
def _colour_alone(match: re.Match[str]) -> Action | None:
    colour = match["c"] or match["d"] or match["e"]
    return _change("", bare(colour), "colour") if is_colour(colour) else None


@_rule(
    r"(?:(?:put|move|place|set|show|draw|have)\s+(?:it|this|that|them|him|her|the [\w -]+?)\s+)(?:to\s+(?P<c>(?:an?"
    r"|the)\s+.+)|(?P<a>(?:in|on|at"
    r"|inside|under|by|near|among|against|beside|outside|over)(?:to)?\s+.+))|(?:(?:make it|with|give it|use|i want"
    r"|add)\s+)?(?:an?\s+|the\s+)?(?P<b>[\w -]+?)\s+(?:as\s+(?:the\s+)?)?(?:background|backdrop|setting)"
)
def _place(match: re.Match[str]) -> Action | None:
    if match["c"] and not re.match(r"(?:put|move|place|set)\b", match.group(), re.I):
        return None
    return _change("", match["a"] or (f"in {match['c']}" if match["c"] else match["b"]), "place")


@_rule(
    r"(?:the same|same|like (?:this|that|it)|this|that|it|everything|all)(?:\s+(?:thing|one|picture|image))?"
    r"(?:\s+(?:as (?:it is|is|before)|the same|else(?: the same)?|stays?(?: the same)?))?\s*,?\s*(?:but|only|except"
    r"|just)\s+(?P<x>.+)|(?:but|only)\s+(?P<y>(?:with|in|at|on|more|less)\b.+)|(?:make (?:it|this|that)|have it"
    r"|let it be|set it)\s+(?P<z>(?:at|in|on|under|during)\s+.+)|(?P<w>(?:in|on|at|under|inside|by|near|during)(?:\s+[\w-]+){1,3})"
)
def _same_but(match: re.Match[str]) -> Action | None:
    new = match["x"] or match["y"] or match["z"] or match["w"]
    if len(new) < len(match.group().strip()) and (inner := change_of(new)):
        return inner
    return _change("", new, "place" if re.match(_PLACE_START, new, re.I) else "")


@_rule(
    r"(?:add|include|insert|put(?: in)?|give (?:it|him|her|them|the [\w -]+?)|show|have|i (?:also )?want"
    r"|there should (?:also )?be|throw in)\s+(?P<w>.+?)(?:\s+(?:to (?:it|the (?:picture|image|scene|prompt))|too"
    r"|as well|in (?:it|there)))*|with\s+(?P<v>.+)"
)
def _add(match: re.Match[str]) -> Action | None:
    if match["v"]:
        return _change("", f"with {match['v']}")
    if not re.match(r"(?:add|include|insert|put|give|there|throw)", match.group(), re.I):
        return None
    return _change("", re.sub(r"^(?:some\s+)?more\s+", "more ", match["w"], flags=re.I))


@_rule(
    rf"(?:make (?:it|this|that|them|the [\w -]+?)\s+)?(?P<w>(?:{_DEGREE}\s+)+[\w-]+(?:\s+[\w-]+)?|[\w-]+er)|(?:make"
    rf"|get) {_IT}\s+(?:look\s+)?"
    r"(?P<v>[\w -]+)|i want (?:it|this|that)\s+(?P<u>[\w -]+)"
)
def _make_it(match: re.Match[str]) -> Action | None:
    said = match["w"] or match["v"] or match["u"]
    if is_hour(said):
        return _change("", said, "place")
    if match["w"] and not re.match(rf"(?:make|{_DEGREE})\b|[\w-]+er$", match.group(), re.I):
        return None
    if re.search(
        r"\b(?:number|better|other|another|ever|never|whatever|over|under|after|later|her|paper|flower|water|tiger|river)$", said, re.I
    ):
        return None
    return _change("", re.sub(r"^(?:a (?:bit|little|lot|tad|touch)|slightly|much|somewhat|way|even|really|far)\s+", "", said, flags=re.I))
