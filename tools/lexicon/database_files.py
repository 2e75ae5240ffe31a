"""Reads WordNet's own database files (`data.*`, `*.exc`, `cntlist.rev`), which Debian's package `wordnet-base` installs.

WordNet's manual page wndb(5) describes the format. Only words, ranks, counts and four relations are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from limner.promptdb.errors import BadInput

PARTS = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
"""Part of speech in the database -> ending of its files. Satellite adjectives (`s`) are read as adjectives."""

_TYPES = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}


@dataclass(frozen=True, slots=True)
class Synset:
    """One meaning. `key`: part of speech and offset, unique. `topic`: number of the lexicographer's file, such as 5 for animals.

    `hypernyms`, `similar`: keys of other synsets. `antonyms`: (index of the word here, key there, index of the word there).
    """

    key: tuple[str, int]
    topic: int
    words: tuple[str, ...]
    hypernyms: tuple[tuple[str, int], ...]
    similar: tuple[tuple[str, int], ...]
    antonyms: tuple[tuple[int, tuple[str, int], int], ...]
    named: bool
    """Whether it is a named individual (a town, a person), not a kind of things."""


def synsets(folder: Path) -> Iterator[Synset]:
    """All meanings of all parts of speech, in file order. Raises BadInput where a file is missing."""
    for part in PARTS:
        for line in _lines(folder / f"data.{PARTS[part]}"):
            if not line.startswith(" "):  # the licence at the head is indented
                yield _synset(part, line)


def ranks(folder: Path) -> dict[tuple[str, str], list[int]]:
    """Returns {(lower-case word, part of speech): offsets of its meanings, the most frequent first}."""
    found: dict[tuple[str, str], list[int]] = {}
    for part in PARTS:
        for line in _lines(folder / f"index.{PARTS[part]}"):
            if not line.startswith(" "):
                fields = line.split()
                found[fields[0], part] = [int(offset) for offset in fields[-int(fields[2]) :]]
    return found


def counts(folder: Path) -> dict[tuple[str, str, int], int]:
    """Returns {(lower-case word, part of speech, rank from 1): number of occurrences in WordNet's concordance}."""
    found: dict[tuple[str, str, int], int] = {}
    for line in _lines(folder / "cntlist.rev"):
        key, rank, count = line.split()
        word, sense = key.split("%")
        found[word, _TYPES[sense[0]], int(rank)] = int(count)
    return found


def exceptions(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Yields (part of speech, inflected form, base) of the irregular forms."""
    for part in PARTS:
        for line in _lines(folder / f"{PARTS[part]}.exc"):
            inflected, *bases = line.split()
            yield from ((part, inflected, base) for base in bases)


def _synset(part: str, line: str) -> Synset:
    fields = line.split("|")[0].split()
    count = int(fields[3], 16)
    # An adjective may end with a syntactic marker, as in galore(ip), which is not part of the word.
    words = tuple(word.split("(")[0] for word in fields[4 : 4 + 2 * count : 2])
    start = 5 + 2 * count
    hypernyms, similar, antonyms, named = [], [], [], False
    for at in range(start, start + 4 * int(fields[start - 1]), 4):
        symbol, offset, there, ends = fields[at : at + 4]
        key = ("a" if there == "s" else there, int(offset))
        if symbol == "@":
            hypernyms.append(key)
        elif symbol == "@i":
            named = True
        elif symbol == "&":
            similar.append(key)
        elif symbol == "!":
            antonyms.append((int(ends[:2], 16) - 1, key, int(ends[2:], 16) - 1))
    return Synset((part, int(fields[0])), int(fields[1]), words, tuple(hypernyms), tuple(similar), tuple(antonyms), named)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise BadInput(f"{file} cannot be read; install Debian's package wordnet-base or name its folder") from error
