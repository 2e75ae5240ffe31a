"""Turns a folder of runs back into what versions up to schema 4 left: files beside the database and reports, memos among the answers."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from limner.promptdb.records import content_id


def as_before(folder: Path) -> None:
    """Nobody may have the database of `folder` open."""
    with closing(sqlite3.connect(folder / "limner.db")) as db, db:
        with closing(sqlite3.connect(folder / "limner.threads.db")) as threads, threads:
            for table in ("checkpoints", "writes"):
                ((made,),) = db.execute("SELECT sql FROM sqlite_master WHERE name = ?", [table]).fetchall()
                threads.execute(made)
                columns = len(db.execute(f"PRAGMA table_info({table})").fetchall())
                rows = db.execute(f"SELECT * FROM {table}")
                threads.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * columns)})", rows)
        for run, amounts, repeated, seconds, usage in db.execute("SELECT run, amounts, repeated, seconds, usage FROM spent").fetchall():
            (folder / run).mkdir(exist_ok=True)
            spent = {"spent": json.loads(amounts), "repeated": repeated, "seconds": seconds, "usage": json.loads(usage)}
            (folder / run / "spent.json").write_text(json.dumps(spent))
        for (run,) in db.execute("SELECT DISTINCT run FROM in_flight").fetchall():
            notes = folder / "images" / "in-flight"
            notes.mkdir(exist_ok=True)
            ids = [row[0] for row in db.execute("SELECT drawing FROM in_flight WHERE run = ? ORDER BY drawing", [run])]
            (notes / f"{content_id(run)}.json").write_text(json.dumps(ids))
        db.execute("INSERT INTO answer (key, model, answer) SELECT key, 'purse', value FROM memo WHERE key NOT IN ('job', 'prompts')")
        for table in ("spent", "in_flight", "event", "memo", "checkpoints", "writes"):
            db.execute(f"DROP TABLE {table}")
        db.execute("ALTER TABLE run DROP COLUMN error")
        db.execute("DROP INDEX prompt_part")
        db.execute("PRAGMA user_version = 4")


def files_of_before(folder: Path) -> list[str]:
    """What of these files is in `folder`."""
    patterns = ("*.threads.db*", "images/in-flight", "*/spent.json", "*/turn.lock", "jobs")
    return sorted(str(path.relative_to(folder)) for pattern in patterns for path in folder.glob(pattern))
