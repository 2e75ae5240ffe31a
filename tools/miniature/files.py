"""Files of a training that a kill never leaves half written: each is made aside and renamed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def write_whole(path: Path, text: str) -> None:
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)


def save_whole(state: Mapping[str, Any], path: Path) -> None:
    """A torch state, as `torch.load(weights_only=True)` reads it."""
    import torch

    aside = path.with_suffix(".tmp")
    torch.save(dict(state), aside)
    os.replace(aside, path)
