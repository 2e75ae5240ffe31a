"""Maintenance of the database: finds damage, merges duplicate prompts, frees space."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from limner.promptdb.errors import BadInput
from limner.promptdb.search.modifiers import forget_modifiers
from limner.promptdb.search.tfidf import words_of
from limner.promptdb.store import PromptDB

PAGE = 20_000
LISTED = 20  # most rows of each problem that are named
AT_ONCE = 1000  # prompts merged in a transaction

Progress = Callable[[int, int], None]

_ORPHANS = {
    "pictures without their prompt": "SELECT name FROM picture WHERE prompt NOT IN (SELECT number FROM prompt)",
    "merits without their prompt": "SELECT run FROM merit WHERE prompt NOT IN (SELECT number FROM prompt)",
    "drawings without what they show": "SELECT id FROM drawing WHERE conditioning NOT IN (SELECT id FROM conditioning)",
    "drawings without their image": "SELECT id FROM drawing WHERE image IS NOT NULL AND image NOT IN (SELECT id FROM image)",
    "scores without their drawing": "SELECT drawing FROM score WHERE drawing NOT IN (SELECT id FROM drawing)",
    "candidates without what they ask for": "SELECT run FROM candidate WHERE conditioning NOT IN (SELECT id FROM conditioning)",
    "pictures without their labels": "SELECT name FROM picture WHERE source NOT IN (SELECT number FROM label)",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, how often, and the first few places."""

    what: str
    count: int
    first: tuple[str, ...]


def check(db: PromptDB) -> list[Problem]:
    """Returns everything that is wrong with the database, without changing it; empty for a sound one."""
    found = [row[0] for row in db.query("PRAGMA integrity_check(100)") if row[0] != "ok"]
    problems = [Problem("damage in the file", len(found), tuple(found[:LISTED]))] if found else []
    try:
        # Rank 1 also compares the index with the texts.
        db.write("INSERT INTO prompt_fts (prompt_fts, rank) VALUES ('integrity-check', 1)", [()])
    except BadInput as error:
        problems.append(Problem("the full-text index does not fit the prompts; `db vacuum` builds it anew", 1, (str(error),)))
    for what, sql in _ORPHANS.items():
        rows = db.query(sql)
        if rows:
            problems.append(Problem(what, len(rows), tuple(str(row[0]) for row in rows[:LISTED])))
    return problems


def vacuum(db: PromptDB) -> tuple[int, int]:
    """Rebuilds the full-text index and frees unused space; returns the size in bytes before and after."""
    before = db.stats()["bytes"]
    db.write("INSERT INTO prompt_fts (prompt_fts) VALUES ('rebuild')", [()])
    db.write("INSERT INTO prompt_fts (prompt_fts) VALUES ('optimize')", [()])
    db.query("VACUUM")
    db.query("PRAGMA wal_checkpoint(TRUNCATE)")
    return before, db.stats()["bytes"]


def duplicates(db: PromptDB, progress: Progress = lambda done, total: None) -> list[tuple[int, int]]:
    """Returns (kept, duplicate) prompt numbers: prompts with the same words in the same order, whatever the punctuation; the first
    is kept.
    """
    keys, numbers = [], []
    last = db.last_prompt()
    for number, text in _texts(db):
        words = words_of(text)
        if words:
            digest = hashlib.blake2b(" ".join(words).encode("utf-8", "surrogatepass"), digest_size=8).digest()
            keys.append(int.from_bytes(digest, "little"))
            numbers.append(number)
        if number % PAGE == 0:
            progress(number, last)
    order = np.lexsort((np.array(numbers, np.int64), np.array(keys, np.uint64))) if keys else np.zeros(0, np.int64)
    pairs = []
    kept = -1
    for previous, place in zip([-1, *order[:-1].tolist()], order.tolist(), strict=True):
        if previous < 0 or keys[previous] != keys[place]:
            kept = numbers[place]
        else:
            pairs.append((kept, numbers[place]))
    return sorted(pairs)


def dedupe(db: PromptDB, progress: Progress = lambda done, total: None) -> int:
    """Merges prompts that differ in punctuation alone into the first, with their pictures and merits; returns the number of deleted
    prompts.
    """
    pairs = duplicates(db, progress)
    for start in range(0, len(pairs), AT_ONCE):
        part = pairs[start : start + AT_ONCE]
        gone = [(superfluous,) for _, superfluous in part]
        with db.transaction():
            for table in ("picture", "merit"):
                db.write(f"UPDATE OR IGNORE {table} SET prompt = ? WHERE prompt = ?", part)
                db.write(f"DELETE FROM {table} WHERE prompt = ?", gone)
            db.write("DELETE FROM prompt WHERE number = ?", gone)
            db.write("UPDATE edition SET id = lower(hex(randomblob(8)))", [()])
    if pairs:
        forget_modifiers(db)
    return len(pairs)


def _texts(db: PromptDB) -> Iterator[tuple[int, str]]:
    last = 0
    while rows := db.query("SELECT number, text FROM prompt WHERE number > ? ORDER BY number LIMIT ?", [last, PAGE]):
        yield from ((number, text) for number, text in rows)
        last = rows[-1][0]
