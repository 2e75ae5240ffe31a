"""The one exception of a remote image model that the command line knows. Apart, so that naming it imports nothing heavy."""

from __future__ import annotations


class ImagesAway(Exception):
    """The endpoint gave no picture after all repeats. What was drawn before is kept, and the run may be resumed."""
