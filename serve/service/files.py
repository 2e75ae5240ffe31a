"""Files that may be sent to clients: those of a run, in its folder, of kinds that runs write. Nothing else, whatever the name says.

A name from outside is one plain component; links that lead out of the folder are treated as missing.
"""

from __future__ import annotations

import re
from pathlib import Path

KINDS = {".png": "image/png", ".html": "text/html; charset=utf-8"}

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def run_file(folder: Path, run: str, name: str) -> Path | None:
    """Returns the file `name` of `run` below `folder`; None where there is none that may be sent."""
    if not (_PLAIN.fullmatch(run) and _PLAIN.fullmatch(name)) or ".." in run + name:
        return None
    return _inside(folder / run, folder, name) if Path(name).suffix in KINDS else None


def stored_image(folder: Path, path: Path) -> Path | None:
    """Returns the path of a picture in the image store at `folder`; None where it is not there, or a link leads elsewhere."""
    return _inside(path.parent, folder, path.name)


def run_files(folder: Path, run: str) -> list[str]:
    """Returns the names of the files of a run that may be sent, in order."""
    if not _PLAIN.fullmatch(run) or not (folder / run).is_dir():
        return []
    return [entry.name for entry in sorted((folder / run).iterdir()) if run_file(folder, run, entry.name)]


def _inside(parent: Path, root: Path, name: str) -> Path | None:
    try:
        path = (parent / name).resolve(strict=True)
        # Its own folder, not only the root: a link must not lead into another run either.
        inside = path.parent == root.resolve(strict=True) / parent.relative_to(root)
    except (OSError, ValueError, RuntimeError):
        return None
    return path if inside and path.is_file() else None
