"""Keeps checkpoints open from one run to the next, with their scorers: a bounded number, the least recently used unloaded first.

A run borrows a checkpoint by a lease and has it to itself until the lease ends, so that no two runs change each other's weights. A server
has a pool for each of its queues; a command has a pool of its own.
"""

from __future__ import annotations

import gc
import sys
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self

from limner.tools.diffusion.checkpoint import Checkpoint, open_checkpoint
from limner.tools.scoring.base import Scorer
from limner.tools.scoring.registry import open_scorer

if TYPE_CHECKING:
    import torch

Asked = tuple[str, str | None, str | None]
"""Name, device and dtype of a checkpoint, None where the default is asked for."""


@dataclass
class _Slot:
    """A place of the pool. `checkpoint`: None while it is being opened."""

    checkpoint: Checkpoint | None = None
    scorers: dict[tuple[str, str], Scorer] = field(default_factory=dict)
    leased: bool = True


@dataclass(frozen=True)
class Loaded:
    """A checkpoint in memory. `scorers`: names of those opened with it. `leased`: whether a run works with it at present."""

    checkpoint: str
    device: str
    scorers: tuple[str, ...]
    leased: bool


class ModelPool:
    """Holds at most `bound` checkpoints, in use or not. Thread-safe; one is opened at a time, with its scorers."""

    def __init__(self, bound: int = 1) -> None:
        if bound < 1:
            raise ValueError(f"a pool of {bound} checkpoints can open none")
        self.bound = bound
        self._slots: dict[Asked, _Slot] = {}  # the least recently used first
        self._changed = threading.Condition()
        self._opening = threading.Lock()

    def lease(self) -> Lease:
        """Returns a lease without a checkpoint yet. Use it as a context manager, or close it."""
        return Lease(self)

    def loaded(self) -> list[Loaded]:
        """Returns the checkpoints in memory, the least recently used first."""
        with self._changed:
            there = [(slot.checkpoint, slot) for slot in self._slots.values() if slot.checkpoint is not None]
            return [Loaded(c.name, c.device_name, tuple(name for name, _ in slot.scorers), slot.leased) for c, slot in there]

    def unload(self) -> None:
        """Frees the memory of every checkpoint that no lease holds."""
        with self._changed:
            for asked in [asked for asked, slot in self._slots.items() if not slot.leased]:
                del self._slots[asked]
        _free_memory()

    def _acquire(self, asked: Asked) -> _Slot:
        """Returns the slot of that checkpoint, opened where it was not.

        Waits while another lease holds it, and for a place in a full pool while every other checkpoint is held. Raises BadInput.
        """
        unloaded = False
        with self._changed:
            while True:
                slot = self._slots.get(asked)
                if slot is not None and not slot.leased:
                    self._slots[asked] = self._slots.pop(asked)
                    slot.leased = True
                    return slot
                if slot is None and len(self._slots) < self.bound:
                    break
                idle = [key for key, other in self._slots.items() if not other.leased]
                if slot is None and idle:
                    del self._slots[idle[0]]
                    unloaded = True
                    continue
                self._changed.wait()
            slot = self._slots[asked] = _Slot()
        try:
            with self._opening:
                if unloaded:  # before the next is read, so that both need not fit
                    _free_memory()
                slot.checkpoint = open_checkpoint(*asked)
        except BaseException:
            with self._changed:
                del self._slots[asked]
                self._changed.notify_all()
            raise
        return slot

    def _release(self, asked: Asked) -> None:
        with self._changed:
            self._slots[asked].leased = False
            self._changed.notify_all()


class Lease:
    """One checkpoint at a time with its scorers, borrowed from a pool. Asking for another one gives back the one before.

    Not thread-safe. A thread that holds a lease of a full pool and waits for another lease waits for itself.
    """

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool
        self._asked: Asked | None = None
        self._slot: _Slot | None = None

    def checkpoint(self, name: str, device: str | None, dtype: str | None) -> Checkpoint:
        """Returns the checkpoint, which no other run has until this lease ends or asks for another.

        Takes the arguments of `open_checkpoint`, and raises BadInput as it does.
        """
        asked = (name, device, dtype)
        if asked != self._asked:
            self.close()
            self._slot, self._asked = self._pool._acquire(asked), asked
        assert self._slot is not None and self._slot.checkpoint is not None
        return self._slot.checkpoint

    def scorer(self, name: str, checkpoint: Checkpoint | None, device: torch.device | str) -> Scorer:
        """Returns the scorer of that name on `device`. Raises BadInput where it cannot be opened.

        A scorer that comes with the leased checkpoint stays open as long as the checkpoint; one that belongs to no checkpoint is opened
        each time.
        """
        if self._slot is None or checkpoint is not self._slot.checkpoint:
            return open_scorer(name, checkpoint, device)
        key = (name, str(device))
        if key not in self._slot.scorers:
            with self._pool._opening:
                self._slot.scorers[key] = open_scorer(name, checkpoint, device)
        return self._slot.scorers[key]

    def close(self) -> None:
        """Gives the checkpoint back. It stays open in the pool until its place is needed."""
        if self._asked is not None:
            self._pool._release(self._asked)
        self._asked = self._slot = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _free_memory() -> None:
    """Return the memory of what is no longer referred to, a GPU's cached blocks included."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
