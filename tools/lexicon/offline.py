"""The word source that needs no chat model: antonyms are filled up with contrasts, the checkpoint's own groups of things first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from limner.tools.lexicon.lexicon import CLOSED_WORDS, Lexicon

KINDS = ("nouns", "colours", "backgrounds", "styles", "modifiers")
"""Tables of a vocabulary document that give words and phrases a meaning."""

ALIKE = ("nouns", "backgrounds", "relations", "counts")
"""Tables in which forms of one meaning can replace each other."""


@dataclass(frozen=True)
class Offline:
    """A WordSource whose antonyms include co-hyponyms, since nouns have few antonyms: for "dog" other animals.

    `taught`: return only synonyms that the checkpoint was trained on, none where its vocabulary does not list its words: any other
    word may spoil the picture.
    """

    lexicon: Lexicon = field(default_factory=Lexicon)
    taught: bool = False

    def synonyms(self, word: str) -> tuple[str, ...]:
        """Returns the lexicon's synonyms of `word`, or with `taught` only those that the checkpoint was trained on."""
        return self.lexicon.own_synonyms(word) if self.taught else self.lexicon.synonyms(word)

    def antonyms(self, word: str) -> tuple[str, ...]:
        """Returns the lexicon's opposites of `word`: antonyms, then contrasts."""
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
    """Returns {form: other forms that fit into the same sentence and mean the same thing, place, relation or number}.

    "on the grass" is no replacement for "meadow".
    """
    found: dict[str, tuple[str, ...]] = {}
    for kind in ALIKE:
        if isinstance(table := vocabulary.get(kind), Mapping):
            for form, meaning in table.items():
                same = [other.lower() for other, name in table.items() if name == meaning and other != form]
                if others := tuple(other for other in same if kind == "relations" or _is_phrase(other) == _is_phrase(form)):
                    found[form.lower()] = others
    return found


def _is_phrase(form: str) -> bool:
    """Whether the form begins with a function word, as "in the snow"."""
    return form.lower().split()[0] in CLOSED_WORDS


def _names(listed: object) -> tuple[str, ...]:
    if isinstance(listed, Mapping):
        listed = list(listed)
    return tuple(name.lower() for name in listed if isinstance(name, str)) if isinstance(listed, list | tuple) else ()
