"""What all commands print with: one JSON document on stdout, people's output on a console without colours of its own accord."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def print_json(document: Any) -> None:
    """The document of --json, on the real stdout: the rest of the process prints to stderr meanwhile."""
    print(json.dumps(document, ensure_ascii=False, indent=2), file=sys.__stdout__)


def console() -> Console:
    from rich.console import Console

    return Console(highlight=False)
