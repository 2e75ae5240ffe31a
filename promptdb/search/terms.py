"""Terms of the full-text index: words stemmed and counted, and the list of function words.

A temporary table with the index's own tokenizer stems queries and the prompts of a small pool, so that no second stemmer can disagree.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from limner.promptdb.schema import TOKENIZER
from limner.promptdb.store import PromptDB

GROWN = 1.1  # counts are read again when the database has grown by more than a tenth

REMEMBERED = 50_000
"""Most words whose stems are cached."""

REMEMBERED_TEXTS = 10_000
"""Most prompts whose terms are cached; about 20 MB."""

_TABLES = (
    "CREATE VIRTUAL TABLE temp.words USING fts5vocab(main, prompt_fts, row)",
    f"CREATE VIRTUAL TABLE temp.probe USING fts5(text, tokenize='{TOKENIZER}')",
    "CREATE VIRTUAL TABLE temp.probed USING fts5vocab(temp, probe, instance)",
)


@dataclass
class _Counts:
    """Cached counts of one open database: the number of prompts with each term, read when there were `prompts` of them."""

    prompts: int = 0
    documents: dict[str, int] = field(default_factory=dict)


_known: weakref.WeakKeyDictionary[PromptDB, _Counts] = weakref.WeakKeyDictionary()
_lock = threading.Lock()
_stems: dict[str, tuple[str, ...]] = {}
_texts: dict[str, dict[str, int]] = {}


def stems(db: PromptDB, words: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns the terms of each word: one; none where it is all punctuation; several where the index splits it."""
    known = _stems  # another thread may put an empty one in its place meanwhile
    unknown = [word for word in dict.fromkeys(words) if word not in known]
    if unknown:
        found: list[list[str]] = [[] for _ in unknown]
        with _probe(db):
            for row, word in enumerate(unknown):
                db.query("INSERT INTO temp.probe (rowid, text) VALUES (?, ?)", [row, word])
            for row, term in db.query("SELECT doc, term FROM temp.probed ORDER BY doc, offset"):
                found[row].append(term)
        known = _remember({**{word: known[word] for word in words if word in known}, **dict(zip(unknown, map(tuple, found), strict=True))})
    return [known[word] for word in words]


def _remember(found: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Caches stems up to a limit. They depend on the tokenizer alone, so they hold for every database."""
    global _stems
    if len(_stems) > REMEMBERED:
        _stems = {}
    _stems.update(found)
    return found


def frequencies(db: PromptDB, terms: Iterable[str], prompts: int) -> dict[str, int]:
    """Returns the number of prompts with each term. `prompts`: the number of prompts; counts are cached until it has grown."""
    with _lock:
        counts = _known.setdefault(db, _Counts())
        if prompts > GROWN * counts.prompts or prompts < counts.prompts:
            counts.prompts = prompts
            counts.documents.clear()
    for term in terms:
        if term not in counts.documents:
            with _probe(db):
                rows = db.query("SELECT doc FROM temp.words WHERE term = ?", [term])
            counts.documents[term] = rows[0][0] if rows else 0
    return {term: counts.documents[term] for term in terms}


def among(db: PromptDB, expression: str, numbers: Sequence[int]) -> int:
    """Returns how many of the prompts with those numbers, in order, match a full-text expression."""
    if not numbers:
        return 0
    sql = "SELECT rowid FROM prompt_fts WHERE prompt_fts MATCH ? AND rowid BETWEEN ? AND ?"
    return len({number for (number,) in db.query(sql, [expression, numbers[0], numbers[-1]])}.intersection(numbers))


def occurrences(db: PromptDB, numbers: Collection[int], terms: Collection[str]) -> dict[int, dict[str, int]]:
    """Returns {prompt number: {term: occurrences in text and subject}}."""
    places = ", ".join("?" * len(numbers))
    texts: dict[int, str] = dict(db.query(f"SELECT number, text || ' ' || subject FROM prompt WHERE number IN ({places})", list(numbers)))
    counted = _counted(db, texts)
    return {number: {term: often for term in terms if (often := counted[texts[number]].get(term))} for number in numbers if number in texts}


def _counted(db: PromptDB, texts: Mapping[int, str]) -> dict[str, dict[str, int]]:
    """Returns {text: {term: occurrences}}, cached: the same prompts are candidates often, and splitting them is most of a search's cost."""
    global _texts
    known = _texts  # another thread may put an empty one in its place meanwhile
    found = {text: known[text] for text in texts.values() if text in known}
    if unknown := {text: number for number, text in texts.items() if text not in found}:
        places = ", ".join("?" * len(unknown))
        chosen = f"SELECT number, text || ' ' || subject FROM prompt WHERE number IN ({places})"
        with _probe(db):
            db.query(f"INSERT INTO temp.probe (rowid, text) {chosen}", list(unknown.values()))
            rows = db.query("SELECT doc, term, count(*) FROM temp.probed GROUP BY doc, term")
        counts: dict[int, dict[str, int]] = {number: {} for number in unknown.values()}
        for number, term, often in rows:
            counts[number][sys.intern(term)] = often
        fresh = {text: counts[number] for text, number in unknown.items()}
        if len(_texts) > REMEMBERED_TEXTS:
            _texts = {}
        _texts.update(fresh)
        found |= fresh
    return found


@contextmanager
def _probe(db: PromptDB) -> Iterator[None]:
    """Clears the temporary tables and keeps other threads of this process from using them inside the context."""
    with db.alone():
        if not db.query("SELECT 1 FROM temp.sqlite_master WHERE name = 'probe'"):
            for statement in _TABLES:
                db.query(statement)
        db.query("DELETE FROM temp.probe")
        yield


_WORDS = """
a an the and or of in on at with without by to from for as into onto over under is are was be been being it its this that these those
his her their our your my he she they we you i who which there while very
"""

FUNCTION_WORDS = frozenset(_WORDS.split())
