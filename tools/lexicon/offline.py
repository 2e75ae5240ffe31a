"""The word source that needs no chat model: antonyms filled up with contrasts, which prefer the checkpoint's own kinds of things."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tools.lexicon.lexicon import Lexicon


@dataclass(frozen=True)
class Offline:
    """A WordSource whose antonyms include co-hyponyms, since nouns have few antonyms: for "dog" other animals."""

    lexicon: Lexicon = field(default_factory=Lexicon)

    def synonyms(self, word: str) -> tuple[str, ...]:
        return self.lexicon.synonyms(word)

    def antonyms(self, word: str) -> tuple[str, ...]:
        return self.lexicon.opposites(word)


def offline(vocabulary: Mapping[str, Any]) -> Offline:
    """For a checkpoint whose vocabulary document (`Card.vocabulary`) may list kinds of things under `groups`."""
    return Offline(Lexicon(groups=groups_of(vocabulary)))


def groups_of(vocabulary: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Group -> names, each in lower case. `groups` is {group: [names]}; `colours`, where listed, are a group too. Else empty."""
    groups = vocabulary.get("groups")
    found = {str(group): _names(names) for group, names in groups.items()} if isinstance(groups, Mapping) else {}
    if colours := _names(vocabulary.get("colours")):
        found.setdefault("colours", colours)
    return {group: names for group, names in found.items() if names}


def _names(listed: object) -> tuple[str, ...]:
    if isinstance(listed, Mapping):
        listed = list(listed)
    return tuple(name.lower() for name in listed if isinstance(name, str)) if isinstance(listed, list | tuple) else ()
