"""Parses what a prompt asks for, with a checkpoint's own vocabulary: things, colours, relation, background, style.

The vocabulary (`world.json`) lists surface forms, so that a checkpoint of another world brings its own. Pictures are not involved.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from limner.promptdb.errors import BadInput


@dataclass(frozen=True, slots=True)
class AskedThing:
    """A thing that the prompt names, with colour and number where the prompt names them."""

    noun: str
    colour: str | None = None
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a prompt asks for; None for what it leaves out. `relation` is of the first thing to the second."""

    things: tuple[AskedThing, ...] = ()
    relation: str | None = None
    background: str | None = None
    style: str | None = None

    @property
    def attributes(self) -> int:
        """The number of attributes that a picture can get right or wrong."""
        single = (self.relation, self.background, self.style)
        named = sum((thing.colour is not None) + (thing.count is not None) for thing in self.things)
        return len(self.things) + named + sum(part is not None for part in single)


@dataclass(frozen=True)
class World:
    """Surface form -> canonical name, by kind. The order of the names is the order of a judge's outputs."""

    nouns: dict[str, str]
    colours: dict[str, str]
    relations: dict[str, str]
    backgrounds: dict[str, str]
    styles: dict[str, str]
    modifiers: dict[str, str]
    fillers: tuple[str, ...]
    defects: tuple[str, ...]
    counts: dict[str, int] = field(default_factory=dict)
    own_colours: dict[str, str] = field(default_factory=dict)  # natural colours of things, where they have a name

    @classmethod
    def read(cls, path: Path) -> World:
        """Reads a vocabulary file. Raises BadInput where it is missing or malformed."""
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            kinds = {kind: dict(document[kind]) for kind in ("nouns", "colours", "relations", "backgrounds", "styles", "modifiers")}
            counts = {phrase: int(count) for phrase, count in dict(document.get("counts", {})).items()}
            own = {str(noun): str(colour) for noun, colour in dict(document.get("own_colours", {})).items()}
            return cls(**kinds, fillers=tuple(document["fillers"]), defects=tuple(document["defects"]), counts=counts, own_colours=own)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadInput(f"the vocabulary {path.name} cannot be read ({error}); restore it or train the checkpoint again") from error

    def names(self, kind: str) -> tuple[str, ...]:
        """Returns the canonical names of a kind, each once, in file order."""
        return tuple(dict.fromkeys(getattr(self, kind).values()))

    def of_colour(self, noun: str, seen: str | None, asked: str) -> bool:
        """Whether a thing seen in the colour `seen` (None for its natural one) has the colour `asked`: any sheep is a white sheep."""
        return (seen or self.own_colours.get(noun)) == asked

    def read_prompt(self, text: str) -> Asked:
        """Returns the first two things that a prompt names, with their attributes, relation, background and style.

        Negations are not understood.
        """
        rest = " ".join(re.findall(r"[\w'-]+|,", text.lower()))
        # Style and background phrases go first: "pencil sketch" or "grassy field" must not be read as things.
        style, rest = self._take("styles", rest)
        rest, found = self._things(rest)
        background, _ = self._take("backgrounds", rest)
        relation = None
        if len(found) >= 2:
            between = rest[found[0][2] : found[1][1]]
            relation, _ = self._take("relations", between)
        return Asked(tuple(thing for thing, _, _ in found[:2]), relation, background, style)

    def coverage(self, text: str) -> tuple[float, list[str]]:
        """Returns the share of the words of `text` that the vocabulary knows, and the unknown words. Fillers count as known."""
        rest = " ".join(re.findall(r"[\w'-]+", text.lower()))
        words = rest.split()
        if not words:
            return 1.0, []
        left = self._known.sub(" ", rest).split()
        unknown = [word for word in left if word not in self.fillers]
        return 1 - len(unknown) / len(words), list(dict.fromkeys(unknown))

    def contents(self, text: str) -> tuple[list[str], list[str], list[str]]:
        """Returns what `text` shows: the things and the places that the vocabulary knows, as they are written, and the unknown words.

        Colours, numbers, relations, styles, modifiers and fillers are left out: they say how something looks, not what it is.
        """
        rest = self._aside.sub(" ", " ".join(re.findall(r"[\w'-]+", text.lower())))
        places = self._patterns["backgrounds"].findall(rest)
        rest = self._patterns["backgrounds"].sub(" ", rest)
        unknown = [word for word in self._thing.sub(" ", rest).split() if word not in self.fillers]
        return self._thing.findall(rest), places, list(dict.fromkeys(unknown))

    @cached_property
    def _aside(self) -> re.Pattern[str]:
        kinds = (self.colours, self.relations, self.styles, self.modifiers, self.counts)
        return _pattern([form for kind in kinds for form in kind])

    @cached_property
    def _thing(self) -> re.Pattern[str]:
        return re.compile(rf"\b(?:{_alternatives(list(self.nouns))})(?:e?s)?\b")

    @cached_property
    def _known(self) -> re.Pattern[str]:
        kinds = (self.colours, self.relations, self.backgrounds, self.styles, self.modifiers, self.counts)
        words = _pattern([form for kind in kinds for form in kind]).pattern
        return re.compile(rf"{words}|{self._thing.pattern}")

    @cached_property
    def _patterns(self) -> dict[str, re.Pattern[str]]:
        return {kind: _pattern(list(getattr(self, kind))) for kind in ("styles", "backgrounds", "relations")}

    @cached_property
    def _noun_pattern(self) -> re.Pattern[str]:
        nouns, colours = (_alternatives(list(forms)) for forms in (self.nouns, self.colours))
        # one more word may stand between a number and a colour or thing, as in "two small red cats"
        counts = rf"(?:\b({_alternatives(list(self.counts))})\s+(?:[\w-]+\s+)??)?" if self.counts else "()"
        return re.compile(rf"{counts}(?:\b({colours})\s+)?\b({nouns})(?:e?s)?\b")

    def _take(self, kind: str, text: str) -> tuple[str | None, str]:
        match = self._patterns[kind].search(text)
        if match is None:
            return None, text
        return getattr(self, kind)[match.group(0)], f"{text[: match.start()]} {text[match.end() :]}"

    def _things(self, text: str) -> tuple[str, list[tuple[AskedThing, int, int]]]:
        found: dict[str, tuple[AskedThing, int, int]] = {}
        for match in self._noun_pattern.finditer(text):
            noun = self.nouns[match.group(3)]
            thing = AskedThing(noun, self.colours.get(match.group(2) or ""), self.counts.get(match.group(1) or ""))
            found.setdefault(noun, (thing, match.start(), match.end()))
        return text, list(found.values())


def _alternatives(forms: list[str]) -> str:
    return "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))


def _pattern(forms: list[str]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{_alternatives(forms)})\b")
