"""Finds a run that was started before, whatever command started it. Resumes nothing itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from limner.graph.runner import resumable
from limner.graph.settings import Settings
from limner.promptdb.errors import BadInput
from limner.promptdb.records import Run
from limner.promptdb.runs import Runs
from limner.promptdb.seed import open_database


def reopened(settings: Settings, run_id: str, command: str) -> tuple[Run, Settings, dict[str, Any] | None]:
    """Returns the run, the settings that it was started with, and its document where it is done.

    Of `settings` only the places of files are used. Raises BadInput where there is no such run.
    """
    if not settings.database.exists():
        raise BadInput(f"there is no database {settings.database} with runs; name it with --db, or its folder with --out")
    with open_database(settings.database) as db:
        run, before = resumable(db, run_id, command)
        done = Runs(db).result(run_id) if run.status == "done" else None
    return run, replace(before, out=settings.out, db=settings.db), done
