"""The tables, as numbered migrations: a database file of an earlier version is migrated when it is opened.

A migration that was released is never edited; a change is a new migration at the end. Knows nothing of the records in the tables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from sqlite_utils import Database

from limner.promptdb.earlier import read_files_beside
from limner.promptdb.errors import BadInput

APPLICATION_ID = 0x4C4D4E52  # "LMNR", in the file's header: tells our files from other programs' databases

Part = Literal["general", "miniature"]
"""A source of professional prompts in the seed: those for any checkpoint, those of the embedded checkpoint's world."""

TOKENIZER = "porter unicode61 remove_diacritics 2"  # of the full-text index; everything that compares words with it uses the same


def _first_tables(db: Database) -> None:
    # `number` is spelled out wherever order or the full-text index hangs on it: VACUUM renumbers implicit rowids.
    db.executescript(
        """
        CREATE TABLE prompt (
            number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, text TEXT NOT NULL,
            source TEXT NOT NULL, subject TEXT NOT NULL, negative TEXT NOT NULL, nsfw REAL
        );
        CREATE INDEX prompt_source ON prompt (source);
        CREATE TABLE reference (id TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE import (file TEXT PRIMARY KEY, digest TEXT NOT NULL) WITHOUT ROWID;

        CREATE TABLE conditioning (id TEXT PRIMARY KEY, text TEXT NOT NULL, negative TEXT NOT NULL, document TEXT NOT NULL);
        CREATE TABLE image (id TEXT PRIMARY KEY, width INTEGER NOT NULL, height INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE drawing (
            id TEXT PRIMARY KEY, conditioning TEXT NOT NULL REFERENCES conditioning (id), seed INTEGER NOT NULL, settings TEXT NOT NULL,
            checkpoint TEXT NOT NULL, image TEXT REFERENCES image (id), bucket INTEGER NOT NULL, device TEXT NOT NULL
        );
        CREATE INDEX drawing_conditioning ON drawing (conditioning);
        CREATE TABLE score (
            drawing TEXT NOT NULL, reference TEXT NOT NULL, scorer TEXT NOT NULL, version TEXT NOT NULL, value REAL NOT NULL,
            PRIMARY KEY (drawing, reference, scorer, version)
        ) WITHOUT ROWID;
        CREATE INDEX score_best ON score (reference, scorer, version, value);

        CREATE TABLE run (
            number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, command TEXT NOT NULL, prompt TEXT NOT NULL,
            settings TEXT NOT NULL, status TEXT NOT NULL, started TEXT NOT NULL, result TEXT
        );
        CREATE TABLE candidate (
            number INTEGER PRIMARY KEY, run TEXT NOT NULL, conditioning TEXT NOT NULL REFERENCES conditioning (id),
            origin TEXT NOT NULL, parent TEXT, note TEXT NOT NULL, UNIQUE (run, conditioning)
        );
        CREATE TABLE instruction (id TEXT PRIMARY KEY, text TEXT NOT NULL, parent TEXT, finding TEXT NOT NULL);
        CREATE TABLE vote (
            number INTEGER PRIMARY KEY, reference TEXT NOT NULL, left_drawing TEXT NOT NULL, right_drawing TEXT NOT NULL,
            winner TEXT, voter TEXT NOT NULL, UNIQUE (reference, left_drawing, right_drawing, voter)
        );
        CREATE TABLE answer (key TEXT PRIMARY KEY, model TEXT NOT NULL, answer TEXT NOT NULL);
        """
    )
    db["prompt"].enable_fts(["text", "subject"], create_triggers=True, tokenize=TOKENIZER)  # type: ignore[union-attr]


def _learning_tables(db: Database) -> None:
    # What optimization tries: instructions as arms, their pulls, and how they stood after each iteration.
    db.executescript(
        """
        CREATE TABLE arm (
            number INTEGER PRIMARY KEY, run TEXT NOT NULL, instruction TEXT NOT NULL, text TEXT NOT NULL,
            parent TEXT, finding TEXT NOT NULL, born INTEGER NOT NULL, UNIQUE (run, instruction)
        );
        CREATE TABLE trial (
            run TEXT NOT NULL, iteration INTEGER NOT NULL, instruction TEXT NOT NULL, prompt TEXT NOT NULL, seed INTEGER NOT NULL,
            conditioning TEXT NOT NULL REFERENCES conditioning (id), value REAL, plain REAL,
            PRIMARY KEY (run, iteration, instruction, prompt, seed)
        ) WITHOUT ROWID;
        CREATE TABLE standing (
            run TEXT NOT NULL, iteration INTEGER NOT NULL, instruction TEXT NOT NULL, mean REAL, pulls INTEGER NOT NULL,
            value REAL, fate TEXT NOT NULL, PRIMARY KEY (run, iteration, instruction)
        ) WITHOUT ROWID;
        """
    )


def _professional_tables(db: Database) -> None:
    # For millions of prompts. They are added to the full-text index in the same transaction, many at a time: a trigger
    # that does it row by row costs an import half of its speed. Sources are few, so that an index of them narrows nothing.
    db.executescript(
        """
        DROP TRIGGER prompt_ai;
        DROP INDEX prompt_source;
        CREATE INDEX prompt_subject ON prompt (lower(subject)) WHERE subject != '';
        CREATE TABLE label (number INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
        CREATE TABLE picture (
            prompt INTEGER NOT NULL REFERENCES prompt (number), name NOT NULL, source INTEGER NOT NULL REFERENCES label (number),
            part INTEGER, seed INTEGER, steps INTEGER, cfg REAL, sampler INTEGER REFERENCES label (number), width INTEGER, height INTEGER,
            author INTEGER REFERENCES label (number), made INTEGER, nsfw REAL, model INTEGER REFERENCES label (number),
            PRIMARY KEY (prompt, name)
        ) WITHOUT ROWID;
        CREATE TABLE modifier (phrase TEXT PRIMARY KEY, kind TEXT NOT NULL, df INTEGER NOT NULL, slack INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE merit (
            prompt INTEGER NOT NULL REFERENCES prompt (number), run TEXT NOT NULL, role TEXT NOT NULL, scorer TEXT NOT NULL,
            value REAL NOT NULL, PRIMARY KEY (prompt, run, role)
        ) WITHOUT ROWID;
        CREATE TABLE reading (file TEXT PRIMARY KEY, rows INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE counted (what TEXT PRIMARY KEY, prompts INTEGER NOT NULL, last INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE edition (id TEXT NOT NULL);
        INSERT INTO edition (id) VALUES (lower(hex(randomblob(8))));
        """
    )
    # Bytes of words that are gathered in memory before a segment is written: a bulk import has fewer segments to merge.
    db.execute("INSERT INTO prompt_fts (prompt_fts, rank) VALUES ('hashsize', ?)", [16 << 20])


def _conversation_tables(db: Database) -> None:
    # Conversations: words, results, and the turn that each turn follows, so that a thread is a tree.
    db.executescript(
        """
        CREATE TABLE turn (
            number INTEGER PRIMARY KEY, thread TEXT NOT NULL, place INTEGER NOT NULL, parent INTEGER, said TEXT NOT NULL,
            reply TEXT NOT NULL, actions TEXT NOT NULL, cost TEXT NOT NULL, document TEXT NOT NULL, made TEXT NOT NULL,
            UNIQUE (thread, place)
        );
        CREATE TABLE turn_picture (
            thread TEXT NOT NULL, place INTEGER NOT NULL, number INTEGER NOT NULL, drawing TEXT NOT NULL, scores TEXT NOT NULL,
            PRIMARY KEY (thread, place, number)
        ) WITHOUT ROWID;
        """
    )


def _run_tables(db: Database) -> None:
    # Everything about a run (promptdb/runs.py), and what files beside the database held before. `checkpoints` and `writes` are
    # LangGraph's own tables, as its SqliteSaver makes them.
    db.executescript(
        """
        ALTER TABLE run ADD COLUMN error TEXT NOT NULL DEFAULT '';
        CREATE TABLE spent (
            run TEXT PRIMARY KEY, amounts TEXT NOT NULL, repeated INTEGER NOT NULL, seconds REAL NOT NULL, usage TEXT NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE in_flight (run TEXT NOT NULL, drawing TEXT NOT NULL, PRIMARY KEY (run, drawing)) WITHOUT ROWID;
        CREATE TABLE event (run TEXT NOT NULL, number INTEGER NOT NULL, document TEXT NOT NULL, PRIMARY KEY (run, number)) WITHOUT ROWID;
        CREATE TABLE memo (run TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run, key)) WITHOUT ROWID;

        CREATE TABLE checkpoints (
            thread_id TEXT NOT NULL, checkpoint_ns TEXT NOT NULL DEFAULT '', checkpoint_id TEXT NOT NULL, parent_checkpoint_id TEXT,
            type TEXT, checkpoint BLOB, metadata BLOB, PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)
        );
        CREATE TABLE writes (
            thread_id TEXT NOT NULL, checkpoint_ns TEXT NOT NULL DEFAULT '', checkpoint_id TEXT NOT NULL, task_id TEXT NOT NULL,
            task_path TEXT NOT NULL DEFAULT '', idx INTEGER NOT NULL, channel TEXT NOT NULL, type TEXT, value BLOB,
            PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
        );

        INSERT INTO memo (run, key, value) SELECT '', key, answer FROM answer
            WHERE model = 'purse' OR (model = 'gradient' AND answer NOT LIKE '{%');
        DELETE FROM answer WHERE key IN (SELECT key FROM memo);
        """
    )
    read_files_beside(db)


def _seed_parts(db: Database) -> None:
    # The parts of the seed that a search can leave out are found without reading every prompt.
    db.execute("CREATE INDEX prompt_part ON prompt (source) WHERE source IN ('general', 'miniature')")


MIGRATIONS: tuple[Callable[[Database], None], ...] = (
    _first_tables,
    _learning_tables,
    _professional_tables,
    _conversation_tables,
    _run_tables,
    _seed_parts,
)
SCHEMA_VERSION = len(MIGRATIONS)

TABLES = (
    "prompt",
    "conditioning",
    "drawing",
    "image",
    "score",
    "instruction",
    "run",
    "candidate",
    "vote",
    "answer",
    "arm",
    "trial",
    "standing",
    "picture",
    "label",
    "modifier",
    "merit",
    "turn",
)


def version(db: Database, name: str) -> int:
    """Returns how many migrations the file has had; 0 for an empty one. `name`: what messages call the file.

    Raises BadInput for another program's database and for one of a newer version of this program.
    """
    with db.atomic():  # one snapshot: another process may be filling the same new file
        found = int(db.execute("PRAGMA user_version").fetchone()[0])
        owner = int(db.execute("PRAGMA application_id").fetchone()[0])
        occupied = db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None
    if occupied and owner != APPLICATION_ID:
        raise BadInput(f"{name} is a database of another program; give another file with --db")
    if found > SCHEMA_VERSION:
        raise BadInput(
            f"{name} was written by a newer version (schema {found}, this one reads up to {SCHEMA_VERSION}); update, or give another --db"
        )
    return found


def migrate(db: Database, name: str) -> None:
    """Applies the missing migrations. The caller holds a write transaction, so that two processes cannot do it at once."""
    for number in range(version(db, name), SCHEMA_VERSION):
        MIGRATIONS[number](db)
        db.execute(f"PRAGMA user_version = {number + 1}")
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
