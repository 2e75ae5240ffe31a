"""Synonyms, antonyms and contrasts of a word as it is written in a prompt: inflection and capitals are carried over. From WordNet's file.

The prompt is not used to choose a meaning: the frequent meanings are taken, and a similarity filter (`calibration.py`) or the search itself
rejects what does not fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from limner.promptdb.search.terms import FUNCTION_WORDS
from limner.tools.lexicon import inflection
from limner.tools.lexicon.inflection import Reading
from limner.tools.lexicon.wordnet import Meaning, WordNet, load

PER_WORD = 5
"""Candidates for a word, as in the paper (DPO-Diff, appendix F.2)."""

CLOSED_WORDS = FUNCTION_WORDS | frozenset(
    """about after all along also am among any around away back because before behind below beneath beside between both but can can't could
    did do does doing done down during each either else few get gets getting had has have having here how if inside is isn't just like lot
    lots many may me might more most much near next no not off one ones other others out outside own per same several she should so some
    such than them then there through too toward towards two three four five six seven eight nine ten until up upon us using via what when
    where while will within would yet""".split()  # noqa: SIM905
)
"""Function words. WordNet lists some of them as nouns (a for ampere, in for inch), which no prompt means."""

_SHARE = 0.25  # a meaning counts if it is used at least this often, relative to the most frequent one
_MEANINGS = 3
_CATEGORY = 12  # the search climbs to further hypernyms until it has so many co-hyponyms
_CLIMB = 4
_COLOURS = ("chromatic color", "achromatic color")


class WordSource(Protocol):
    """A source of candidates for a word: this lexicon, or a chat model's lists (`asked.py`).

    The word may be in any case. An implementation returns distinct non-empty candidates, the best first, in lower case or as names are
    spelt, without the word itself; () for an unknown word.
    """

    def synonyms(self, word: str) -> tuple[str, ...]:
        """Returns words of the same meaning."""

    def antonyms(self, word: str) -> tuple[str, ...]:
        """Returns words of the opposite meaning."""


@dataclass(frozen=True)
class Lexicon:
    """WordNet's words, with the words that a checkpoint's own vocabulary adds.

    `groups`: group -> co-hyponyms, preferred as contrasts. `forms`: form -> name, such as "on the grass" -> "meadow". `alike`: form ->
    forms with the same meaning. `known`: words that the checkpoint was trained on; where it is not empty, no other word becomes an
    opposite, since it would have no effect. `per_word`: most candidates for a word.
    """

    wordnet: WordNet = field(default_factory=load)
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    forms: Mapping[str, str] = field(default_factory=dict)
    alike: Mapping[str, Sequence[str]] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    per_word: int = PER_WORD

    def knows(self, phrase: str) -> bool:
        """Whether the lexicon has a meaning for the phrase, in any case and inflection; function words have none."""
        return bool(self._meanings(phrase))

    def part(self, word: str) -> str:
        """Returns the part of speech of the word's most frequent meaning, "n" for a noun; '' for an unknown or a function word."""
        found = self._meanings(word)
        return found[0][0].part if found else ""

    def synonyms(self, word: str) -> tuple[str, ...]:
        """Returns at most `per_word` synonyms: of each meaning its other words, then similar adjectives or hypernyms."""
        return self._listed(word, self._synonyms(word))

    def own_synonyms(self, word: str) -> tuple[str, ...]:
        """Returns the synonyms that the checkpoint was trained on; none where its vocabulary does not list its words."""
        return self._listed(word, (there for there in self._synonyms(word) if self.known and self._was_taught(there)))

    def antonyms(self, word: str) -> tuple[str, ...]:
        """Returns at most `per_word` opposites, including those of similar adjectives; most nouns have none."""
        return self._listed(word, self._antonyms(word))

    def contrasts(self, word: str) -> tuple[str, ...]:
        """Returns at most `per_word` alternatives (other animals, colours, places), the checkpoint's own group first."""
        return self._listed(word, self._contrasts(word))

    def opposites(self, word: str) -> tuple[str, ...]:
        """Returns at most `per_word` words for a negative prompt: antonyms, then contrasts."""
        found = dict.fromkeys((*self.antonyms(word), *self._contrasts(word)))
        return self._listed(word, (there for there in found if self._was_taught(there)))

    def _was_taught(self, word: str) -> bool:
        return not self.known or any(base in self.known for base in self._bases(word))

    def _bases(self, word: str) -> dict[str, Reading]:
        """Returns the word and, for a noun, its singular, each with its reading."""
        lower = word.lower()
        found = {reading.base: reading for reading in inflection.readings(lower, self.wordnet) if reading.part == "n"}
        return found or {lower: Reading(lower, "n", "base")}

    def _meanings(self, word: str) -> list[tuple[Reading, Meaning]]:
        """Returns the frequent meanings over all readings, the most frequent first."""
        lower = word.lower()
        if lower in CLOSED_WORDS or len(lower) < 2:
            return []
        found = [
            (meaning.use(reading.base), reading, meaning)
            for reading in inflection.readings(lower, self.wordnet)
            for meaning in self.wordnet.of(reading.base, reading.part)
        ]
        found.sort(key=lambda item: (-item[0].count, item[0].rank))
        least = found[0][0].count * _SHARE if found else 0
        frequent = [(reading, meaning) for use, reading, meaning in found if use.count >= max(least, 1) or (use.rank == 1 and least == 0)]
        return frequent[:_MEANINGS]

    def _synonyms(self, word: str) -> Iterator[str]:
        for base, reading in self._bases(word).items():
            # The checkpoint's forms include plurals, which are no synonyms.
            yield from (self._inflected(reading, form) for form in self.alike.get(base, ()) if form in self._bases(form))
        for reading, meaning in self._meanings(word):
            yield from self._words(reading, [meaning])
            yield from self._words(reading, self.wordnet.beside(meaning) if reading.part == "a" else self.wordnet.above(meaning))

    def _antonyms(self, word: str) -> Iterator[str]:
        meanings = self._meanings(word)
        for reading, meaning in meanings:
            yield from (self._inflected(reading, there) for here, there in meaning.antonyms if here == reading.base)
        for reading, meaning in meanings:
            for near in (self.wordnet.meanings[number] for number in meaning.similar[:1] if reading.part == "a"):
                yield from (self._inflected(reading, there) for _, there in near.antonyms)

    def _contrasts(self, word: str) -> Iterator[str]:
        bases = self._bases(word)
        for names in self.groups.values():
            for base, reading in bases.items():
                own = self.forms.get(base, base)
                if own in names:
                    yield from (self._inflected(reading, name) for name in names if name != own)
        frequent = self._meanings(word)
        for reading, meaning in frequent[:1]:
            if reading.part == "n":
                yield from self._co_hyponyms(reading, meaning)
            elif reading.part == "a":  # WordNet counts "red" as an adjective, but its co-hyponyms are nouns
                colours = [noun for noun in self.wordnet.of(reading.base, "n") if self._is_colour(noun)]
                for noun in colours[:1]:
                    yield from self._co_hyponyms(Reading(reading.base, "n", "base"), noun)

    def _is_colour(self, meaning: Meaning) -> bool:
        return any(use.word in _COLOURS for above in self.wordnet.above(meaning) for use in above.uses)

    def _co_hyponyms(self, reading: Reading, meaning: Meaning) -> Iterator[str]:
        """Yields the most frequent words under the nearest hypernym with enough of them, without the word's own hypernyms and hyponyms."""
        own = {meaning.number, *(below.number for below in self.wordnet.under(meaning))}
        kind, best = meaning, list[tuple[int, str]]()
        for _ in range(_CLIMB):
            above = self.wordnet.above(kind)
            if not above:
                break
            own.add(kind.number)
            kind = above[0]
            # Only words of which this is the first meaning count: "plane" is not listed among tools.
            best = [
                (-use.count, use.word)
                for below in self.wordnet.under(kind)
                if below.number not in own
                for use in below.uses[:1]
                if use.rank == 1 and use.count > 0 and " " not in use.word
            ]
            if len(best) >= _CATEGORY:
                break
        yield from (self._inflected(reading, word) for _, word in sorted(best))

    def _words(self, reading: Reading, meanings: Sequence[Meaning]) -> Iterator[str]:
        # The most frequent words first, without those of which this is a rare meaning: "machine" for "car".
        for use in sorted((use for meaning in meanings for use in meaning.uses), key=lambda use: (-use.count, use.rank)):
            if use.word != reading.base and use.rank <= _MEANINGS + 1 and not (reading.part == "a" and self._is_compared(use.word)):
                yield self._inflected(reading, use.word)

    def _is_compared(self, word: str) -> bool:
        """Whether the word is itself a comparative or superlative, as "smaller" beside "small"."""
        return any(reading.part == "a" and reading.form != "base" for reading in inflection.readings(word, self.wordnet))

    def _inflected(self, reading: Reading, base: str) -> str:
        return inflection.inflect(base, reading.part, reading.form, self.wordnet)

    def _listed(self, word: str, found: Iterator[str]) -> tuple[str, ...]:
        kept: dict[str, None] = {}
        for candidate in found:
            if candidate and candidate.lower() != word.lower():
                kept.setdefault(candidate)
            if len(kept) == self.per_word:
                break
        return tuple(kept)
