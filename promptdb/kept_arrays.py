"""Arrays that belong to a stretch of prompt numbers, kept as mapped .npy files in a folder of their own: whole or not there at all.

Several processes may keep the same stretch at once; one of them wins, and they are equal. Knows nothing of what the arrays mean.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from promptdb.errors import BadInput

Arrays = Mapping[str, np.ndarray]


def keep(arrays: Arrays, folder: Path, first: int, last: int) -> None:
    """Write arrays of the prompts `first` to `last`; those kept before for a part of them, from `first` on, are taken away.

    Raises BadInput where the folder cannot be written.
    """
    target = folder / f"{first}-{last}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            work = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
            try:
                for name, array in arrays.items():
                    np.save(work / f"{name}.npy", array)
                os.replace(work, target)
            except OSError:
                shutil.rmtree(work, ignore_errors=True)
                if not target.exists():  # else another was quicker
                    raise
    except OSError as error:
        raise BadInput(f"{folder} cannot be written ({error.strerror}); free some space, or give a --db in another folder") from error
    for end, path in _kept(folder, first):
        if end < last:
            shutil.rmtree(path, ignore_errors=True)


def kept(folder: Path, first: int, last: int, names: Sequence[str]) -> tuple[int, dict[str, np.ndarray]] | None:
    """The longest stretch from `first` on that ends by `last`: (its end, its arrays, mapped). None where none is whole."""
    for end, path in sorted(_kept(folder, first), reverse=True):
        if end <= last:
            try:
                return end, {name: np.load(path / f"{name}.npy", mmap_mode="r") for name in names}
            except (OSError, ValueError, EOFError):
                shutil.rmtree(path, ignore_errors=True)
    return None


def _kept(folder: Path, first: int) -> Iterator[tuple[int, Path]]:
    for path in folder.glob(f"{first}-*"):
        end = path.name.split("-")[1]
        if end.isdigit():
            yield int(end), path
