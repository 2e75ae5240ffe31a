"""Lines of text files that may be of any size and kind: read one at a time, decoded and checked, refused with a reason.

Knows nothing of what is in a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from promptdb.errors import BadInput

MAX_CHARACTERS = 20_000  # of a prompt; no text encoder reads a hundredth of it
MAX_LINE = 1 << 20  # bytes: room for the longest prompt, subject and negative, every character escaped

UNPRINTABLE = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"  # as RE2 reads it, too
_UNPRINTABLE = re.compile(UNPRINTABLE + "|[\ud800-\udfff]")


class Malformed(Exception):
    """A line cannot be used; the message is the reason."""


def lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Numbered lines; None for one longer than MAX_LINE, which is read past without being held."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) <= MAX_LINE:
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE)
        yield number, None


def decoded(line: bytes, path: Path, number: int) -> str:
    if number == 1:
        if line.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise BadInput(f"{path} is UTF-16; save it as UTF-8")
        line = line.removeprefix(b"\xef\xbb\xbf")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"not valid UTF-8 at byte {error.start + 1}") from error


def usable(value: object, name: str, empty: bool = False) -> str:
    if not isinstance(value, str):
        raise Malformed(f"the {name} is not a string")
    value = value.strip()
    if len(value) > MAX_CHARACTERS:
        raise Malformed(f"the {name} is longer than {MAX_CHARACTERS} characters")
    if not empty and not value:
        raise Malformed(f"the {name} is empty")
    if odd := _UNPRINTABLE.search(value):
        raise Malformed(f"the {name} has the control character U+{ord(odd[0]):04X} at position {odd.start() + 1}")
    return value
