"""The report of a learned instruction: one HTML file that needs nothing else."""

from __future__ import annotations

from pathlib import Path

from graph.optimize_state import OptimizeState
from graph.state import Context


def write_optimize(context: Context, state: OptimizeState, folder: Path) -> Path:
    """Write the page into `folder`."""
    raise NotImplementedError
