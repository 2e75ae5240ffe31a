"""Nearest neighbours by an embedding model: vectors stored beside the database as float16 and as sign bits, memory-mapped.

The sign bits of all prompts select some hundreds of candidates, whose vectors are then compared exactly.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from limner.promptdb.errors import BadInput
from limner.promptdb.search.tfidf import keep, kept
from limner.promptdb.store import PromptDB

SPAN = 2048  # prompt numbers in a stored part: a kill loses at most one part
BATCH = 64  # texts embedded at once
CANDIDATES = 400  # prompts selected by sign bits, whose vectors are compared
AT_ONCE = 200  # most prompts that a search embeds by itself

Progress = Callable[[int, int], None]

_ARRAYS = ("numbers", "vectors", "bits")
_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1).astype(np.uint8)


class Embedder(Protocol):
    """Embeds texts. Equal texts give equal vectors; a new version has a new name."""

    name: str
    size: int

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Returns (texts, size) float32, rows of length 1."""
        ...


class MeaningIndex:
    """The vectors of one model for one open database. `above`: the folder with a subfolder for each edition of the database."""

    def __init__(self, embedder: Embedder, above: Path) -> None:
        self.embedder, self._above = embedder, above
        self._lock = threading.Lock()

    def take_up(self, db: PromptDB, progress: Progress = lambda done, total: None, most: int | None = None) -> int:
        """Embeds the prompts that have no vectors yet, part by part, and returns their number; an interrupted call can be repeated.

        Raises BadInput, before anything is done, where more than `most` are missing.
        """
        last = db.last_prompt()
        missing = self._missing(db, last)
        count = sum(len(numbers) for _, _, numbers in missing)
        if most is not None and count > most:
            raise BadInput(f"{count} prompts are not embedded yet; run `db embed` first, it may be stopped and goes on where it was")
        done = 0
        for first, end, numbers in missing:
            rows = dict(db.query_for("SELECT number, text FROM prompt WHERE number IN", numbers))
            found: list[np.ndarray] = []
            for start in range(0, len(numbers), BATCH):
                found.append(self.embedder.embed([rows[number] for number in numbers[start : start + BATCH]]))
                done += len(found[-1])
                progress(done, count)
            self._keep(db, first, end, numbers, np.concatenate(found))
        self._forget_others(db)
        return done

    def nearest(self, db: PromptDB, text: str, count: int) -> list[tuple[int, float]]:
        """Returns (prompt number, cosine) of the `count` nearest embedded prompts, best first."""
        parts = [arrays for _, _, arrays in self._parts(db, db.last_prompt()) if arrays is not None]
        if not parts or count <= 0:
            return []
        query = self.embedder.embed([text])[0]
        bits = np.packbits(query > 0)
        distances = np.concatenate([_ONES[part["bits"] ^ bits].sum(1, dtype=np.uint16) for part in parts])
        starts = np.cumsum([0, *(len(part["numbers"]) for part in parts)])
        wanted = max(count, CANDIDATES)
        best = np.argpartition(distances, wanted)[:wanted] if distances.size > wanted else np.arange(distances.size)
        found: list[tuple[int, float]] = []
        for start, part in zip(starts, parts, strict=False):
            rows = best[(best >= start) & (best < start + len(part["numbers"]))] - start
            cosines = np.round(part["vectors"][rows].astype(np.float32) @ query, 6)
            found += zip(part["numbers"][rows].tolist(), cosines.tolist(), strict=True)
        return sorted(found, key=lambda item: (-item[1], item[0]))[:count]

    def _parts(self, db: PromptDB, last: int) -> list[tuple[int, int, dict[str, np.ndarray] | None]]:
        """Returns (first number, largest possible number, arrays or None) of every part."""
        folder = self._folder(db)
        stretches = [(first, min(first + SPAN - 1, last)) for first in range(1, last + 1, SPAN)]
        found = [(first, end, kept(folder, first, end, _ARRAYS)) for first, end in stretches]
        return [(first, end, part[1] if part else None) for first, end, part in found]

    def _missing(self, db: PromptDB, last: int) -> list[tuple[int, int, list[int]]]:
        """Returns the parts with prompts that have no vector, with their numbers."""
        found = []
        for first, end, arrays in self._parts(db, last):
            behind = int(arrays["numbers"][-1]) if arrays else first - 1
            rows = db.query("SELECT number FROM prompt WHERE number BETWEEN ? AND ? ORDER BY number", [behind + 1, end])
            if rows:
                found.append((first, end, [number for (number,) in rows]))
        return found

    def _keep(self, db: PromptDB, first: int, end: int, numbers: list[int], vectors: np.ndarray) -> None:
        folder = self._folder(db)
        new: dict[str, np.ndarray] = {
            "numbers": np.array(numbers, np.int64),
            "vectors": vectors.astype(np.float16),
            "bits": np.packbits(vectors > 0, axis=1),
        }
        with self._lock:
            before = kept(folder, first, first + SPAN - 1, _ARRAYS)
            if before is not None and before[0] >= end:
                return
            parts: list[Mapping[str, np.ndarray]] = [new]
            if before is not None:  # another process may have embedded more meanwhile
                fresh = new["numbers"] > before[1]["numbers"][-1]
                parts = [before[1], {name: array[fresh] for name, array in new.items()}]
            keep({name: np.concatenate([part[name] for part in parts]) for name in _ARRAYS}, folder, first, end)

    def _forget_others(self, db: PromptDB) -> None:
        """Deletes this model's vectors of earlier editions."""
        for old in self._above.glob(f"{self.embedder.name}-*"):
            if old != self._folder(db):
                shutil.rmtree(old, ignore_errors=True)

    def _folder(self, db: PromptDB) -> Path:
        return self._above / f"{self.embedder.name}-{db.edition()}"
