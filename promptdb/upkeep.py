"""Keeps the database in order: finds what is broken, merges prompts that say the same, gives space back."""

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
LISTED = 20  # rows of each problem that are named
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
    """What is wrong, how many times, and the first few it is wrong with."""

    what: str
    count: int
    first: tuple[str, ...]


def check(db: PromptDB) -> list[Problem]:
    """Everything that is wrong with the database; nothing is changed. Empty for a sound one."""
    found = [row[0] for row in db.query("PRAGMA integrity_check(100)") if row[0] != "ok"]
    problems = [Problem("damage in the file", len(found), tuple(found[:LISTED]))] if found else []
    try:
        # With rank 1 the index is compared with the texts, too.
        db.write("INSERT INTO prompt_fts (prompt_fts, rank) VALUES ('integrity-check', 1)", [()])
    except BadInput as error:
        problems.append(Problem("the full-text index does not fit the prompts; `db vacuum` builds it anew", 1, (str(error),)))
    for what, sql in _ORPHANS.items():
        rows = db.query(sql)
        if rows:
            problems.append(Problem(what, len(rows), tuple(str(row[0]) for row in rows[:LISTED])))
    return problems


def vacuum(db: PromptDB) -> tuple[int, int]:
    """Build the full-text index anew, merged into one, and give unused space back; bytes before and after."""
    before = db.stats()["bytes"]
    db.write("INSERT INTO prompt_fts (prompt_fts) VALUES ('rebuild')", [()])
    db.write("INSERT INTO prompt_fts (prompt_fts) VALUES ('optimize')", [()])
    db.query("VACUUM")
    db.query("PRAGMA wal_checkpoint(TRUNCATE)")
    return before, db.stats()["bytes"]


def duplicates(db: PromptDB, progress: Progress = lambda done, total: None) -> list[tuple[int, int]]:
    """(kept, superfluous) prompt numbers: prompts of the same words in the same order, whatever their marks; the first is kept."""
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
    """Merge prompts that differ in marks alone into the first of them, with their pictures and merits; how many were taken away."""
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
