"""What the database holds, as documents: prompts imported, found and counted; runs listed and shown. Draws nothing, needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graph.database import open_database
from graph.settings import Settings
from promptdb.errors import BadInput
from promptdb.ingest import import_file
from promptdb.search import keyword
from promptdb.search import similar as nearest
from promptdb.store import PromptDB

POOL = 20  # times as many hits are looked at where only one source is wanted


def import_files(settings: Settings, files: Sequence[Path], source: str | None) -> dict[str, Any]:
    """Add the prompts of files; a line that cannot be used is named and passed by. Raises BadInput for a file that cannot be read."""
    absent = next((path for path in files if not path.expanduser().is_file()), None)
    if absent is not None:
        raise BadInput(f"there is no file {absent}")
    document: dict[str, Any] = {"added": 0, "duplicates": 0, "malformed": []}
    with open_database(settings) as db:
        for path in files:
            report = import_file(db, path, source)
            document["added"] += report.added
            document["duplicates"] += report.duplicates
            document["malformed"] += [{"file": str(path), "line": line, "reason": reason} for line, reason in report.malformed]
    return document


def find(settings: Settings, query: str, limit: int, similar: bool, source: str | None) -> list[dict[str, Any]]:
    """Prompts, best first; scores are comparable within one answer only."""
    with open_database(settings) as db:
        if similar:
            hits = [hit for hit in nearest(db, query, limit * POOL) if source in (None, hit.prompt.source)][:limit]
        else:
            hits = keyword(db, query, limit, source)
    return [
        {
            "id": hit.prompt.id,
            "text": hit.prompt.text,
            "subject": hit.prompt.subject,
            "negative": hit.prompt.negative,
            "source": hit.prompt.source,
            "score": round(hit.score, 4),
        }
        for hit in hits
    ]


def count(settings: Settings) -> dict[str, Any]:
    with open_database(settings) as db:
        return {"database": str(db.path), **db.stats()}


def runs(settings: Settings, limit: int) -> list[dict[str, Any]]:
    """Newest first; none where there is no database yet."""
    if not settings.database.exists():
        return []
    with PromptDB.open(settings.database) as db:
        found = db.runs(limit)
    return [{"run": run.id, "command": run.command, "status": run.status, "started": run.started, "prompt": run.prompt} for run in found]


def run(settings: Settings, run_id: str) -> dict[str, Any]:
    """One run with its settings, candidates and result. Raises BadInput where there is none of that id."""
    if not settings.database.exists():
        raise BadInput(f"there is no database {settings.database} with runs; name it with --db, or its folder with --out")
    with PromptDB.open(settings.database) as db:
        found = db.run(run_id)
        if found is None:
            raise BadInput(f"there is no run {run_id!r} in {db.path}; see `runs list`")
        candidates = [
            {"conditioning_id": item.conditioning.id, **item.conditioning.to_json(), "origin": item.origin, "parent": item.parent}
            for item in db.candidates(run_id)
        ]
        return {
            "run": found.id,
            "command": found.command,
            "status": found.status,
            "started": found.started,
            "prompt": found.prompt,
            "settings": dict(found.settings),
            "candidates": candidates,
            "result": db.run_result(run_id),
        }
