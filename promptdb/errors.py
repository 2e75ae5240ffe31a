"""Exceptions that the command line knows by name, in a module that imports nothing."""

from __future__ import annotations


class BadInput(ValueError):
    """An argument, a setting or a file cannot be used. The message is one line: what was wrong, where, and what to do. The command line
    exits with 2.
    """


class Busy(BadInput):
    """Another process or thread works on the run, or on another turn of the conversation."""


class Stopped(Exception):
    """The run was asked to stop. What it has stored stays, and it may be resumed."""

    def __init__(self, run: str, command: str = "refine") -> None:
        super().__init__(f"interrupted, everything so far is kept; go on with: {command} --resume {run}")
        self.run = run


class ServerAway(Exception):
    """The chat server answered no request of a whole batch, after all its retries: the run is suspended and may be resumed."""


class Cancelled(Exception):
    """The drawing of pictures was cancelled. The pictures drawn before are stored."""


class ImagesAway(Exception):
    """The endpoint gave no picture after all repeats. The pictures drawn before are stored, and the run may be resumed."""
