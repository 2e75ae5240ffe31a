"""Events as lines of words for a client that waits. Knows nothing of the wire."""

from __future__ import annotations

from limner.graph.events import Event
from limner.serve.steps import step_words


def in_words(event: Event) -> str:
    """Returns an event as a line; empty for kinds that are too many to show."""
    match event["kind"]:
        case "node" if event["phase"] == "end" and event["note"]:
            return f"{step_words(event['node'])}: {event['note']}"
        case "draw" if event["images"]:
            return f"drawing {event['images']} pictures"
        case "warning":
            return event["text"]
    return ""
