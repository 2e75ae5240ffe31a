"""What happens while somebody waits, in a line of words. Knows nothing of the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def in_words(event: Mapping[str, Any]) -> str:
    """An event in a line; empty for those that are too many to be told."""
    kind = event["kind"]
    if kind == "node" and event["phase"] == "end" and event["note"]:
        return f"{event['node']}: {event['note']}"
    if kind == "draw" and event["images"]:
        return f"drawing {event['images']} pictures"
    return str(event["text"]) if kind == "warning" else ""
