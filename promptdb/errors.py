"""The one error that a person, not a programmer, can mend."""

from __future__ import annotations


class BadInput(ValueError):
    """What was given cannot be used. The message is one line: what was wrong, where, and what to do. The command line exits with 2."""
