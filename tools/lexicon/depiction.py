"""Tells whether a checkpoint can draw what a prompt is about, by the checkpoint's vocabulary and the parts of speech of the other words.

Only the subject counts, the first phrase that names something: of "a cat in the snow, film grain, by a master" that is "a cat in the snow".
Unknown adjectives and verbs do not count either: a checkpoint that knows cats draws a sleepy cat, though not its sleep.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from limner.tools.lexicon.lexicon import CLOSED_WORDS, Lexicon
from limner.tools.scoring.asked import World

ENOUGH = 0.5
"""Share of the subject's things and places below which the checkpoint cannot draw the prompt: most of what was asked would be missing."""

PICTURE_WORDS = frozenset((
    "art", "artwork", "background", "close-up", "closeup", "composition", "drawing", "foreground", "illustration", "image", "painting",
    "photo", "photograph", "picture", "portrait", "render", "rendering", "scene", "shot", "sketch", "still", "style", "view",
))  # fmt: skip
"""Nouns that say what kind of picture is asked for, not what it shows."""

_ASIDE = CLOSED_WORDS | PICTURE_WORDS
_PHRASES = re.compile(r"[,;|\n]|[.!?](?:\s|$)")
_MANNER = re.compile(r"\b(?:in the )?style of\b.*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Depiction:
    """What a prompt is about. `things`, `places`: those that the vocabulary knows; `unknown`: nouns and names that it does not."""

    things: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """The known share of things and places, in [0, 1]; 1 where nothing is asked for."""
        known = len(self.things) + len(self.places)
        return known / (known + len(self.unknown)) if known or self.unknown else 1.0

    @property
    def drawable(self) -> bool:
        """Whether the checkpoint can draw it: at least half is known, and not the place alone where a thing is asked for too."""
        return not self.unknown or (self.share >= ENOUGH and bool(self.things))


def depiction(world: World, text: str, part: Callable[[str], str] | None = None) -> Depiction:
    """Returns what `text` is about, read with the vocabulary of `world`.

    `part`: the part of speech of a word, "n" for nouns and '' for unknown words; by default WordNet's, opened where it is needed.
    """
    lexicon: list[Lexicon] = []

    def by_wordnet(word: str) -> str:
        if not lexicon:
            lexicon.append(Lexicon())
        return lexicon[0].part(word)

    part = part or by_wordnet
    odd: list[str] = []
    for phrase in _PHRASES.split(text):
        things, places, words = world.contents(_MANNER.sub("", phrase))
        words = [word for word in words if not word.strip("'-_").isdigit() and word not in _ASIDE and len(word) > 1]
        parts = {word: part(word) for word in words}
        if things or places or "n" in parts.values():
            return Depiction(tuple(things), tuple(places), tuple(word for word in words if parts[word] in ("n", "")))
        odd += words
    return Depiction(unknown=tuple(dict.fromkeys(odd)))
