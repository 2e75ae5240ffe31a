"""Builds `wordnet.txt.xz`, the lexicon's data file, from WordNet's database. Equal input gives equal bytes.

    python -m limner.tools.lexicon.build --wordnet /usr/share/wordnet

The file holds kinds of things (no named individuals), as lower-case words or phrases of at most three words, in meanings that are one of
the three most frequent of at least one word, where that use is counted in WordNet's concordance, or is the word's first meaning
and its topic can be pictured. So rare technical senses are left out, and "giraffe", which the concordance lacks, is in.
"""

from __future__ import annotations

import argparse
import lzma
from pathlib import Path

from limner.tools.lexicon import database_files
from limner.tools.lexicon.database_files import Synset

TARGET = Path(__file__).with_name("wordnet.txt.xz")
DEBIAN = Path("/usr/share/wordnet")
SENSES = 3
PICTURED = frozenset((0, 1, 5, 6, 7, 8, 13, 15, 17, 18, 19, 20, 27, 35, 38))
"""Topics that pictures can show: adjectives, animals, artifacts, attributes, body, food, places, things in nature, people, phenomena,
plants, substances, verbs of touch and of motion.
"""

Key = tuple[str, int]
Uses = dict[tuple[Key, str], tuple[int, int]]
"""(meaning, word) -> (rank of the meaning for the word, count)."""


def build(wordnet: Path) -> bytes:
    """Returns the compressed file. Raises BadInput where the database is incomplete."""
    # Checksum and preset are fixed, so that the bytes depend on the input alone.
    return lzma.compress(text(wordnet).encode("ascii"), format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, preset=9 | lzma.PRESET_EXTREME)


def text(wordnet: Path) -> str:
    """Returns the uncompressed file: one line a meaning, then one line an irregular form.

    A meaning has five fields separated by tabs, with items separated by blanks: `part topic`; its words as `word:rank:count`; line numbers
    of its hypernyms; line numbers of similar meanings; antonyms as `word>antonym`. An irregular form: `! part inflected base`.
    """
    uses = _uses(wordnet)
    everything = {synset.key: synset for synset in database_files.synsets(wordnet)}
    kept = {key: synset for key, synset in everything.items() if _worth(synset, uses)}
    # All hypernyms up to the root are included: co-hyponyms are found through them.
    pending = list(kept)
    while pending:
        for above in everything[pending.pop()].hypernyms:
            if above not in kept:
                kept[above] = everything[above]
                pending.append(above)
    keys = sorted(kept)
    numbers = {key: number for number, key in enumerate(keys)}
    lines = [_line(kept[key], kept, numbers, uses) for key in keys]
    known = {(key[0], word) for key in keys for word in kept[key].words}
    irregular = sorted({entry for entry in database_files.exceptions(wordnet) if (entry[0], entry[2]) in known})
    return "\n".join([*lines, *(f"! {part} {inflected} {base}" for part, inflected, base in irregular)]) + "\n"


def _uses(wordnet: Path) -> Uses:
    counts = database_files.counts(wordnet)
    return {
        ((part, offset), word): (rank, counts.get((word, part, rank), 0))
        for (word, part), offsets in database_files.ranks(wordnet).items()
        for rank, offset in enumerate(offsets, 1)
    }


def _plain(word: str) -> bool:
    return word == word.lower() and word.count("_") <= 2 and not any(letter in word for letter in ".0123456789/")


def _worth(synset: Synset, uses: Uses) -> bool:
    if synset.named:
        return False
    for word in filter(_plain, synset.words):
        rank, count = uses[synset.key, word]
        if rank <= SENSES and (count > 0 or (rank == 1 and synset.topic in PICTURED)):
            return True
    return False


def _line(synset: Synset, kept: dict[Key, Synset], numbers: dict[Key, int], uses: Uses) -> str:
    words = [f"{word}:{uses[synset.key, word][0]}:{uses[synset.key, word][1]}" for word in synset.words if _plain(word)]
    hypernyms = [str(numbers[key]) for key in synset.hypernyms]
    similar = [str(numbers[key]) for key in synset.similar if key in numbers]
    antonyms = sorted(
        f"{synset.words[here]}>{kept[key].words[there]}"
        for here, key, there in synset.antonyms
        if key in kept and _plain(synset.words[here]) and _plain(kept[key].words[there])
    )
    return "\t".join([f"{synset.key[0]} {synset.topic}", *(" ".join(items) for items in (words, hypernyms, similar, antonyms))])


def main() -> None:
    """Runs the command line: reads --wordnet and writes --out."""
    parser = argparse.ArgumentParser(description="build the lexicon's data file from WordNet's database")
    parser.add_argument("--wordnet", type=Path, default=DEBIAN, help="folder with data.noun, index.noun, ...")
    parser.add_argument("--out", type=Path, default=TARGET)
    arguments = parser.parse_args()
    arguments.out.write_bytes(build(arguments.wordnet))
    print(f"{arguments.out}: {arguments.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
