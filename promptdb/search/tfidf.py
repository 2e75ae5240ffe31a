"""Similarity without a model: TF-IDF over hashed words, in numpy arrays stored beside the database and memory-mapped.

Prompts are divided into segments by number. A segment lists for every word the prompts with it and their weights; a query reads the lists
of its own words only. Prompts weigh a word by its count, the query also by its rarity (SMART's lnc.ltc; Manning, Raghavan and Schuetze
2008, ch. 6), so a written segment stays valid as the database grows. The arrays of a segment are .npy files that appear together or
not at all; processes that write the same segment write equal files. A few hundred texts are compared exactly, by cosines over their words
and word pairs.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from limner.promptdb.errors import BadInput
from limner.promptdb.schema import Part
from limner.promptdb.search.terms import FUNCTION_WORDS
from limner.promptdb.store import PromptDB

Arrays = Mapping[str, np.ndarray]


def keep(arrays: Arrays, folder: Path, first: int, last: int) -> None:
    """Writes arrays of the prompts `first` to `last`, replacing those of a shorter part that begins at `first`.

    Raises BadInput where the folder cannot be written.
    """
    target = folder / f"{first}-{last}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            work = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
            try:
                for name, array in arrays.items():
                    np.save(work / f"{name}.npy", array)
                os.replace(work, target)
            except OSError:
                shutil.rmtree(work, ignore_errors=True)
                if not target.exists():  # else another was quicker
                    raise
    except OSError as error:
        raise BadInput(f"{folder} cannot be written ({error.strerror}); free some space, or give a --db in another folder") from error
    for end, path in _kept(folder, first):
        if end < last:
            shutil.rmtree(path, ignore_errors=True)


def kept(folder: Path, first: int, last: int, names: Sequence[str]) -> tuple[int, dict[str, np.ndarray]] | None:
    """Returns the end and the memory-mapped arrays of the longest part that begins at `first` and ends by `last`; None where none is
    complete.
    """
    for end, path in sorted(_kept(folder, first), reverse=True):
        if end <= last:
            try:
                return end, {name: np.load(path / f"{name}.npy", mmap_mode="r") for name in names}
            except (OSError, ValueError, EOFError):
                shutil.rmtree(path, ignore_errors=True)
    return None


def _kept(folder: Path, first: int) -> Iterator[tuple[int, Path]]:
    for path in folder.glob(f"{first}-*"):
        end = path.name.split("-")[1]
        if end.isdigit():
            yield int(end), path


BUCKETS = 1 << 18  # hash buckets; collisions are rare, and the exact comparison of the hits corrects them
SPAN = 1 << 16  # prompt numbers in a segment
LOOSE = 2_000  # prompts after the last stored segment that each process indexes in memory before they are stored
COMMON = 0.1  # words in a larger share of the prompts are ignored where there are others

Progress = Callable[[int, int], None]

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Segment:
    """Prompts `first` to `last`.

    The word in bucket w occurs in the prompts first + rows[starts[w]:starts[w + 1]], with the same slice of weights.
    """

    first: int
    last: int
    starts: np.ndarray
    rows: np.ndarray
    weights: np.ndarray

    def documents(self, buckets: np.ndarray) -> np.ndarray:
        """Returns the number of prompts with the words of those buckets."""
        return self.starts[buckets + 1] - self.starts[buckets]

    def without(self, numbers: np.ndarray) -> Segment:
        """Returns the segment with empty lists for the prompts of those numbers."""
        inside = numbers[(numbers >= self.first) & (numbers <= self.last)]
        if not inside.size:
            return self
        gone = np.zeros(self.last - self.first + 1, bool)
        gone[inside - self.first] = True
        keep = ~gone[self.rows]
        before = np.concatenate([[0], np.cumsum(keep)])
        return Segment(self.first, self.last, before[self.starts], self.rows[keep], self.weights[keep])


class TfIdf:
    """The index of one open database.

    `above`: the folder with a subfolder for each edition of the database; None keeps segments in memory.
    """

    def __init__(self, above: Path | None) -> None:
        self._above = above
        self._edition = ""
        self._lock = threading.Lock()
        self._segments: list[Segment] = []
        self._views: dict[Part, tuple[list[Segment], list[Segment], int]] = {}

    def nearest(self, db: PromptDB, text: str, count: int, without: Part | None = None) -> list[tuple[int, float]]:
        """Returns (prompt number, similarity) of the `count` nearest prompts, best first. `without`: a part of the seed to leave out.

        A coarse ranking, which search.similar refines.
        """
        buckets = np.unique(np.array([bucket_of(word) for word in telling_words(text)], np.int64))
        segments, prompts = self.view(db, without)
        if not buckets.size or not segments or count <= 0:
            return []
        documents = self.documents(segments, buckets)
        telling = documents <= max(COMMON * prompts, SPAN // 8)
        if telling.any():
            buckets, documents = buckets[telling], documents[telling]
        idf = np.log((1 + prompts) / (1 + documents)) + 1
        numbers, scores = [], []
        for segment in segments:
            found = _scores(segment, buckets, idf)
            best = np.argpartition(found, -count)[-count:] if found.size > count else np.arange(found.size)
            best = best[found[best] > 0]
            numbers.append(best + segment.first)
            scores.append(found[best])
        all_numbers, all_scores = np.concatenate(numbers), np.concatenate(scores)
        order = np.lexsort((all_numbers, -np.round(all_scores, 6)))[:count]
        return [(int(all_numbers[place]), float(all_scores[place])) for place in order]

    @staticmethod
    def documents(segments: Sequence[Segment], buckets: np.ndarray) -> np.ndarray:
        """Returns the number of prompts with the words of those buckets, over all segments."""
        return np.sum([segment.documents(buckets) for segment in segments], axis=0)

    def segments(self, db: PromptDB, progress: Progress = lambda done, total: None) -> list[Segment]:
        """Returns all segments, up to the latest prompt, building what is missing."""
        # The database first: a thread inside a transaction has it already, and would wait for one that has the index.
        with db.alone(), self._lock:
            last, edition = db.last_prompt(), db.edition()
            if edition != self._edition:
                self._segments, self._edition = [], edition
                self._forget_others()
            while (start := self._segments[-1].last + 1 if self._segments else 1) <= last:
                part = start - (start - 1) % SPAN
                if start != part:
                    self._segments.pop()  # it has grown since
                end = min(part + SPAN - 1, last)
                self._segments.append(self._segment(db, part, end))
                progress(end, last)
            return list(self._segments)

    def view(self, db: PromptDB, without: Part | None = None) -> tuple[list[Segment], int]:
        """Returns all segments and the number of prompts in them, as they would be without that part of the seed."""
        segments = self.segments(db)
        numbers = sum(segment.last - segment.first + 1 for segment in segments)
        if without is None:
            return segments, numbers
        of, seen, left = self._views.get(without, ([], [], 0))
        if len(of) != len(segments) or any(one is not other for one, other in zip(of, segments, strict=True)):
            part = np.array(db.part(without), np.int64)
            seen, left = [segment.without(part) for segment in segments], numbers - len(part)
            self._views[without] = segments, seen, left
        return seen, left

    @property
    def folder(self) -> Path | None:
        """The folder of the current edition's segments; None in memory."""
        return None if self._above is None else self._above / self._edition

    def _forget_others(self) -> None:
        """Deletes the segments of earlier editions."""
        if self._above is not None and self._above.is_dir():
            for old in self._above.iterdir():
                if old.name != self._edition:
                    shutil.rmtree(old, ignore_errors=True)

    def _segment(self, db: PromptDB, first: int, last: int) -> Segment:
        stored = self._stored(first, last)
        if stored is not None and stored.last == last:
            return stored
        built = _build(db, stored.last + 1 if stored else first, last, first)
        whole = _joined(stored, built) if stored else built
        if self.folder is not None and last - (stored.last if stored else first) >= LOOSE:
            keep({name: getattr(whole, name) for name in _ARRAYS}, self.folder, first, last)
        return whole

    def _stored(self, first: int, last: int) -> Segment | None:
        """Returns the largest stored segment that begins at `first` and ends by `last`."""
        found = kept(self.folder, first, last, _ARRAYS) if self.folder is not None else None
        return Segment(first, found[0], **found[1]) if found is not None and _whole(found[1]) else None


def words_of(text: str) -> list[str]:
    """Returns the words of a text in lower case."""
    return _WORD.findall(text.lower())


@lru_cache(1 << 13)
def telling_words(text: str) -> tuple[str, ...]:
    """Returns the words of a text without function words; all of them where there are no others."""
    words = words_of(text)
    return tuple(word for word in words if word not in FUNCTION_WORDS) or tuple(words)


@lru_cache(1 << 17)
def bucket_of(word: str) -> int:
    """Returns the hash bucket of a word."""
    # CRC-32 and not hash(): that one differs between processes.
    return zlib.crc32(word.encode("utf-8", "surrogatepass")) % BUCKETS


def _scores(segment: Segment, buckets: np.ndarray, idf: np.ndarray) -> np.ndarray:
    """Returns the dot product of the query with every prompt of a segment."""
    spans = [(int(segment.starts[bucket]), int(segment.starts[bucket + 1]), weight) for bucket, weight in zip(buckets, idf, strict=True)]
    spans = [span for span in spans if span[0] < span[1]]
    if not spans:
        return np.zeros(0)
    rows = np.concatenate([segment.rows[start:end] for start, end, _ in spans])
    weights = np.concatenate([segment.weights[start:end] * np.float32(weight) for start, end, weight in spans])
    return np.bincount(rows, weights, segment.last - segment.first + 1)


def _build(db: PromptDB, first: int, last: int, base: int) -> Segment:
    """Returns a segment of the prompts `first` to `last`, with rows counted from `base`."""
    numbers, words = [], []
    for number, text in db.query("SELECT number, text FROM prompt WHERE number BETWEEN ? AND ? ORDER BY number", [first, last]):
        found = [bucket_of(word) for word in telling_words(text)]
        numbers += [number - base] * len(found)
        words += found
    pairs = np.array(words, np.int64) * SPAN + np.array(numbers, np.int64)
    pairs, counts = np.unique(pairs, return_counts=True)  # by word, then by prompt
    rows = (pairs % SPAN).astype(np.uint16)
    weights = 1 + np.log(counts)
    lengths = np.sqrt(np.bincount(rows, weights**2, SPAN))
    weights = (weights / lengths[rows]).astype(np.float16)
    starts = np.zeros(BUCKETS + 1, np.int32)
    np.cumsum(np.bincount(pairs // SPAN, minlength=BUCKETS), out=starts[1:])
    return Segment(base, last, starts, rows, weights)


def _joined(left: Segment, right: Segment) -> Segment:
    """Joins two segments of the same base."""
    words = np.concatenate([np.repeat(np.arange(BUCKETS), np.diff(part.starts)) for part in (left, right)])
    order = np.argsort(words, kind="stable")
    rows, weights = (np.concatenate([getattr(part, name) for part in (left, right)])[order] for name in ("rows", "weights"))
    return Segment(left.first, right.last, left.starts + right.starts, rows, weights)


def _whole(arrays: Mapping[str, np.ndarray]) -> bool:
    starts, rows, weights = (arrays[name] for name in _ARRAYS)
    return len(starts) == BUCKETS + 1 and int(starts[-1]) == len(rows) == len(weights)


_ARRAYS = ("starts", "rows", "weights")


PAIR = 0.5  # weight of a pair relative to an equally rare word, since its words count already

Idf = Callable[[Sequence[str]], np.ndarray]
"""Returns the inverse document frequency of words."""


def vectors(texts: Sequence[str], idf: Idf) -> np.ndarray:
    """Returns (texts, features) float32 rows of length 1; zero for a text without words.

    A pair of words is as rare as its two words on average, or as among the texts themselves where it is rarer there.
    """
    numbers: dict[str, int] = {}
    words = [[numbers.setdefault(word, len(numbers)) for word in telling_words(text)] for text in texts]
    row = np.repeat(np.arange(len(texts)), [len(found) for found in words])
    word = np.fromiter((number for found in words for number in found), np.int64, len(row))
    rarity = np.asarray(idf(list(numbers)), float)
    size = max(1, len(numbers))
    inside = row[:-1] == row[1:]
    pair = (word[:-1] * size + word[1:])[inside]
    singles = _weighted(row, word, size, rarity, len(texts))
    distinct, place = np.unique(pair, return_inverse=True)
    cells = np.unique(row[:-1][inside] * max(1, len(distinct)) + place)
    among = np.bincount(cells % max(1, len(distinct)), minlength=len(distinct))
    rare = np.maximum((rarity[distinct // size] + rarity[distinct % size]) / 2, np.log((1 + len(texts)) / (1 + among)) + 1)
    pairs = _weighted(row[:-1][inside], place, len(distinct), PAIR * rare, len(texts))
    matrix = np.concatenate([singles, pairs], axis=1)
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.divide(matrix, lengths, out=matrix, where=lengths > 0)


def _weighted(rows: np.ndarray, features: np.ndarray, size: int, rarity: np.ndarray, count: int) -> np.ndarray:
    """Returns (count, size) float32: for each feature of a row 1 + log(count), times its rarity."""
    matrix = np.zeros((count, size), np.float32)
    cells, often = np.unique(rows * max(1, size) + features, return_counts=True)
    columns = cells % max(1, size)
    matrix[cells // max(1, size), columns] = (1 + np.log(often)) * rarity[columns]
    return matrix
