"""One SQLite connection that the threads of a process share, and that does not block other processes for long.

WAL, a busy timeout, write transactions that take the lock at once, and SQLite's errors in words for people. Knows nothing of what the
tables mean.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from limner.promptdb import schema
from limner.promptdb.earlier import remove_files_beside
from limner.promptdb.errors import BadInput

MEMORY = ":memory:"
BULK_CACHE = 96 << 20  # bytes
BULK_LOG_PAGES = 40_000  # of 4096 bytes
MAX_VARIABLES = 500  # SQLite builds before 3.32 refuse more than 999 in one statement


class Connection:
    """An open database of the present schema. All methods may be called from any thread; one statement runs at a time.

    `path`: a file (made where missing, with its folders) or `:memory:`. `busy_seconds`: how long to wait for another process's write.
    Raises BadInput where the file cannot be used.
    """

    def __init__(self, path: Path | str, busy_seconds: float) -> None:
        self.path = Path(path)
        self._busy_seconds = busy_seconds
        self._lock = threading.RLock()
        if str(path) != MEMORY:
            self.path = _with_folder(self.path)
        with self._in_words():
            raw = sqlite3.connect(str(self.path), timeout=busy_seconds, check_same_thread=False, isolation_level=None)
        self.db = Database(raw, execute_plugins=False)
        try:
            self._prepare()
        except BaseException:
            raw.close()
            raise

    def close(self) -> None:
        """Closes the connection, after the statement in work."""
        with self._lock:
            self.db.close()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Returns all rows of a query."""
        with self._lock, self._in_words():
            return self.db.conn.execute(sql, parameters).fetchall()

    def rows_for(self, sql: str, ids: Iterable[Any], parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Yields the rows of a query that ends in `IN`, asked for at most MAX_VARIABLES ids at a time. `parameters` come before the ids."""
        unique = list(dict.fromkeys(ids))
        for start in range(0, len(unique), MAX_VARIABLES):
            part = unique[start : start + MAX_VARIABLES]
            yield from self.rows(f"{sql} ({', '.join('?' * len(part))})", [*parameters, *part])

    def write(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        """Runs one statement for each row, all or none; returns how many rows of the database it changed."""
        with self.transaction(), self._in_words():
            return self.db.conn.executemany(sql, rows).rowcount

    def alone(self) -> AbstractContextManager[Any]:
        """Returns a context manager within which no other thread uses the connection; other processes are not blocked."""
        return self._lock

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits all that is written inside, or nothing; other threads wait. A nested transaction that fails is undone by itself."""
        with self._lock:
            if self.db.conn.in_transaction:
                with self.db.atomic():
                    yield
                return
            with self._in_words():
                # IMMEDIATE: a transaction that reads before it writes would otherwise fail at once where another one wrote in between.
                self.db.conn.execute("BEGIN IMMEDIATE")
            try:
                yield
                with self._in_words():
                    self.db.conn.execute("COMMIT")
            except BaseException:
                self.db.rollback()
                raise

    @contextmanager
    def bulk(self) -> Iterator[None]:
        """Sets the connection up for much writing: more of the file in memory, and fewer checkpoints of the log."""
        with self._lock, self._in_words():
            self.db.conn.execute(f"PRAGMA cache_size = -{BULK_CACHE >> 10}")
            self.db.conn.execute(f"PRAGMA wal_autocheckpoint = {BULK_LOG_PAGES}")
        try:
            yield
        finally:
            with self._lock, self._in_words():
                self.db.conn.execute("PRAGMA cache_size = -2000")
                self.db.conn.execute("PRAGMA wal_autocheckpoint = 1000")

    def _prepare(self) -> None:
        with self._in_words():
            found = schema.version(self.db, str(self.path))
            self._use_wal()
            # With WAL a killed process loses nothing committed, and a power cut the last commits at worst; FULL costs a disk flush each.
            self.db.conn.execute("PRAGMA synchronous = NORMAL")
        if found == schema.SCHEMA_VERSION:
            return
        with self.transaction(), self._in_words():
            schema.migrate(self.db, str(self.path))
        if found:
            with self._in_words():
                self.db.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # flushed to the disk before the files that it comes from go
            remove_files_beside(self.path)

    def _use_wal(self) -> None:
        """Switches to WAL; stays with a rollback journal where the file system cannot do it (slower, not wrong)."""
        deadline = time.monotonic() + self._busy_seconds
        while True:
            try:
                self.db.conn.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                # The busy timeout does not cover this switch when two processes make it at the same moment.
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            said = str(error)
            for sign, words in _MEANINGS.items():
                if sign in said:
                    raise BadInput(words.format(path=self.path, seconds=self._busy_seconds)) from error
            raise
        except UnicodeEncodeError as error:
            raise BadInput(f"a text has a character that is not valid Unicode at position {error.start}; remove it") from error
        except OverflowError as error:
            raise BadInput("a whole number is too large for the database (at most 2^63 - 1); take a smaller seed") from error


_MEANINGS = {
    "locked": "{path} stayed locked by another process for {seconds:g} s; wait for it to end, or give another file with --db",
    "not a database": "{path} is not an SQLite database; give another file with --db",
    "malformed": "{path} is damaged; restore a copy of it, or give another file with --db",
    "readonly": "{path} may not be written to; change its permissions, or give another file with --db",
    "unable to open": "{path} cannot be opened or made; check the folder's permissions, or give another file with --db",
    "disk is full": "no space is left for {path}; free some, or give a file on another disk with --db",
    "disk I/O": "{path} cannot be read or written (disk error); give a file on another disk with --db",
}


def _with_folder(path: Path) -> Path:
    """The path with `~` resolved; its folder is made."""
    try:
        path = path.expanduser()
        if path.is_dir():
            raise BadInput(f"{path} is a folder; give a file with --db")
        path.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadInput(f"the folder of {path} cannot be used ({reason}); give another file with --db") from error
    return path
