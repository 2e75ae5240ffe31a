"""English inflection: the bases a form may come from, and the same form of another base, by rules and WordNet's irregular forms.

A form is `base`, `plural`, `third` (she walks), `past`, `participle`, `ing`, `comparative` or `superlative`. Regular past forms are read as
participles: a prompt says "a parked car" far more often than "he parked".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from limner.tools.lexicon.wordnet import WordNet

_VOWELS = "aeiou"

# (part of speech, form, ending, its replacement in the base), as in WordNet's manual page morphy(7).
_DETACHMENTS = (
    ("n", "plural", "ies", "y"), ("n", "plural", "ves", "f"), ("n", "plural", "ses", "s"), ("n", "plural", "xes", "x"),
    ("n", "plural", "zes", "z"), ("n", "plural", "ches", "ch"), ("n", "plural", "shes", "sh"), ("n", "plural", "men", "man"),
    ("n", "plural", "s", ""),
    ("v", "third", "ies", "y"), ("v", "third", "es", "e"), ("v", "third", "es", ""), ("v", "third", "s", ""),
    ("v", "participle", "ied", "y"), ("v", "participle", "ed", "e"), ("v", "participle", "ed", ""),
    ("v", "ing", "ying", "ie"), ("v", "ing", "ing", "e"), ("v", "ing", "ing", ""),
    ("a", "comparative", "ier", "y"), ("a", "comparative", "er", "e"), ("a", "comparative", "er", ""),
    ("a", "superlative", "iest", "y"), ("a", "superlative", "est", "e"), ("a", "superlative", "est", ""),
)  # fmt: skip
_UNCHANGED = frozenset(
    ("sheep", "deer", "fish", "cattle", "moose", "bison", "people", "aircraft", "salmon", "trout", "shrimp", "species", "series")
)
"""Nouns with equal singular and plural that WordNet's lists of irregular forms leave out."""

_NOT_MEN = frozenset(("human", "german", "roman", "norman", "shaman", "talisman", "caiman", "ottoman"))

_DOUBLED = re.compile(r"([bdgklmnprt])\1$")


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of a word: its base form, part of speech (n, v, a, r) and form."""

    base: str
    part: str
    form: str


def readings(word: str, wordnet: WordNet) -> tuple[Reading, ...]:
    """Returns all distinct readings of a lower-case word or phrase that the lexicon knows, base forms first."""
    found = [Reading(word, part, "base") for part in "nvar" if wordnet.of(word, part)]
    for part in "nva":
        for base in wordnet.bases.get((word, part), ()):
            if wordnet.of(base, part) and base != word:
                found.append(Reading(base, part, _irregular_form(word, base, part, wordnet)))
    # A form that is irregular in a part of speech is not read as regular there: "leaves" is a plural of "leaf" alone.
    closed = {reading.part for reading in found if reading.form != "base"}
    for part, form, ending, instead in _DETACHMENTS:
        if part in closed or not word.endswith(ending) or word.endswith("ss"):
            continue
        stem = word[: -len(ending)] + instead
        bases = [stem]
        if form not in ("plural", "third") and not instead and _DOUBLED.search(stem):
            bases.append(stem[:-1])
        found += [Reading(base, part, form) for base in bases if len(base) > 1 and wordnet.of(base, part)]
    return tuple(dict.fromkeys(found))


def inflect(base: str, part: str, form: str, wordnet: WordNet) -> str:
    """Returns the form of a base, which may be a phrase: nouns change at their last word, verbs at their first.

    Adjectives of more than one syllable that do not end in y are compared with "more" and "most".
    """
    if form == "base" or (form == "plural" and base in _UNCHANGED):
        return base
    if irregular := _irregular(base, part, form, wordnet):
        return irregular
    words = base.split(" ")
    if form in ("comparative", "superlative"):
        return _compared(base, form)
    at = 0 if part == "v" else -1
    if len(words) > 1:
        words[at] = inflect(words[at], part, form, wordnet)
        return " ".join(words)
    if form == "plural" and base.endswith("man") and base not in _NOT_MEN:
        return base[:-3] + "men"
    if form in ("plural", "third"):
        return _with_s(base)
    return _with_ing(base) if form == "ing" else _with_ed(base)


def _irregular(base: str, part: str, form: str, wordnet: WordNet) -> str | None:
    forms = [inflected for inflected in wordnet.forms.get((base, part), ()) if inflected != base]
    if part != "v":
        ending = {"comparative": "r", "superlative": "t"}.get(form, "")
        return next((inflected for inflected in forms if inflected.endswith(ending)), None)
    if form == "third":
        return next((inflected for inflected in forms if inflected.endswith("s")), None)
    matching = [inflected for inflected in forms if _irregular_form(inflected, base, part, wordnet) == form]
    if not matching and form in ("past", "participle"):  # one form serves both: "sat"
        matching = [inflected for inflected in forms if not inflected.endswith(("ing", "s"))]
    return matching[0] if matching else None


def _irregular_form(word: str, base: str, part: str, wordnet: WordNet) -> str:
    if part == "n":
        return "plural"
    if part == "a":
        return "superlative" if word.endswith("t") else "comparative"
    if word.endswith("ing"):
        return "ing"
    others = [form for form in wordnet.forms.get((base, part), ()) if form != word and not form.endswith(("ing", "s"))]
    if not others:
        return "participle"
    # Of two irregular forms the participle is the one that ends in n ("taken") or has u for a ("sung").
    return "participle" if word.endswith(("n", "ne")) or re.search(r"u(ng|nk|m|n)$", word) else "past"


def _with_s(base: str) -> str:
    if base.endswith(("s", "x", "z", "ch", "sh")):
        return base + "es"
    return base[:-1] + "ies" if _consonant_y(base) else base + "s"


def _with_ing(base: str) -> str:
    if base.endswith("ie"):
        return base[:-2] + "ying"
    if base.endswith("e") and not base.endswith(("ee", "oe", "ye")):
        return base[:-1] + "ing"
    return _doubled(base) + "ing"


def _with_ed(base: str) -> str:
    if base.endswith("e"):
        return base + "d"
    return base[:-1] + "ied" if _consonant_y(base) else _doubled(base) + "ed"


def _compared(base: str, form: str) -> str:
    ending = "er" if form == "comparative" else "est"
    if " " in base or (len(re.findall(r"[aeiouy]+", base.removesuffix("e"))) > 1 and not base.endswith("y")):
        return ("more " if form == "comparative" else "most ") + base
    if base.endswith("e"):
        return base + ending[1:]
    return base[:-1] + "i" + ending if _consonant_y(base) else _doubled(base) + ending


def _consonant_y(base: str) -> bool:
    return len(base) > 1 and base.endswith("y") and base[-2] not in _VOWELS


def _doubled(base: str) -> str:
    """Doubles the last consonant of one short syllable: "sit", "big"; not "rain", "box"."""
    short = re.fullmatch(r"[^aeiou]*(?:qu)?[aeiou][bdgklmnprt]", base)
    return base + base[-1] if short else base
