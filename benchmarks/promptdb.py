"""The prompt database at its real size: import, search and bytes of a million generated rows in DiffusionDB's schema.

    python -m benchmarks.promptdb [--rows 1000000] [--queries 200] [--repeats 2] [--work runs/benchmarks]

Ways that are compared take turns in one run. Imports are processes of their own, so that memory is measured and nothing is warm:

- ours: `import_file`, that is prompts once each, pictures under them, labels, and the full-text index;
- bare: `executemany` of the 13 columns into one table without any key, one transaction, columns from arrow as lists;
- same tables: `executemany` of rows that lie ready in memory into our tables and keys, and one rebuild of the index: the floor.

Keyword queries have 8 words: a subject, a rare word and common modifiers; plain is FTS5's OR with `ORDER BY rank`. Likeness is
measured on 100,000 distinct prompts. Prints JSON lines: what was measured, the target, and whether it was reached.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import promptdb_rows
from limner.promptdb.connection import Connection
from limner.promptdb.files.ingest import import_file
from limner.promptdb.schema import TOKENIZER
from limner.promptdb.search.keyword import ASCII_GAPS
from limner.promptdb.search.modifiers import count_modifiers
from limner.promptdb.search.search import index_of, keyword, similar
from limner.promptdb.store import PromptDB

DISTINCT = 100_000  # prompts that the semantic target is about
COLUMNS = len(promptdb_rows.SCHEMA)

Numbers = dict[str, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 where all targets were met, 1 where not."""
    options = _parser().parse_args(arguments)
    if options.child:
        print(json.dumps(CHILDREN[options.child](options.source, options.db)))
        return 0
    options.work.mkdir(parents=True, exist_ok=True)
    source = _generated(options.work, options.rows)
    db = options.work / "ours.db"
    passed = _imports(source, db, options.rows, options.repeats)
    passed += _queries(db, options.queries)
    passed += _sizes(db, options.rows)
    passed += _likeness(options.work, options.queries)
    return 0 if all(passed) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.promptdb", description="The prompt database at its real size.")
    parser.add_argument("--rows", type=int, default=promptdb_rows.ROWS)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=2, help="turns of each way to import")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--child", choices=tuple(CHILDREN), help=argparse.SUPPRESS)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--db", type=Path, help=argparse.SUPPRESS)
    return parser


def _imports(source: Path, db: Path, rows: int, repeats: int) -> list[bool]:
    ways = {"ours": db, "bare": db.with_name("bare.db"), "same tables": db.with_name("same.db")}
    found: dict[str, list[Numbers]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, path in ways.items():
            found[name].append(_child(name, db if name == "same tables" else source, path))
    best = {name: min(turn["seconds"] for turn in turns) for name, turns in found.items()}
    for name, turns in found.items():
        wall = [round(turn["seconds"], 2) for turn in turns]
        _print(
            measured=f"import, {name}", rows_per_s=round(rows / best[name]), wall_s=wall, cpu_s=[round(turn["cpu"], 2) for turn in turns]
        )
    unindexed = min(turn["seconds"] - turn["index_seconds"] for turn in found["ours"])
    _print(
        measured="import, ours less its full-text index",
        rows_per_s=round(rows / unindexed),
        ratio_to_bare=round(best["bare"] / unindexed, 3),
    )
    memory = max(turn["peak_mb"] for turn in found["ours"])
    return [
        _claim("import, rows a second", rows / best["ours"], ">=", 50_000),
        _claim("import, ratio to bare executemany into one table without keys", best["bare"] / best["ours"], ">=", 0.6),
        _claim("import, ratio to executemany into the same tables and index", best["same tables"] / best["ours"], ">=", 0.6),
        _claim("import, memory in MB", memory, "<=", 500),
    ]


def _queries(db: Path, count: int) -> list[bool]:
    rng = np.random.default_rng(1)
    vocabulary = promptdb_rows.words()
    times: dict[str, list[float]] = {"plain": [], "ours": []}
    with PromptDB.open(db) as opened:
        ways: dict[str, Callable[[str], Any]] = {"plain": lambda query: _plain(opened, query), "ours": lambda query: keyword(opened, query)}
        for number in range(count + 1):
            rare = vocabulary[int(rng.integers(200, len(vocabulary)))]
            common = rng.permutation(["highly", "detailed", "trending", "artstation", "sharp", "focus", "concept", "art", "intricate"])[:6]
            query = " ".join([promptdb_rows.SUBJECTS[number % len(promptdb_rows.SUBJECTS)], rare, *common])
            for name in ways if number % 2 else reversed(ways):
                start = time.perf_counter()
                ways[name](query)
                if number:  # the first warms up
                    times[name].append(1000 * (time.perf_counter() - start))
    for name, found in times.items():
        _print(measured=f"8-word query, {name}, ms", **_spread(found))
    ratios = np.array(times["plain"]) / np.array(times["ours"])
    _print(measured="8-word query, plain / ours", **_spread(ratios))
    return [
        _claim("8-word query, times as fast as plain OR with rank (median)", float(np.median(ratios)), ">=", 10),
        _claim("8-word query, p95 in ms", float(np.percentile(times["ours"], 95)), "<=", 80),
    ]


def _plain(db: PromptDB, query: str) -> Any:
    words = " OR ".join(f'"{word}"' for word in ASCII_GAPS.split(query))
    return db.query("SELECT rowid, rank FROM prompt_fts WHERE prompt_fts MATCH ? ORDER BY rank LIMIT 20", [words])


def _sizes(db: Path, rows: int) -> list[bool]:
    with PromptDB.open(db) as opened:
        start = time.perf_counter()
        count_modifiers(opened)
        modifiers = time.perf_counter() - start
        index_of(opened).segments(opened)
        likeness = time.perf_counter() - start - modifiers
        prompts = opened.count_prompts()
    beside = sum(path.stat().st_size for path in Path(f"{db}.likeness").rglob("*.npy"))
    size = db.stat().st_size
    _print(measured="after the import", prompts=prompts, modifiers_s=round(modifiers, 2), likeness_s=round(likeness, 2))
    _print(measured="bytes", database=size, likeness=beside, a_prompt=round((size + beside) / prompts))
    return [_claim("bytes a row, with full-text index and likeness", (size + beside) / rows, "<=", 450)]


def _likeness(work: Path, count: int) -> list[bool]:
    db = work / "likeness.db"
    _remove(db)
    texts = promptdb_rows.prompts(count + 1, np.random.default_rng(2), promptdb_rows.words())
    times = []
    with PromptDB.open(db) as opened:
        import_file(opened, _generated(work, round(DISTINCT / promptdb_rows.UNIQUE)))
        index_of(opened).segments(opened)
        for text in texts:
            start = time.perf_counter()
            similar(opened, text)
            times.append(1000 * (time.perf_counter() - start))
        _print(measured="likeness, ms", prompts=opened.count_prompts(), **_spread(times[1:]))
    return [_claim(f"likeness among {DISTINCT} prompts, p95 in ms", float(np.percentile(times[1:], 95)), "<=", 20)]


def _child(way: str, source: Path, db: Path) -> Numbers:
    arguments = [sys.executable, "-m", "benchmarks.promptdb", "--child", way, "--source", str(source), "--db", str(db)]
    done = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def _ours(source: Path, db: Path) -> Numbers:
    _remove(db)
    indexing = 0.0
    write = Connection.write

    def timed(self: Connection, sql: str, rows: Any) -> int:
        nonlocal indexing
        start = time.perf_counter()
        changed = write(self, sql, rows)
        indexing += (time.perf_counter() - start) * sql.startswith("INSERT INTO prompt_fts")
        return changed

    Connection.write = timed  # type: ignore[method-assign]

    def work() -> None:
        with PromptDB.open(db) as opened:
            import_file(opened, source)

    return {**_timed(work), "index_seconds": indexing}


def _bare(source: Path, db: Path) -> Numbers:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def work() -> None:
        connection = _connection(db)
        with pq.ParquetFile(source) as file:
            connection.execute(f"CREATE TABLE bare ({', '.join(file.schema_arrow.names)})")
            connection.execute("BEGIN")
            for batch in file.iter_batches(20_000):
                columns = [column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column for column in batch.columns]
                rows = zip(*(column.to_pylist() for column in columns), strict=True)
                connection.executemany(f"INSERT INTO bare VALUES ({', '.join('?' * COLUMNS)})", rows)
            connection.execute("COMMIT")
        connection.close()

    return _timed(work)


def _same_tables(source: Path, db: Path) -> Numbers:
    """`source`: our finished database, whose rows are read beforehand."""
    with sqlite3.connect(source) as ours:
        tables = {
            name: sql for name, sql in ours.execute("SELECT name, sql FROM sqlite_master WHERE name IN ('prompt', 'picture', 'label')")
        }
        rows = {name: ours.execute(f"SELECT * FROM {name}").fetchall() for name in tables}

    def work() -> None:
        connection = _connection(db)
        connection.execute("BEGIN")
        for name, sql in tables.items():
            connection.execute(sql)
            connection.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(rows[name][0]))})", rows[name])
        content = f"text, subject, content='prompt', content_rowid='number', tokenize='{TOKENIZER}'"
        connection.execute(f"CREATE VIRTUAL TABLE prompt_fts USING fts5({content})")
        connection.execute("INSERT INTO prompt_fts (prompt_fts) VALUES ('rebuild')")
        connection.execute("COMMIT")
        connection.close()

    return _timed(work)


CHILDREN: dict[str, Callable[[Path, Path], Numbers]] = {"ours": _ours, "bare": _bare, "same tables": _same_tables}


def _connection(db: Path) -> sqlite3.Connection:
    _remove(db)
    connection = sqlite3.connect(db, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _timed(work: Callable[[], None]) -> Numbers:
    cpu, start = time.process_time(), time.perf_counter()
    work()
    seconds, used = time.perf_counter() - start, time.process_time() - cpu
    return {"seconds": seconds, "cpu": used, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _generated(work: Path, rows: int) -> Path:
    path = work / f"diffusiondb-{rows}.parquet"
    if not path.exists():
        promptdb_rows.write(path.with_suffix(".part"), rows)
        os.replace(path.with_suffix(".part"), path)
    return path


def _remove(db: Path) -> None:
    for end in ("", "-wal", "-shm"):
        Path(f"{db}{end}").unlink(missing_ok=True)
    shutil.rmtree(f"{db}.likeness", ignore_errors=True)


def _spread(values: Any) -> Numbers:
    return {f"p{share}": round(float(np.percentile(values, share)), 2) for share in (5, 50, 95)}


def _claim(what: str, value: float, relation: str, target: float) -> bool:
    passed = value >= target if relation == ">=" else value <= target
    _print(claim=what, value=round(value, 3), target=f"{relation} {target:g}", **{"pass": passed})
    return passed


def _print(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    sys.exit(main())
