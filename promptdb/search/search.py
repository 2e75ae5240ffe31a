"""Finds prompts by words, by similarity, by both, or by meaning; with filters, and with diverse hits on request.

Only the search by meaning needs a model, which is an optional package.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from limner.promptdb.connection import MEMORY
from limner.promptdb.errors import BadInput
from limner.promptdb.records import Prompt
from limner.promptdb.schema import Part
from limner.promptdb.search import keyword as by_words
from limner.promptdb.search.filters import Filters, passed
from limner.promptdb.search.fusion import RANK_OFFSET, diverse, fused
from limner.promptdb.search.meaning import AT_ONCE, MeaningIndex
from limner.promptdb.search.minilm import MiniLM
from limner.promptdb.search.tfidf import TfIdf, bucket_of, vectors
from limner.promptdb.store import PromptDB

By = Literal["words", "likeness", "both", "meaning"]

POOL = 200  # hits examined for fusion and diversity
NEAREST = 120  # hits of the coarse ranking by similarity that are compared exactly
WIDEST = 50_000  # most hits examined where few pass the filters
DECIMALS = 6

EVERYTHING = Filters(nsfw_below=None)


@dataclass(frozen=True, slots=True)
class Hit:
    """A prompt and its score: larger is better, comparable within one search only."""

    prompt: Prompt
    score: float


Ranking = Callable[[int], list[tuple[int, float]]]
"""Returns (prompt number, score) of that many best prompts, best first."""


def keyword(db: PromptDB, query: str, limit: int = 20, filters: Filters = EVERYTHING) -> list[Hit]:
    """Returns prompts with words of `query` in text or subject, best first by BM25, equal ones by id.

    Words match by stem, ignoring case and accents. Any string is a valid query; one without a word finds nothing. Of very many matches only
    a pool is ranked, taken from those with the rarest words.
    """
    return _best(db, lambda pool: by_words.ranked(db, query, pool, filters.contains, filters.without), limit, filters, by_words.POOL)


def similar(db: PromptDB, text: str, limit: int = 20, filters: Filters = EVERYTHING) -> list[Hit]:
    """Returns prompts that share rare words and word pairs with `text`, best first by TF-IDF cosine in (0, 1], equal ones by id."""
    wanted = max(limit, NEAREST) if limit > 0 else 0
    hits = _best(db, lambda pool: index_of(db).nearest(db, text, pool, filters.without), wanted, filters, NEAREST)
    if not hits:
        return []
    rows = vectors([text, *(hit.prompt.text for hit in hits)], idf_of(db, filters.without))
    cosines = np.round(rows[1:] @ rows[0], DECIMALS)
    found = [Hit(hit.prompt, float(cosine)) for hit, cosine in zip(hits, cosines, strict=True) if cosine > 0]
    return sorted(found, key=_order)[:limit]


def both(db: PromptDB, query: str, limit: int = 20, filters: Filters = EVERYTHING) -> list[Hit]:
    """Returns hits by words and hits by similarity, fused by their ranks; those with all words of the query before the others."""
    pool = max(limit, POOL)
    rankings = [keyword(db, query, pool, filters), similar(db, query, pool, filters)]
    prompts = {hit.prompt.id: hit.prompt for hits in rankings for hit in hits}
    scores = fused([[hit.prompt.id for hit in hits] for hits in rankings])
    whole = by_words.holding_all(db, query, [f"{prompts[id].text} {prompts[id].subject}" for id in scores])
    most = len(rankings) / RANK_OFFSET  # no hit has a higher fused score
    hits = [Hit(prompts[id], score + most * all_of_it) for (id, score), all_of_it in zip(scores.items(), whole, strict=True)]
    return sorted(hits, key=_order)[: max(0, limit)]


def meaning(db: PromptDB, text: str, limit: int = 20, filters: Filters = EVERYTHING) -> list[Hit]:
    """Returns prompts that mean the same as `text`, best first by the cosine of MiniLM's vectors; embeds a few new prompts if needed.

    Raises BadInput where MiniLM is not installed, or many prompts have no vectors yet.
    """
    index = meaning_of(db)
    index.take_up(db, most=AT_ONCE)
    return _best(db, lambda pool: index.nearest(db, text, pool), limit, filters, POOL)


SEARCHES: dict[By, Callable[[PromptDB, str, int, Filters], list[Hit]]] = {
    "words": keyword,
    "likeness": similar,
    "both": both,
    "meaning": meaning,
}


def search(db: PromptDB, query: str, limit: int = 20, filters: Filters = EVERYTHING, by: By = "both", differing: bool = False) -> list[Hit]:
    """Returns the best hits; with `differing`, hits that are near to the query and unlike each other."""
    hits = SEARCHES[by](db, query, max(limit, POOL) if differing else limit, filters)
    return spread_out(db, hits[:POOL], limit) if differing else hits


def spread_out(db: PromptDB, hits: Sequence[Hit], limit: int) -> list[Hit]:
    """Returns up to `limit` of the hits, each good and unlike those before it (maximal marginal relevance)."""
    rows = vectors([hit.prompt.text for hit in hits], idf_of(db))
    return [hits[place] for place in diverse(rows, [hit.score for hit in hits], limit)]


def _best(db: PromptDB, ranking: Ranking, limit: int, filters: Filters, pool: int) -> list[Hit]:
    """Returns the best `limit` prompts that pass the filters, examining more hits until there are enough."""
    if limit <= 0:
        return []
    pool = max(pool, limit)
    while True:
        scores = dict(ranking(pool))
        hits = [Hit(prompt, scores[number]) for number, prompt in passed(db, scores, filters)]
        if len(hits) >= limit or len(scores) < pool or pool >= WIDEST:
            return sorted(hits, key=_order)[:limit]
        pool = min(4 * pool, WIDEST)


def _order(hit: Hit) -> tuple[float, str]:
    return (-hit.score, hit.prompt.id)


def index_of(db: PromptDB) -> TfIdf:
    """Returns the similarity index of an open database, stored beside its file."""
    with _indexes_lock:
        in_memory = str(db.path) == MEMORY
        return _indexes.setdefault(db, TfIdf(None if in_memory else Path(f"{db.path}.likeness")))


def meaning_of(db: PromptDB) -> MeaningIndex:
    """Returns MiniLM's vectors of an open database, stored beside its file. Raises BadInput where MiniLM is not installed."""
    with _indexes_lock:
        if db not in _meanings:
            if str(db.path) == MEMORY:
                raise BadInput("a search by meaning stores its vectors beside the database file: give a file with --db")
            _meanings[db] = MeaningIndex(MiniLM(), Path(f"{db.path}.meaning"))
        return _meanings[db]


def idf_of(db: PromptDB, without: Part | None = None) -> Callable[[Sequence[str]], np.ndarray]:
    """Returns a function that gives the inverse document frequency of words in the database. `without`: a part of the seed to leave out."""
    index = index_of(db)
    segments, prompts = index.view(db, without)

    def idf(words: Sequence[str]) -> np.ndarray:
        if not words or not segments:
            return np.ones(len(words))
        documents = index.documents(segments, np.array([bucket_of(word) for word in words], np.int64))
        return np.log((1 + prompts) / (1 + documents)) + 1

    return idf


_indexes: weakref.WeakKeyDictionary[PromptDB, TfIdf] = weakref.WeakKeyDictionary()
_meanings: weakref.WeakKeyDictionary[PromptDB, MeaningIndex] = weakref.WeakKeyDictionary()
_indexes_lock = threading.Lock()
