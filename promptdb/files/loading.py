"""Loads chunks of a file into the database: each prompt once, every picture under its prompt, texts into the full-text index.

Each chunk is one transaction that includes the position in the file: a kill loses only the current chunk, and the next import continues
after the last one.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from limner.promptdb.files.columns import Chunk
from limner.promptdb.library import canonical
from limner.promptdb.store import PromptDB

if TYPE_CHECKING:
    import pyarrow as pa

LABELS = ("source", "sampler", "author", "model")  # columns with few distinct strings
PICTURE = ("prompt", "name", "source", "part", "seed", "steps", "cfg", "sampler", "width", "height", "author", "made", "nsfw", "model")

ENCODER_PIECES = 75  # CLIP's 77 positions without the start and end marks

_PIECE = r"\pL+|\pN|[^\s\pL\pN]+"
_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(\.png|\.webp)?$"
_ADD_PROMPT = "INSERT OR IGNORE INTO prompt (id, text, source, subject, negative, nsfw) VALUES (?, ?, ?, ?, ?, ?)"
_ADD_PICTURE = f"INSERT OR IGNORE INTO picture ({', '.join(PICTURE)}) VALUES ({', '.join('?' * len(PICTURE))})"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Prompts added, rows whose prompt existed (in the file or before), pictures added, and rows with over-long prompts."""

    added: int
    duplicates: int
    pictures: int
    long: int


class Loader:
    """Loads the chunks of one file.

    `source`: the source of its prompts; with `keep_sources` only of those without their own. `file`: the key of the stored position.
    """

    def __init__(self, db: PromptDB, source: str, file: str, keep_sources: bool = True) -> None:
        self._db, self._source, self._file, self._keep_sources = db, source, file, keep_sources
        self._labels: dict[str, int] = {}

    def position(self) -> int:
        """Returns the number of rows that an earlier, interrupted import has loaded."""
        rows = self._db.query("SELECT rows FROM reading WHERE file = ?", [self._file])
        return int(rows[0][0]) if rows else 0

    def finish(self) -> None:
        """Deletes the position, so that the next import of the file reads it from the start."""
        self._db.write("DELETE FROM reading WHERE file = ?", [(self._file,)])

    def load(self, chunk: Chunk) -> Loaded:
        """Loads a chunk; where it raises, nothing of the chunk is stored."""
        rows = self._with_sources(chunk.rows)
        texts, codes = _distinct(rows.column("text"))
        firsts = _first_rows(codes, len(texts))
        known, ids = canonical(texts)
        prompts = list(zip(ids, known, *self._of_prompts(rows, firsts), strict=True))
        pictures = _pictures(rows)
        with self._db.indexing() as last:
            self._db.write(_ADD_PROMPT, prompts)
            after = self._db.last_prompt()
            numbers = self._numbers(ids, last, after)
            added = self._add_pictures(rows, pictures, np.asarray(numbers, np.int64)[codes]) if pictures.size else 0
            self._db.write(
                "INSERT INTO reading (file, rows) VALUES (?, ?) ON CONFLICT (file) DO UPDATE SET rows = max(rows, excluded.rows)",
                [(self._file, chunk.end)],
            )
        return Loaded(after - last, rows.num_rows - (after - last), added, _long(texts, codes))

    def _with_sources(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        import pyarrow as pa
        import pyarrow.compute as pc

        own = rows.column("source")
        named = pc.fill_null(own, self._source) if self._keep_sources else pa.repeat(self._source, rows.num_rows)
        return rows.set_column(rows.schema.get_field_index("source"), "source", named)

    def _of_prompts(self, rows: pa.RecordBatch, firsts: np.ndarray) -> list[Iterable[Any]]:
        """Returns source, subject, negative and nsfw of each distinct prompt, from its first row."""
        import pyarrow.compute as pc

        columns = rows.take(firsts) if len(firsts) < rows.num_rows else rows
        filled = [pc.fill_null(columns.column(name), "") for name in ("source", "subject", "negative")]
        return [*(column.to_pylist() for column in filled), columns.column("nsfw").to_pylist()]

    def _numbers(self, ids: list[str], last: int, after: int) -> Iterable[int]:
        """Returns the number of each prompt."""
        if after - last == len(ids):  # all are new and have consecutive numbers
            return range(last + 1, after + 1)
        found = dict(self._db.query("SELECT id, number FROM prompt WHERE number > ?", [last]))
        old = [id for id in ids if id not in found]
        found.update(self._db.query_for("SELECT id, number FROM prompt WHERE id IN", old))
        return [found[id] for id in ids]

    def _add_pictures(self, rows: pa.RecordBatch, chosen: np.ndarray, prompts: np.ndarray) -> int:
        if len(chosen) < rows.num_rows:
            rows, prompts = rows.take(chosen), prompts[chosen]
        columns: dict[str, Iterable[Any]] = {name: self._labelled(rows.column(name)) for name in LABELS}
        columns |= {"prompt": prompts.tolist(), "name": image_keys(rows.column("name"))}
        columns["nsfw"] = rows.column("image_nsfw").to_pylist()
        columns |= {name: rows.column(name).to_pylist() for name in PICTURE if name not in columns}
        return self._db.write(_ADD_PICTURE, zip(*(columns[name] for name in PICTURE), strict=True))

    def _labelled(self, column: pa.Array) -> list[int | None]:
        """Returns the label number of each string."""
        encoded = column.dictionary_encode()
        texts = encoded.dictionary.to_pylist()
        missing = [text for text in texts if text not in self._labels]
        if missing:
            self._db.write("INSERT OR IGNORE INTO label (text) VALUES (?)", ((text,) for text in missing))
            self._labels.update(self._db.query_for("SELECT text, number FROM label WHERE text IN", missing))
        if not texts:
            return [None] * len(column)
        numbers = [self._labels[text] for text in texts]
        return [None if code is None else numbers[code] for code in encoded.indices.to_pylist()]


def _long(texts: pa.Array, codes: np.ndarray) -> int:
    """Returns the number of rows whose prompt has more pieces (words, digits, marks) than CLIP's text encoder reads.

    A lower bound: rare words are split further, and short prompts, which are not counted, may consist of digits.
    """
    import pyarrow.compute as pc

    places = pc.indices_nonzero(pc.greater(pc.utf8_length(texts), 4 * ENCODER_PIECES))
    many = pc.greater(pc.count_substring_regex(texts.take(places), _PIECE), ENCODER_PIECES)
    over = np.zeros(len(texts), bool)
    over[places.to_numpy()[many.to_numpy(zero_copy_only=False)]] = True
    return int(over[codes].sum())


def image_keys(names: pa.Array) -> list[str | bytes]:
    """Returns pictures' names as stored: a UUID as its 16 bytes without the file's ending, anything else unchanged."""
    import pyarrow.compute as pc

    digits = pc.replace_substring(pc.utf8_slice_codeunits(names, 0, 36), "-", "").to_pylist()
    keys: list[str | bytes] = names.to_pylist()
    for place in pc.indices_nonzero(pc.match_substring_regex(names, _UUID)).to_pylist():
        keys[place] = bytes.fromhex(digits[place])
    return keys


def image_name(key: str | bytes) -> str:
    """Returns a picture's name from its stored form."""
    return str(uuid.UUID(bytes=key)) if isinstance(key, bytes) else key


def _distinct(column: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Returns the distinct texts in order of appearance, and for each row the index of its text among them."""
    encoded = column.dictionary_encode()
    return encoded.dictionary, encoded.indices.to_numpy()


def _first_rows(codes: np.ndarray, count: int) -> np.ndarray:
    """Returns the first row of each distinct text."""
    first = np.empty(count, np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    return first


def _pictures(rows: pa.RecordBatch) -> np.ndarray:
    """Returns the rows with a picture's name."""
    import pyarrow.compute as pc

    return pc.indices_nonzero(rows.column("name").is_valid()).to_numpy()
