"""A case as it is run, what is kept of it, and where two of them differ. Knows the command line and the database file, nothing else of the
project, so that it outlives any change of modules.
"""

from __future__ import annotations

import json
import math
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.kept.commands import Case, Command

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent
TOLERANCE = 1e-6  # absolute, and relative

QUERIES = {
    "prompts": "SELECT source, count(*) FROM prompt GROUP BY source ORDER BY source",
    "references": "SELECT id, text FROM reference ORDER BY id",
    "runs": "SELECT command, prompt, status, settings FROM run ORDER BY number",
    "conditionings": "SELECT id, document FROM conditioning ORDER BY id",
    "drawings": "SELECT id, conditioning, seed FROM drawing ORDER BY id",
    "sampled": "SELECT DISTINCT checkpoint, settings FROM drawing ORDER BY checkpoint, settings",
    "judged": "SELECT DISTINCT scorer, version FROM score ORDER BY scorer, version",
    "scores": "SELECT drawing, reference, scorer, value FROM score ORDER BY drawing, reference, scorer, version",
    "candidates": "SELECT run, conditioning, origin, parent, note FROM candidate ORDER BY number",
    "merits": "SELECT p.id, run, role, scorer, value FROM merit JOIN prompt p ON p.number = prompt ORDER BY p.id, run, role",
    "instructions": "SELECT id, text, parent, finding FROM instruction ORDER BY id",
    "arms": "SELECT run, instruction, text, parent, finding, born FROM arm ORDER BY number",
    "trials": "SELECT iteration, instruction, prompt, seed, conditioning, value, plain FROM trial ORDER BY 1, 2, 3, 4",
    "standings": "SELECT iteration, instruction, mean, pulls, value, fate FROM standing ORDER BY iteration, instruction",
    "answers": "SELECT model, iif(model = 'gradient', '', key) AS k, answer FROM answer ORDER BY model, k, answer",
    "memos": "SELECT m.run, m.value FROM memo m JOIN run r ON r.id = m.run ORDER BY r.number, m.value",
    "turns": "SELECT thread, place, parent, said, reply, actions, cost, document FROM turn ORDER BY number",
    "turn_pictures": "SELECT thread, place, number, drawing, scores FROM turn_picture ORDER BY thread, place, number",
    "votes": "SELECT reference, left_drawing, right_drawing, winner, voter FROM vote ORDER BY number",
}
"""What is kept of a database. Texts that are JSON are read, so that numbers in them are compared as numbers.
Keys of gradients and of memos depend on the name of their run or on weights."""

_RUN = re.compile(r"\b\d{8}-\d{6}-([a-z]+)-[0-9a-f]{6}\b")
_TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*(?:\+00:00|Z)?")
_LASTED = re.compile(r" +\(\d+\.\d s\)$", re.MULTILINE)


def run(case: Case, folder: Path) -> dict[str, Any]:
    """Run the commands of `case` in `folder`, which is empty; returns what is kept, normalised."""
    for name, text in case.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    places: dict[str, str] = {}
    commands = [_ran(command, folder, places) for command in case.commands]
    out = folder / "out"
    found = _normalised({"commands": commands, "database": _database(out / "limner.db"), "files": _files(out)}, folder)
    return {**found, "files": sorted(found["files"])}


def _ran(command: Command, folder: Path, places: dict[str, str]) -> dict[str, Any]:
    """One command in a process of its own; adds to `places` what its document names."""
    argv = [places.get(word, word) for word in command.argv]
    program = [sys.executable, str(ROOT / "main.py"), *argv]
    done = subprocess.run(program, input=command.stdin, capture_output=True, encoding="utf-8", cwd=folder, env=_environment(), timeout=600)
    told = [line for line in done.stderr.splitlines() if line.startswith(("  ", "limner: "))]
    row: dict[str, Any] = {"argv": argv, "code": done.returncode, "told": told}
    try:
        row["document"] = json.loads(done.stdout)
    except ValueError:
        return {**row, "text": done.stdout.splitlines()}
    document = row["document"] if isinstance(row["document"], dict) else {}
    if "run" in document:
        places["{run}"] = document["run"]
    if isinstance(document.get("images"), list):
        places.setdefault("{image}", document["images"][0]["path"])
    return row


def _environment() -> dict[str, str]:
    """That of this process without settings of Limner or a chat model, and with arithmetic as equal as it gets.

    Where threads share out a sum, or wider registers do, it is rounded in another order. That moves a pixel here and there by 1/255, and
    with it a score by up to 2e-4. So there is one thread, and the instructions are those that processors of ten years have in common.
    """
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("LIMNER_", "OPENAI_"))}
    numbers = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MKL_CBWR": "COMPATIBLE"}
    instructions = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    return {**outside, **numbers, **instructions, "PYTHONWARNINGS": "ignore", "COLUMNS": "200"}


def _database(path: Path) -> dict[str, list[list[Any]]]:
    """The rows of every query that has any."""
    if not path.exists():
        return {}
    with closing(sqlite3.connect(path)) as db:
        found = {name: [[_read(value) for value in row] for row in db.execute(query)] for name, query in QUERIES.items()}
    return {name: rows for name, rows in found.items() if rows}


def _files(out: Path) -> list[str]:
    """What lies in `out`, but for pictures, which are called by a hash of their pixels, and the index, by the database's random edition."""
    paths = [path.relative_to(out) for path in out.rglob("*") if path.is_file()]
    return [path.as_posix() for path in paths if path.parts[0] not in ("images", "limner.db.likeness")]


def _read(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _normalised(document: Any, folder: Path) -> Any:
    """`document` without what differs from one run to the next: names of runs are numbered in the order in which they occur, times and
    seconds blanked, the folder called FOLDER."""
    names: dict[str, str] = {}

    def numbered(match: re.Match[str]) -> str:
        return names.setdefault(match[0], f"RUN-{match[1]}-{len(names) + 1}")

    def text(value: str) -> str:
        value = _RUN.sub(numbered, value.replace(str(folder), "FOLDER"))
        return _LASTED.sub("", _TIME.sub("TIME", value))

    def anything(value: Any, key: str = "") -> Any:
        if isinstance(value, str):
            return text(value)
        if isinstance(value, dict):
            return {text(name): anything(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [anything(item) for item in value]
        if isinstance(value, float):
            return 0.0 if key == "seconds" else float(f"{value:.9g}")
        return value

    return anything(document)


def differences(kept: Any, found: Any, path: str = "") -> Iterator[str]:
    """A line for each place where `found` is not what was kept. Keys count in their order, 1 is not 1.0."""
    if type(kept) is not type(found):
        yield f"{path}: kept {kept!r}, found {found!r}"
    elif isinstance(kept, dict):
        if list(kept) != list(found):
            gone, new = [key for key in kept if key not in found], [key for key in found if key not in kept]
            yield f"{path}: keys gone {gone}, new {new}" if gone or new else f"{path}: keys in another order: {list(found)}"
        for key in kept.keys() & found.keys():
            yield from differences(kept[key], found[key], f"{path}/{key}")
    elif isinstance(kept, list):
        if len(kept) != len(found):
            yield f"{path}: kept {len(kept)} items, found {len(found)}"
        for place, (left, right) in enumerate(zip(kept, found, strict=False)):
            yield from differences(left, right, f"{path}/{place}")
    elif isinstance(kept, float):
        if not math.isclose(kept, found, rel_tol=TOLERANCE, abs_tol=TOLERANCE * 1.001):  # a last decimal more or less is within it
            yield f"{path}: kept {kept!r}, found {found!r}"
    elif kept != found:
        yield f"{path}: kept {kept!r}, found {found!r}"


def file_of(case: Case) -> Path:
    return FOLDER / f"{case.id}.json"


def read(case: Case) -> Any:
    return json.loads(file_of(case).read_text(encoding="utf-8"))


def write(case: Case, document: Any) -> None:
    """A line for each row of a table and each item of a command, so that a change is seen as a change of lines."""
    file_of(case).write_text(_lines(document, 3) + "\n", encoding="utf-8")


def _lines(value: Any, depth: int, indent: str = "") -> str:
    """JSON, broken into lines down to `depth`."""
    inner = indent + " "
    if depth == 0 or not value or not isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if isinstance(value, dict):
        items = [f"{json.dumps(key, ensure_ascii=False)}: {_lines(item, depth - 1, inner)}" for key, item in value.items()]
    else:
        items = [_lines(item, depth - 1, inner) for item in value]
    first, last = "{}" if isinstance(value, dict) else "[]"
    return first + "\n" + ",\n".join(inner + item for item in items) + "\n" + indent + last
