"""The word source that needs no chat model: antonyms filled up with contrasts, which prefer the checkpoint's own kinds of things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from limner.tools.lexicon.lexicon import CLOSED_WORDS, Lexicon

KINDS = ("nouns", "colours", "backgrounds", "styles", "modifiers")
"""Tables of a vocabulary that give words and phrases a meaning."""

ALIKE = ("nouns", "backgrounds", "relations", "counts")
"""Those in which forms of one meaning may stand for each other."""


@dataclass(frozen=True)
class Offline:
    """A WordSource whose antonyms include co-hyponyms, since nouns have few antonyms: for "dog" other animals. `taught`: its synonyms are
    words that the checkpoint was taught alone, none where it does not say which: another word may break a picture and makes none better."""

    lexicon: Lexicon = field(default_factory=Lexicon)
    taught: bool = False

    def synonyms(self, word: str) -> tuple[str, ...]:
        return self.lexicon.own_synonyms(word) if self.taught else self.lexicon.synonyms(word)

    def antonyms(self, word: str) -> tuple[str, ...]:
        return self.lexicon.opposites(word)


def offline(vocabulary: Mapping[str, Any], taught: bool = False) -> Offline:
    """For a checkpoint whose vocabulary document (`Card.vocabulary`) may list kinds of things under `groups`."""
    groups = groups_of(vocabulary)
    if not isinstance(vocabulary.get("groups"), Mapping):  # of an older checkpoint, which says too little about its words
        return Offline(Lexicon(groups=groups), taught)
    forms, alike = forms_of(vocabulary, groups), alike_of(vocabulary)
    known = frozenset([*forms, *alike, *(name for names in groups.values() for name in names)])
    return Offline(Lexicon(groups=groups, forms=forms, alike=alike, known=known), taught)


def groups_of(vocabulary: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Group -> names, each in lower case. `groups` is {group: [names]}; `colours`, where listed, are a group too. Else empty."""
    groups = vocabulary.get("groups")
    found = {str(group): _names(names) for group, names in groups.items()} if isinstance(groups, Mapping) else {}
    if colours := _names(vocabulary.get("colours")):
        found.setdefault("colours", colours)
    return {group: names for group, names in found.items() if names}


def forms_of(vocabulary: Mapping[str, Any], groups: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Form -> the name in a group that means the same, by the tables of the vocabulary ({form: meaning}) that hold the name itself."""
    found: dict[str, str] = {}
    for names in groups.values():
        for table in (vocabulary.get(kind) for kind in KINDS):
            if isinstance(table, Mapping):
                named = {table[name]: name for name in reversed(names) if name in table}
                found |= {form.lower(): named[meaning] for form, meaning in table.items() if meaning in named and form.lower() not in names}
    return found


def alike_of(vocabulary: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Form -> the other forms of the same thing, place, relation or number that fit into the same sentence: "on the grass" is no
    other word for "meadow"."""
    found: dict[str, tuple[str, ...]] = {}
    for kind in ALIKE:
        if isinstance(table := vocabulary.get(kind), Mapping):
            for form, meaning in table.items():
                same = [other.lower() for other, name in table.items() if name == meaning and other != form]
                if others := tuple(other for other in same if kind == "relations" or _is_phrase(other) == _is_phrase(form)):
                    found[form.lower()] = others
    return found


def _is_phrase(form: str) -> bool:
    """Whether it begins with a preposition, as "in the snow"."""
    return form.lower().split()[0] in CLOSED_WORDS


def _names(listed: object) -> tuple[str, ...]:
    if isinstance(listed, Mapping):
        listed = list(listed)
    return tuple(name.lower() for name in listed if isinstance(name, str)) if isinstance(listed, list | tuple) else ()
