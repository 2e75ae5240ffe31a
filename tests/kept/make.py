"""Writes what the tests compare with: `python -m tests.kept.make [ID...]`, for all cases or for those named.

Only for a change of behaviour that is meant; the diff of the files then shows it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.kept.commands import CASES
from tests.kept.run import file_of, run, write


def make(names: list[str]) -> int:
    """Returns the exit code: 2 where a case is not known."""
    if unknown := sorted(set(names) - {case.id for case in CASES}):
        print(f"there is no case {unknown[0]!r}; there are {', '.join(case.id for case in CASES)}", file=sys.stderr)
        return 2
    for case in CASES:
        if names and case.id not in names:
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            write(case, run(case, Path(folder)))
        size = file_of(case).stat().st_size
        print(f"{case.id:<28} {time.monotonic() - began:5.1f} s  {size / 1000:6.1f} kB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(make(sys.argv[1:]))
