"""What a run has spent so far, in a small file beside its report, so that a killed run goes on with the same purse.

A budget is paid before the work is done, so a kill leaves work that was paid for and lost; it is done again for nothing. What
the chat model used is noted with it; of a killed process the tokens of answers on their way are missing.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.messages import Usage
from tools.budget import UNITS, Budget


@dataclass
class JournaledBudget(Budget):
    """A Budget that writes `journal` after every change, before the next one may begin: the file is always the latest state, and whole.
    `usage`: the chat model's, written down beside it."""

    journal: Path | None = None
    usage: Usage = field(default_factory=Usage)

    def _record(self) -> None:
        if self.journal is None:
            return
        document = {"spent": self.spent, "repeated": self.repeated, "seconds": round(self.elapsed, 3), "usage": self.usage.counts()}
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        # The lock is this purse's alone: another process, or another purse of this run in another thread, writes a half of its own.
        half = self.journal.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
        try:
            half.write_text(json.dumps(document), encoding="utf-8")
            half.replace(self.journal)
        except BaseException:
            half.unlink(missing_ok=True)
            raise


def read_journal(path: Path) -> dict[str, Any]:
    """`spent`, `repeated`, `seconds` and chat `usage` of an earlier process of the run; zeros where it left nothing readable."""
    document: Mapping[str, Any] = {}
    with suppress(FileNotFoundError, ValueError):
        document = json.loads(path.read_text(encoding="utf-8"))
    spent = document.get("spent", {})
    return {
        "spent": {unit: spent.get(unit, 0) for unit in UNITS},
        "repeated": int(document.get("repeated", 0)),
        "seconds_before": float(document.get("seconds", 0.0)),
        "usage": Usage(**document.get("usage", {})),
    }
