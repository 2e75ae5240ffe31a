"""Wildcards of a folder, as Dynamic Prompts keeps them: `colour.txt` with a value a line, and YAML files with lists named by keys.

Source: `docs/SYNTAX.md` of sd-dynamic-prompts. A text file is named by its path below the folder, a list of a YAML file by its keys
(`clothes/hats`) or by those behind the file's name. Nothing outside the folder is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from fnmatch import translate
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from limner.promptdb.errors import BadInput
from limner.promptdb.files.file_kinds import PEEK
from limner.promptdb.files.text_lines import Malformed, Notes, as_utf8, text_form, text_lines

MOST_BYTES = 16 << 20  # of a file of wildcards
MOST_FILES = 20_000
MOST_VALUES = 1_000_000  # of all lists of one YAML file
DEEPEST = 20  # keys below each other

_LISTED = 5


class WildcardFolder:
    """The wildcards of a folder. Files are read when a name asks for them; names are compared without case."""

    def __init__(self, folder: Path) -> None:
        """Raises BadInput where there is no such folder."""
        self.folder = folder.expanduser()
        if not self.folder.is_dir():
            raise BadInput(f"there is no folder {folder} of wildcards; give the folder of its text and YAML files by --wildcards")
        self._read: dict[str, tuple[str, ...]] = {}

    def values(self, name: str) -> Sequence[str]:
        """Returns the values of a wildcard, or of all that a pattern with `*` matches, in the order of their names.

        Raises BadInput for a name that is unknown or leads out of the folder, and for a file that cannot be read.
        """
        key = name.lower()
        if key not in self._read:
            names = self._matching(name)
            values = [value for found in names for value in self._values(found)]
            self._read[key] = tuple(values if len(names) == 1 else dict.fromkeys(values))  # a list of YAML may have two names
        if not self._read[key]:
            raise BadInput(f"the wildcard {name!r} in {self.folder} has no values")
        return self._read[key]

    def _matching(self, name: str) -> list[str]:
        if ".." in name.split("/") or name.startswith(("/", "~")) or "\\" in name or re.match(r"[a-zA-Z]:", name):
            raise BadInput(f"the wildcard {name!r} leads out of the folder {self.folder}; give a name below it, such as colours/warm")
        if any(mark in name for mark in "*?["):
            pattern = re.compile(translate(name.lower()))
            found = sorted(key for key in {*self._texts, *self._lists} if pattern.match(key))
        else:
            found = [key for key in [name.lower()] if key in self._texts or key in self._lists]
        if not found:
            near = get_close_matches(name.lower(), [*self._texts, *self._lists], 1)
            hint = f"; nearest is {near[0]!r}" if near else f"; there are {self._some()}"
            raise BadInput(f"there is no wildcard {name!r} in {self.folder}{hint}")
        return found

    def _some(self) -> str:
        names = sorted({*self._texts, *self._lists})
        return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "") if names else "no text and YAML files"

    def _values(self, key: str) -> Iterator[str]:
        if key in self._texts:
            yield from _text_values(self._texts[key])
        yield from self._lists.get(key, ())

    @cached_property
    def _files(self) -> list[Path]:
        """The text and YAML files below the folder; links that lead out of it are passed by."""
        root = self.folder.resolve()
        found = []
        for path in sorted(self.folder.rglob("*")):
            if path.suffix.lower() in (".txt", ".yaml", ".yml") and path.is_file() and path.resolve().is_relative_to(root):
                found.append(path)
                if len(found) > MOST_FILES:
                    raise BadInput(f"{self.folder} has more than {MOST_FILES} files of wildcards; name a smaller folder")
        return found

    @cached_property
    def _texts(self) -> dict[str, Path]:
        return {self._key(path): path for path in self._files if path.suffix.lower() == ".txt"}

    @cached_property
    def _lists(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for path in self._files:
            if path.suffix.lower() == ".txt":
                continue
            for keys, values in _yaml_lists(path):
                for key in dict.fromkeys(("/".join(keys).lower(), "/".join([self._key(path), *keys]).lower())):
                    if key:
                        found.setdefault(key, []).extend(values)
        return found

    def _key(self, path: Path) -> str:
        return path.relative_to(self.folder).with_suffix("").as_posix().lower()


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadInput(f"{path} has more than {MOST_BYTES >> 20} MB, too much for a file of wildcards")
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror})") from error


def _text_values(path: Path) -> Iterator[str]:
    """Yields the lines of a file that are neither blank nor comments."""
    import io

    content = _content(path)
    form = text_form(content[:PEEK], whole=len(content) <= PEEK)
    if form is None:
        raise BadInput(f"{path} is no text file; a wildcard has one value a line")
    for number, line in text_lines(as_utf8(io.BytesIO(content), form), Notes(), form.windows):
        if isinstance(line, Malformed):
            raise BadInput(f"{path}, line {number}: {line}")
        if not line.lstrip().startswith("#"):
            yield line.strip()


def _yaml_lists(path: Path) -> list[tuple[list[str], list[str]]]:
    """Returns (keys, values) of every list of a YAML file; other values are ignored."""
    try:
        document = yaml.load(_content(path), Loader=_LOADER)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise BadInput(f"{path} is no YAML that can be read ({' '.join(str(error).split())[:200]})") from error
    found: list[tuple[list[str], list[str]]] = []
    left = [MOST_VALUES]
    _collect(document, [], found, left, path)
    return found


_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""Makes texts, lists and mappings alone, never another object."""


def _collect(node: object, keys: list[str], found: list[tuple[list[str], list[str]]], left: list[int], path: Path) -> None:
    if len(keys) > DEEPEST:
        raise BadInput(f"{path} has keys more than {DEEPEST} deep")
    if isinstance(node, dict):
        left[0] -= len(node)
        if left[0] < 0:
            raise BadInput(f"{path} has more than {MOST_VALUES} values")
        for key, value in node.items():
            if isinstance(key, str):
                _collect(value, [*keys, key], found, left, path)
    elif isinstance(node, list):
        left[0] -= len(node)
        if left[0] < 0:
            raise BadInput(f"{path} has more than {MOST_VALUES} values")
        found.append((keys, [" ".join(value.split()) for value in node if isinstance(value, str) and value.strip()]))
