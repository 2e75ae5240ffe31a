"""Checkpoints and scorers that stay open from one run to the next, in a thread that does many runs, one after the other.

A command opens what it needs and ends; a server would read the same weights for every request. What is kept belongs to one thread and is
never shared, so two runs cannot disturb each other's weights.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from limner.tools.diffusion.checkpoint import Checkpoint, open_checkpoint
from limner.tools.scoring.base import Scorer
from limner.tools.scoring.registry import open_scorer

if TYPE_CHECKING:
    import torch

Asked = tuple[str, str | None, str | None]  # checkpoint, device, dtype


class KeptModels:
    """The checkpoint asked for last and its scorers: one set, so that a server needs no more memory than a command."""

    def __init__(self) -> None:
        self._asked: Asked | None = None
        self._checkpoint: Checkpoint | None = None
        self._scorers: dict[tuple[str, str], Scorer] = {}

    def checkpoint(self, asked: Asked) -> Checkpoint:
        if self._checkpoint is None or self._asked != asked:
            self._checkpoint, self._asked, self._scorers = None, None, {}  # before the next is read, so that both need not fit
            self._checkpoint, self._asked = open_checkpoint(*asked), asked
        return self._checkpoint

    def scorer(self, name: str, checkpoint: Checkpoint | None, device: torch.device | str) -> Scorer:
        if checkpoint is None or checkpoint is not self._checkpoint:
            return open_scorer(name, checkpoint, device)
        key = (name, str(device))
        if key not in self._scorers:
            self._scorers[key] = open_scorer(name, checkpoint, device)
        return self._scorers[key]


_of_thread = threading.local()


def keep_models(kept: KeptModels) -> None:
    """From here on, this thread keeps open in `kept` what its runs open."""
    _of_thread.kept = kept


@contextmanager
def kept_by(kept: KeptModels) -> Iterator[None]:
    """For a thread that works on behalf of the one whose models these are, while that one waits for it."""
    before = getattr(_of_thread, "kept", None)
    _of_thread.kept = kept
    try:
        yield
    finally:
        _of_thread.kept = before


def opened_checkpoint(name: str, device: str | None, dtype: str | None) -> Checkpoint:
    """As `open_checkpoint`, but of a thread that keeps its models the one that is open."""
    kept: KeptModels | None = getattr(_of_thread, "kept", None)
    return kept.checkpoint((name, device, dtype)) if kept else open_checkpoint(name, device, dtype)


def opened_scorer(name: str, checkpoint: Checkpoint | None, device: torch.device | str) -> Scorer:
    """As `open_scorer`, but of a thread that keeps its models the one that is open."""
    kept: KeptModels | None = getattr(_of_thread, "kept", None)
    return kept.scorer(name, checkpoint, device) if kept else open_scorer(name, checkpoint, device)
