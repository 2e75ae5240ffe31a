"""What happens while somebody waits, in a line of words. Knows nothing of the wire."""

from __future__ import annotations

from limner.graph.events import Event
from limner.serve.steps import step_words


def in_words(event: Event) -> str:
    """An event in a line; empty for those that are too many to be told."""
    match event["kind"]:
        case "node" if event["phase"] == "end" and event["note"]:
            return f"{step_words(event['node'])}: {event['note']}"
        case "draw" if event["images"]:
            return f"drawing {event['images']} pictures"
        case "warning":
            return event["text"]
    return ""
