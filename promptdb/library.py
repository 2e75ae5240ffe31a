"""The prompts of the database: added once each, paged through, and queried by what stands beside this file.

Whoever adds prompts puts them into the full-text index in the same transaction. Ids of many prompts are computed at once and equal what
records.py gives for each alone. Knows nothing of drawings, scores and runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.promptdb.connection import Connection
from limner.promptdb.records import ID_LENGTH, Prompt, canonical_text, text_id

if TYPE_CHECKING:
    import pyarrow as pa


BATCH = 1000  # rows a transaction: what a kill in the middle of adding prompts may lose


class PromptLibrary:
    """The part of PromptDB that knows prompts; any thread may use it, and any number of processes the same file."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    @property
    def path(self) -> Path:
        return self._db.path

    def transaction(self) -> AbstractContextManager[None]:
        """Group what is added inside into one commit, all or none. Keep it short: every other writer waits."""
        return self._db.transaction()

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a SELECT, for the searches and records beside this file."""
        return self._db.rows(sql, parameters)

    def query_for(self, sql: str, values: Iterable[Any], parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Rows of a SELECT that ends in `IN`, for any number of values; `parameters` come before them."""
        return self._db.rows_for(sql, values, parameters)

    def alone(self) -> AbstractContextManager[Any]:
        """Several queries without another thread in between."""
        return self._db.alone()

    def write(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        """An INSERT or UPDATE for each of `rows`, for the records beside this file; how many rows it changed."""
        return self._db.write(sql, rows)

    def bulk(self) -> AbstractContextManager[None]:
        """For an import: faster writing at the price of memory."""
        return self._db.bulk()

    def add_prompts(self, prompts: Iterable[Prompt]) -> tuple[int, int]:
        """(added, duplicates). A prompt already there, apart from case and blanks, stays as it is. Commits every 1000 prompts."""
        added = seen = 0
        iterator = iter(prompts)
        while batch := list(islice(iterator, BATCH)):
            rows = [(p.id, p.text, p.source, p.subject, p.negative, None if p.nsfw is None else float(p.nsfw)) for p in batch]
            with self.indexing():
                added += self._db.write(
                    "INSERT OR IGNORE INTO prompt (id, text, source, subject, negative, nsfw) VALUES (?, ?, ?, ?, ?, ?)", rows
                )
            seen += len(batch)
        return added, seen - added

    @contextmanager
    def indexing(self) -> Iterator[int]:
        """A transaction at whose end the prompts that were added in it are put into the full-text index; yields the last number before."""
        with self._db.transaction():
            last = self.last_prompt()
            yield last
            sql = "INSERT INTO prompt_fts (rowid, text, subject) SELECT number, text, subject FROM prompt WHERE number > ?"
            self._db.write(sql, [(last,)])

    def last_prompt(self) -> int:
        """The number of the prompt that was added last; 0 where there is none."""
        return int(self._db.rows("SELECT coalesce(max(number), 0) FROM prompt")[0][0])

    def edition(self) -> str:
        """Another one whenever prompts were taken away: what is kept beside the database by their numbers holds for its edition alone."""
        return str(self._db.rows("SELECT id FROM edition")[0][0])

    def prompt(self, id: str) -> Prompt | None:
        rows = self._db.rows("SELECT text, source, subject, negative, nsfw FROM prompt WHERE id = ?", [id])
        return Prompt(*rows[0]) if rows else None

    def prompts(self, source: str | None = None) -> Iterator[Prompt]:
        """In the order in which they were added. Reads page by page, so that a long export holds up no writer and needs no memory."""
        where, parameters = ("", []) if source is None else ("source = ? AND ", [source])
        last = 0
        while rows := self._db.rows(
            f"SELECT number, text, source, subject, negative, nsfw FROM prompt WHERE {where}number > ? ORDER BY number LIMIT {BATCH}",
            [*parameters, last],
        ):
            for row in rows:
                yield Prompt(*row[1:])
            last = rows[-1][0]

    def count_prompts(self) -> int:
        return self._count("prompt")

    def _count(self, table: str) -> int:
        return int(self._db.rows(f"SELECT count(*) FROM {table}")[0][0])


_ODD = r'[\x00-\x1f"\\\x7f]|  |^ | $'  # what canonical_text, the joining of blanks or JSON's escapes would change


def canonical(texts: pa.Array) -> tuple[list[str], list[str]]:
    """(canonical texts, ids) of an array of strings without nulls."""
    import pyarrow.compute as pc

    canonical = texts.to_pylist()
    plain = pc.and_not(pc.string_is_ascii(texts), pc.match_substring_regex(texts, _ODD))
    lower = pc.utf8_lower(texts).cast("binary").to_pylist()
    ids = [hashlib.sha256(b'["text","' + text + b'"]').hexdigest()[:ID_LENGTH] for text in lower]
    for place in pc.indices_nonzero(pc.invert(plain)).to_pylist():
        canonical[place] = canonical_text(canonical[place])
        ids[place] = text_id(canonical[place])
    return canonical, ids
