"""A note of what a run is drawing just now, kept beside the images: a resumed run has paid for that already, and counts it as repeated.

Knows ids only. The note is written before a batch and removed after it; one left behind by a killed process names the drawings
that may have been lost.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from promptdb.records import content_id


class InFlight:
    """`lost`: ids that an earlier process of the same run was drawing when it died. An empty `run` keeps no note."""

    def __init__(self, folder: Path, run: str) -> None:
        self._note = Path(folder) / "in-flight" / f"{content_id(run)}.json" if run else None
        self.lost = self._read()

    def begin(self, ids: Iterable[str]) -> None:
        self._write(self.lost | set(ids))

    def end(self, ids: Iterable[str]) -> set[str]:
        """The batch is stored (or was refused). Returns which of `ids` had been lost before."""
        again = self.lost & set(ids)
        self.lost -= again
        self._write(self.lost)
        return again

    def _read(self) -> set[str]:
        try:
            return set(json.loads(self._note.read_text("utf-8"))) if self._note else set()
        except (FileNotFoundError, ValueError):
            return set()

    def _write(self, ids: set[str]) -> None:
        if self._note is None:
            return
        if not ids:
            self._note.unlink(missing_ok=True)
            return
        self._note.parent.mkdir(parents=True, exist_ok=True)
        half = self._note.with_suffix(f".{os.getpid()}")
        half.write_text(json.dumps(sorted(ids)), "utf-8")
        half.replace(self._note)
