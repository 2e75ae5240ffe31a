"""The one exception that says: asked to stop, and did. Apart from sessions.py, so that the command line can know it without LangGraph."""

from __future__ import annotations


class Stopped(Exception):
    """The run was asked to stop; everything so far is kept, and resuming goes on from there."""

    def __init__(self, run: str, command: str = "refine") -> None:
        super().__init__(f"interrupted, everything so far is kept; go on with: {command} --resume {run}")
        self.run = run


class ServerAway(Exception):
    """The chat server answered no request of a whole batch, after all its retries: the run is suspended and may be resumed."""


class Cancelled(Exception):
    """Whoever asked for pictures has left before they were drawn; what was drawn is kept."""
