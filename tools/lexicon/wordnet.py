"""The lexicon's data file in memory: meanings, their relations, irregular forms.

Derived from WordNet 3.0 (Princeton University; the notice is in `WORDNET_LICENSE.txt`) by `build.py`, which describes the content.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from limner.promptdb.errors import BadInput

FILE = Path(__file__).with_name("wordnet.txt.xz")


@dataclass(frozen=True, slots=True)
class Use:
    """A word in a meaning: `rank` among the word's meanings from 1, `count` in WordNet's concordance."""

    word: str
    rank: int
    count: int


@dataclass(frozen=True, slots=True)
class Meaning:
    """A synset. `part` is n, v, a or r; `topic` the lexicographer's file; `hypernyms` and `similar` are numbers of other meanings."""

    number: int
    part: str
    topic: int
    uses: tuple[Use, ...]
    hypernyms: tuple[int, ...]
    similar: tuple[int, ...]
    antonyms: tuple[tuple[str, str], ...]

    def use(self, word: str) -> Use:
        """Returns the entry of `word` in this meaning; raises StopIteration where the meaning lacks it."""
        return next(use for use in self.uses if use.word == word)


@dataclass(frozen=True)
class WordNet:
    """`meanings`, each at the index that is its number; `irregular`: (part of speech, inflected form, base)."""

    meanings: tuple[Meaning, ...]
    irregular: tuple[tuple[str, str, str], ...] = ()

    @cached_property
    def by_word(self) -> dict[tuple[str, str], tuple[Meaning, ...]]:
        """(word with blanks, part of speech) -> its meanings, the most frequent first."""
        found: dict[tuple[str, str], list[Meaning]] = {}
        for meaning in self.meanings:
            for use in meaning.uses:
                found.setdefault((use.word, meaning.part), []).append(meaning)
        return {key: tuple(sorted(meanings, key=lambda meaning: meaning.use(key[0]).rank)) for key, meanings in found.items()}

    @cached_property
    def bases(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """(irregular form, part of speech) -> its bases."""
        found: dict[tuple[str, str], tuple[str, ...]] = {}
        for part, inflected, base in self.irregular:
            found[inflected, part] = (*found.get((inflected, part), ()), base)
        return found

    @cached_property
    def forms(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """(base, part of speech) -> its irregular forms."""
        found: dict[tuple[str, str], tuple[str, ...]] = {}
        for part, inflected, base in self.irregular:
            found[base, part] = (*found.get((base, part), ()), inflected)
        return found

    def of(self, word: str, part: str) -> tuple[Meaning, ...]:
        """Returns the meanings of a base form, lower case with blanks; () for an unknown one."""
        return self.by_word.get((word, part), ())

    def above(self, meaning: Meaning) -> tuple[Meaning, ...]:
        """Returns the hypernyms at distance 1."""
        return tuple(self.meanings[number] for number in meaning.hypernyms)

    def beside(self, meaning: Meaning) -> tuple[Meaning, ...]:
        """Returns adjectives of similar meaning, including the other satellites of a satellite's head."""
        near = [self.meanings[number] for number in meaning.similar]
        # A satellite adjective is linked to its head alone; the other satellites of that head are nearly as similar.
        if len(near) == 1:
            near += [self.meanings[number] for number in near[0].similar if number != meaning.number]
        return tuple(near)

    def under(self, meaning: Meaning) -> Iterator[Meaning]:
        """Yields all hyponyms of a meaning, level by level, each once."""
        seen, level = {meaning.number}, [meaning.number]
        while level:
            level = [number for above in level for number in self._children.get(above, ()) if number not in seen]
            level = list(dict.fromkeys(level))
            seen.update(level)
            yield from (self.meanings[number] for number in level)

    @cached_property
    def _children(self) -> dict[int, list[int]]:
        children: dict[int, list[int]] = {}
        for meaning in self.meanings:
            for above in meaning.hypernyms:
                children.setdefault(above, []).append(meaning.number)
        return children


@lru_cache(maxsize=1)
def load(file: Path = FILE) -> WordNet:
    """Reads the file, once in a process. Raises BadInput where it is missing or broken."""
    try:
        lines = lzma.decompress(file.read_bytes()).decode("ascii").splitlines()
        irregular = tuple(_irregular(line) for line in lines if line.startswith("!"))
        meanings = tuple(_meaning(number, line) for number, line in enumerate(lines) if not line.startswith("!"))
    except (OSError, lzma.LZMAError, ValueError) as error:
        mend = "restore it or run python -m limner.tools.lexicon.build"
        raise BadInput(f"the lexicon {file.name} cannot be read ({error}); {mend}") from error
    return WordNet(meanings, irregular)


def _meaning(number: int, line: str) -> Meaning:
    head, words, hypernyms, similar, antonyms = line.split("\t")
    part, topic = head.split()
    uses = []
    for entry in words.split():
        word, rank, count = entry.split(":")
        uses.append(Use(word.replace("_", " "), int(rank), int(count)))
    opposed = [tuple(pair.replace("_", " ").split(">")) for pair in antonyms.split()]
    return Meaning(
        number,
        part,
        int(topic),
        tuple(uses),
        tuple(map(int, hypernyms.split())),
        tuple(map(int, similar.split())),
        tuple((here, there) for here, there in opposed),
    )


def _irregular(line: str) -> tuple[str, str, str]:
    _, part, inflected, base = line.split()
    return part, inflected.replace("_", " "), base.replace("_", " ")
