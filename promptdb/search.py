"""Finds prompts: by words (full text) and by likeness (hashed TF-IDF). No model and no download is needed.

Knows the prompts only; nothing of drawings or scores.
"""

from __future__ import annotations

import re
import threading
import weakref
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import numpy as np

from promptdb.records import Prompt
from promptdb.store import PromptDB

MAX_TERMS = 64  # of a query; SQLite refuses expressions that nest too deep, and nobody types more
BUCKETS = 1 << 20  # features of the hashed vectors: words and word pairs that share one are rare

_ASCII_GAPS = re.compile(r"[\s\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+")
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Hit:
    """A prompt found and how well it fits: larger is better, comparable within one search only."""

    prompt: Prompt
    score: float


def keyword(db: PromptDB, query: str, limit: int = 20, source: str | None = None) -> list[Hit]:
    """Prompts with at least one word of `query` in text or subject, best first by BM25 (SQLite FTS5), ties by id.

    Words match by stem, without regard to case and accents. Any string is a valid query; one without a word finds nothing.
    """
    words = _match(query)
    if not words:
        return []
    where, parameters = ("", []) if source is None else ("AND p.source = ?", [source])
    rows = db.query(
        "SELECT bm25(prompt_fts), p.text, p.source, p.subject, p.negative, p.nsfw "
        "FROM prompt_fts JOIN prompt p ON p.number = prompt_fts.rowid "
        f"WHERE prompt_fts MATCH ? {where} ORDER BY 1, p.id LIMIT ?",
        [words, *parameters, max(0, limit)],
    )
    return [Hit(Prompt(*columns), -rank) for rank, *columns in rows]


def similar(db: PromptDB, text: str, limit: int = 20) -> list[Hit]:
    """Prompts that share the most telling words and word pairs with `text`, best first by cosine in (0, 1], ties by id.

    The vectors are kept while `db` is open; prompts added since the last call are taken up.
    """
    with _indexes_lock:
        index = _indexes.setdefault(db, _Index())
    return index.nearest(db, text, limit)


def _match(query: str) -> str:
    """An FTS5 expression: the distinct words of `query`, each quoted (so that none is an operator), joined by OR."""
    readable = query.encode("utf-8", "ignore").decode("utf-8")  # lone surrogates cannot be handed to SQLite
    words = dict.fromkeys(word.lower() for word in _ASCII_GAPS.split(readable) if word)
    return " OR ".join(f'"{word}"' for word in islice(words, MAX_TERMS))


class _Index:
    """Hashed counts of every prompt as one sparse matrix in rows (`features[starts[i]:starts[i + 1]]`), grown as the database grows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self._ids: list[str] = []
        self._features = np.zeros(0, np.int64)
        self._counts = np.zeros(0, np.float32)
        self._starts = np.zeros(1, np.int64)
        self._documents = np.zeros(BUCKETS, np.int64)

    def nearest(self, db: PromptDB, text: str, limit: int) -> list[Hit]:
        # The database is asked outside the lock: a thread inside a transaction may be waiting for this index.
        added = db.query("SELECT number, id, text FROM prompt WHERE number > ? ORDER BY number", [self._last])
        with self._lock:
            self._take_up(added)
            ranked = self._ranked(text, limit)
        prompts = [(db.prompt(id), cosine) for id, cosine in ranked]
        return [Hit(prompt, cosine) for prompt, cosine in prompts if prompt is not None]

    def _take_up(self, added: Sequence[tuple[Any, ...]]) -> None:
        rows = [(number, id, *_features(text)) for number, id, text in added if number > self._last]
        if not rows:
            return
        self._last = rows[-1][0]
        rows = [row for row in rows if row[2].size]
        self._ids += [row[1] for row in rows]
        self._features = np.concatenate([self._features, *(row[2] for row in rows)])
        self._counts = np.concatenate([self._counts, *(row[3] for row in rows)])
        self._starts = np.append(self._starts, self._starts[-1] + np.cumsum([row[2].size for row in rows], dtype=np.int64))
        for row in rows:
            self._documents[row[2]] += 1

    def _ranked(self, text: str, limit: int) -> list[tuple[str, float]]:
        """(prompt id, cosine), best first."""
        features, counts = _features(text)
        if not self._ids or not features.size:
            return []
        idf = np.log((1 + len(self._ids)) / (1 + self._documents)) + 1
        query = np.zeros(BUCKETS)
        query[features] = _damped(counts) * idf[features]
        weights = _damped(self._counts) * idf[self._features]
        products = np.add.reduceat(weights * query[self._features], self._starts[:-1])
        lengths = np.sqrt(np.add.reduceat(weights**2, self._starts[:-1]))
        cosines = np.round(products / (lengths * np.linalg.norm(query)), 6)
        found = np.flatnonzero(cosines > 0)
        if 0 < limit < found.size:
            found = found[cosines[found] >= np.partition(cosines[found], -limit)[-limit]]
        ranked = sorted(found, key=lambda row: (-cosines[row], self._ids[row]))
        return [(self._ids[row], float(cosines[row])) for row in ranked[: max(0, limit)]]


def _features(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Distinct hashed words and word pairs of a text, and how often each occurs."""
    words = _WORD.findall(text.lower())
    grams = words + [f"{left} {right}" for left, right in pairwise(words)]
    # CRC-32 and not hash(): that one differs between processes.
    hashed = [zlib.crc32(gram.encode("utf-8", "surrogatepass")) % BUCKETS for gram in grams]
    features, counts = np.unique(np.array(hashed, np.int64), return_counts=True)
    return features, counts.astype(np.float32)


def _damped(counts: np.ndarray) -> np.ndarray:
    return 1 + np.log(counts)


_indexes: weakref.WeakKeyDictionary[PromptDB, _Index] = weakref.WeakKeyDictionary()
_indexes_lock = threading.Lock()
