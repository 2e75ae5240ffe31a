"""Finds prompts by words: candidates from SQLite's full-text index, the rarest words first, ranked by BM25.

`ORDER BY rank` reads every prompt with any of the words, and common modifiers are in every third of a million. So the query is narrowed:
prompts with all of its words, with the rarest, with the rarest and any other, until a pool of some hundreds is full. Where all matches
are few, all of them are ranked. `highlights` marks the words in the prompts that were found.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from limner.promptdb.schema import Part
from limner.promptdb.search.terms import FUNCTION_WORDS, among, frequencies, occurrences, stems
from limner.promptdb.store import PromptDB

MAX_WORDS = 64  # of a query; SQLite refuses deeply nested expressions
POOL = 400  # candidates that are ranked where there are too many matches
FEW = 5_000  # up to so many matches are all ranked
COMMON = 0.06  # words in a larger share of all prompts are not searched alone, only in combination
WINDOWS = 8  # where a stage has too many matches, they are taken from so many places of the database, old and new
K1, B = 1.2, 0.3  # of BM25; length counts for less than the usual 0.75, since a long prompt is no worse

ASCII_GAPS = re.compile(r"[\s\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+")


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a query, its terms in the index, and the number of prompts with it."""

    text: str
    terms: tuple[str, ...]
    documents: int

    @property
    def quoted(self) -> str:
        """The word as a string of SQLite's full-text syntax."""
        return f'"{self.text}"'


def ranked(
    db: PromptDB, query: str, pool: int = POOL, phrases: Sequence[str] = (), without: Part | None = None
) -> list[tuple[int, float]]:
    """Returns (prompt number, BM25) of up to `pool` prompts that match words of the query in text or subject, best first; those with all
    words before those with some.

    All of the `phrases` must occur. `without`: a part of the seed to leave out. Words match by stem, ignoring case and accents. Any string
    is a valid query; one without a word finds nothing. Scores are comparable within one answer only.
    """
    out = db.part(without) if without else ()
    last = db.last_prompt()
    prompts = last - len(out)
    words = query_words(db, query, last, out)
    if not words or pool <= 0:
        return []
    required = "".join(f' AND "{" ".join(ASCII_GAPS.split(readable(phrase)))}"' for phrase in phrases)
    if sum(word.documents for word in words) <= max(FEW, pool):
        sql = "SELECT rowid FROM prompt_fts WHERE prompt_fts MATCH ? ORDER BY rank LIMIT ?"
        numbers = [number for (number,) in db.query(sql, [f"({_any(words)}){required}", pool + len(out)])]
    else:
        numbers = list(_candidates(db, words, required, last, pool + len(out)))
    left_out = set(out)
    return _scored(db, [number for number in numbers if number not in left_out][:pool], words, prompts)


def query_words(db: PromptDB, query: str, prompts: int, out: Sequence[int] = ()) -> list[Word]:
    """Returns the distinct words of a query that occur in some prompt, the rarest first; function words only where there are no others.

    `out`: numbers of prompts that do not count.
    """
    texts = list(islice(dict.fromkeys(word.lower() for word in ASCII_GAPS.split(readable(query)) if word), MAX_WORDS))
    texts = [text for text in texts if text not in FUNCTION_WORDS] or texts
    terms = stems(db, texts)
    documents = frequencies(db, [term for group in terms for term in group], prompts)
    words: dict[tuple[str, ...], Word] = {}
    for text, group in zip(texts, terms, strict=True):
        if group and (count := min(documents[term] for term in group)):
            word = Word(text, group, count)
            if count := count - among(db, word.quoted, out):
                words.setdefault(group, replace(word, documents=count))
    return sorted(words.values(), key=lambda word: word.documents)


def _candidates(db: PromptDB, words: Sequence[Word], required: str, prompts: int, pool: int) -> Iterator[int]:
    """Yields distinct prompt numbers, stage after stage, until the pool is full."""
    found: dict[int, None] = {}
    for stage in _stages(words, prompts):
        for number in _spread(db, f"({stage}){required}", pool, prompts):
            if number not in found:
                found[number] = None
                yield number
        if len(found) >= pool:
            return


def _stages(words: Sequence[Word], prompts: int) -> Iterator[str]:
    """Yields full-text expressions, the narrowest first. `words`: the rarest first."""
    yield _all(words)
    half = max(2, len(words) // 2)
    if half < len(words):
        yield _all(words[:half])
    if len(words) > 2:
        yield f"{words[0].quoted} AND ({_any(words[1:])})"
    rare = [word for word in words if word.documents <= max(FEW, COMMON * prompts)] or words[:1]
    yield _any(rare)
    if len(rare) < len(words):
        yield _any(words)


def _spread(db: PromptDB, expression: str, pool: int, prompts: int) -> list[int]:
    """Returns up to `pool` matches of an expression; where there are more, from all over the database."""
    numbers = [number for (number,) in db.query(f"{_MATCHING} LIMIT ?", [expression, prompts, pool])]
    if len(numbers) < pool:
        return numbers
    spread: dict[int, None] = {}
    for window in range(WINDOWS):
        first = window * prompts // WINDOWS
        rows = db.query(f"{_MATCHING} AND rowid > ? LIMIT ?", [expression, prompts, first, -(-pool // WINDOWS)])
        spread.update(dict.fromkeys(number for (number,) in rows))
    return [*spread, *(number for number in numbers if number not in spread)][:pool]


def _scored(db: PromptDB, numbers: Sequence[int], words: Sequence[Word], prompts: int) -> list[tuple[int, float]]:
    """Returns the BM25 of each prompt (Robertson and Zaragoza 2009) times the share of the query's weight that it contains, best first.

    A prompt with all of the words has the greatest possible score of one with some on top of its own, so that it ranks before all of those.
    """
    held: dict[int, dict[str, int]] = {}
    lengths: dict[int, int] = {}
    terms = {term for word in words for term in word.terms}
    for start in range(0, len(numbers), POOL):
        part = numbers[start : start + POOL]
        held |= occurrences(db, part, terms)
        lengths |= dict(db.query_for(f"SELECT number, {_LENGTH} FROM prompt WHERE number IN", part))
    mean = sum(lengths.values()) / max(1, len(lengths))
    # As in SQLite, a word in more than half of the prompts has almost no weight.
    weighed = [
        (word.terms, max(math.log((max(prompts, word.documents) - word.documents + 0.5) / (word.documents + 0.5)), 1e-6)) for word in words
    ]
    whole = sum(weight for _, weight in weighed)
    scores = {}
    for number, length in lengths.items():
        counts, norm = held[number], K1 * (1 - B + B * length / mean)
        share = score = 0.0
        missing = len(weighed)
        for wanted, weight in weighed:
            if count := min([counts.get(term, 0) for term in wanted]):
                missing -= 1
                share += weight
                score += weight * count * (K1 + 1) / (count + norm)
        scores[number] = share / whole * score + (0 if missing else whole * (K1 + 1))
    return sorted(((number, score) for number, score in scores.items() if score), key=lambda item: (-item[1], item[0]))


def holding_all(db: PromptDB, query: str, texts: Sequence[str]) -> list[bool]:
    """Returns for each text whether it has all words of the query, by stem; function words count only where there are no others."""
    asked = [word.lower() for word in ASCII_GAPS.split(readable(query)) if word][:MAX_WORDS]
    asked = [word for word in asked if word not in FUNCTION_WORDS] or asked
    wanted = {term for group in stems(db, asked) for term in group}
    starts = {term[:2] for term in wanted}  # a text in ASCII without one of them lacks the word; of "day" the stem is "dai"
    likely = [not text.isascii() or all(start in text.lower() for start in starts) for text in texts]
    words = [_WORD.findall(text.lower()) if may else [] for text, may in zip(texts, likely, strict=True)]
    known = dict(zip(flat := list({word for row in words for word in row}), stems(db, flat), strict=True))
    return [may and wanted <= {term for word in row for term in known[word]} for row, may in zip(words, likely, strict=True)]


def readable(text: str) -> str:
    """Returns `text` without lone surrogates, which SQLite does not accept."""
    return text.encode("utf-8", "ignore").decode("utf-8")


_LENGTH = "length(text) - length(replace(text, ' ', '')) + length(subject) - length(replace(subject, ' ', '')) + 2"  # words, nearly
_MATCHING = "SELECT rowid FROM prompt_fts WHERE prompt_fts MATCH ? AND rowid <= ?"


def _all(words: Sequence[Word]) -> str:
    return " AND ".join(word.quoted for word in words)


def _any(words: Sequence[Word]) -> str:
    return " OR ".join(word.quoted for word in words)


_WORD = re.compile(r"[^\W_]+")

Span = tuple[int, int]
"""Character offsets, half open."""


def highlights(db: PromptDB, query: str, texts: Sequence[str]) -> list[list[Span]]:
    """Returns for each text the character spans of words that match a word of the query."""
    wanted = {term for group in stems(db, _WORD.findall(readable(query))[:MAX_WORDS]) for term in group}
    words = list(dict.fromkeys(match[0] for text in texts for match in _WORD.finditer(text)))
    matching = {word for word, terms in zip(words, stems(db, words), strict=True) if wanted.intersection(terms)}
    return [[match.span() for match in _WORD.finditer(text) if match[0] in matching] for text in texts]
