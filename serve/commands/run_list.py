"""Runs as documents: a list of them, and each one. Draws nothing, needs no torch."""

from __future__ import annotations

from typing import Any

from limner.graph.settings import Settings
from limner.promptdb.errors import BadInput
from limner.promptdb.runs import Runs
from limner.promptdb.store import PromptDB


def runs(settings: Settings, limit: int) -> list[dict[str, Any]]:
    """Returns the newest `limit` runs, newest first; none where there is no database yet."""
    if not settings.database.exists():
        return []
    with PromptDB.open(settings.database) as db:
        return runs_in(db, limit)


def runs_in(db: PromptDB, limit: int) -> list[dict[str, Any]]:
    """Returns the same of a database that is open."""
    found = Runs(db).latest(limit)
    return [{"run": run.id, "command": run.command, "status": run.status, "started": run.started, "prompt": run.prompt} for run in found]


def run(settings: Settings, run_id: str) -> dict[str, Any]:
    """Returns one run with its settings, candidates and result. Raises BadInput where there is none of that id."""
    if not settings.database.exists():
        raise BadInput(f"there is no database {settings.database} with runs; name it with --db, or its folder with --out")
    with PromptDB.open(settings.database) as db:
        found = run_in(db, run_id)
        if found is None:
            raise BadInput(f"there is no run {run_id!r} in {db.path}; see `runs list`")
        return found


def run_in(db: PromptDB, run_id: str) -> dict[str, Any] | None:
    """Returns the same of a database that is open; None where there is no such run."""
    found = Runs(db).get(run_id)
    if found is None:
        return None
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
        "result": Runs(db).result(run_id),
    }
