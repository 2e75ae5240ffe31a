"""The prompts of the database: added once each, read page by page, and queried by the other modules of this package.

Adding prompts updates the full-text index in the same transaction. Ids of many prompts are computed at once, equal to those of `records`.
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
from limner.promptdb.schema import Part

if TYPE_CHECKING:
    import pyarrow as pa


BATCH = 1000  # rows a transaction: what a kill in the middle of adding prompts may lose


class PromptLibrary:
    """The part of PromptDB that stores prompts. Any thread may use it, and any number of processes the same file."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    @property
    def path(self) -> Path:
        """The path of the database file."""
        return self._db.path

    def transaction(self) -> AbstractContextManager[None]:
        """Groups all writes inside the context into one commit, all or none. Keep it short: every other writer waits."""
        return self._db.transaction()

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Returns the rows of a SELECT."""
        return self._db.rows(sql, parameters)

    def query_for(self, sql: str, values: Iterable[Any], parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Yields the rows of a SELECT that ends in `IN`, for any number of values; `parameters` come before them."""
        return self._db.rows_for(sql, values, parameters)

    def alone(self) -> AbstractContextManager[Any]:
        """Keeps other threads from the connection inside the context."""
        return self._db.alone()

    def write(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        """Runs an INSERT or UPDATE for each of `rows`; returns the number of changed rows."""
        return self._db.write(sql, rows)

    def bulk(self) -> AbstractContextManager[None]:
        """Writes faster inside the context, using more memory; for imports."""
        return self._db.bulk()

    def add_prompts(self, prompts: Iterable[Prompt]) -> tuple[int, int]:
        """Adds prompts, committing every 1000; returns (added, duplicates).

        An existing prompt, ignoring case and blanks, stays unchanged.
        """
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
        """A transaction that adds new prompts to the full-text index at its end; yields the last prompt number before."""
        with self._db.transaction():
            last = self.last_prompt()
            yield last
            sql = "INSERT INTO prompt_fts (rowid, text, subject) SELECT number, text, subject FROM prompt WHERE number > ?"
            self._db.write(sql, [(last,)])

    def last_prompt(self) -> int:
        """Returns the number of the prompt added last; 0 where there is none."""
        return int(self._db.rows("SELECT coalesce(max(number), 0) FROM prompt")[0][0])

    def part(self, source: Part) -> tuple[int, ...]:
        """Returns the numbers of the prompts of a part of the seed, in order."""
        sql = "SELECT number FROM prompt WHERE source = ? AND source IN ('general', 'miniature') ORDER BY number"
        return tuple(number for (number,) in self._db.rows(sql, [source]))

    def edition(self) -> str:
        """Returns the database's edition id, which changes when prompts are deleted: files that refer to prompt numbers are valid for one
        edition.
        """
        return str(self._db.rows("SELECT id FROM edition")[0][0])

    def prompt(self, id: str) -> Prompt | None:
        """Returns the prompt with that id, or None."""
        rows = self._db.rows("SELECT text, source, subject, negative, nsfw FROM prompt WHERE id = ?", [id])
        return Prompt(*rows[0]) if rows else None

    def prompts(self, source: str | None = None) -> Iterator[Prompt]:
        """Yields prompts in the order of addition, page by page, so that a long export blocks no writer and needs little memory."""
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
        """Returns the number of prompts."""
        return self._count("prompt")

    def _count(self, table: str) -> int:
        return int(self._db.rows(f"SELECT count(*) FROM {table}")[0][0])


_ODD = r'[\x00-\x1f"\\\x7f]|  |^ | $'  # characters that canonical_text, the joining of blanks or JSON's escapes would change


def canonical(texts: pa.Array) -> tuple[list[str], list[str]]:
    """Returns (canonical texts, ids) of an array of strings without nulls."""
    import pyarrow.compute as pc

    canonical = texts.to_pylist()
    plain = pc.and_not(pc.string_is_ascii(texts), pc.match_substring_regex(texts, _ODD))
    lower = pc.utf8_lower(texts).cast("binary").to_pylist()
    ids = [hashlib.sha256(b'["text","' + text + b'"]').hexdigest()[:ID_LENGTH] for text in lower]
    for place in pc.indices_nonzero(pc.invert(plain)).to_pylist():
        canonical[place] = canonical_text(canonical[place])
        ids[place] = text_id(canonical[place])
    return canonical, ids
