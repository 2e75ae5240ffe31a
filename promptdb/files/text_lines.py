"""Text of files in any usual encoding, as numbered lines: UTF-8 and UTF-16 by their marks and bytes, Windows-1252 where a line is no UTF-8.

Lines of files of any size are read one at a time, and rejected with a reason.
"""

from __future__ import annotations

import codecs
import io
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal, cast

MAX_LINE = 1 << 20  # bytes: fits the longest prompt, subject and negative with every character escaped

_BOM = codecs.BOM_UTF8
_BLOCK = 1 << 16

Raw = tuple[int, "str | Malformed"]
"""A line with its number from 1, or the reason why it cannot be read."""


class Malformed(Exception):
    """A row cannot be used; the message is the reason."""


@dataclass(frozen=True, slots=True)
class TextForm:
    """How a file holds text. `windows`: lines that are no UTF-8 are Windows-1252. `returns`: lines end in a bare carriage return."""

    encoding: Literal["utf-8", "utf-16-le", "utf-16-be"] = "utf-8"
    windows: bool = False
    returns: bool = False


PLAIN = TextForm()


class Notes:
    """What a reader has to say about a whole file: lines in another encoding, flags that were left out."""

    def __init__(self) -> None:
        self.windows = 0
        self._flags: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add_flag(self, flag: str) -> None:
        """Counts a flag that was left out, such as "--ar 16:9", by its name."""
        name = flag.split(" ", 1)[0]
        self._flags[name] += 1
        self._first.setdefault(name, flag)

    def sentences(self) -> list[str]:
        """Returns the notes, each as one sentence without a full stop."""
        found = []
        if self.windows:
            lines = "1 line that is" if self.windows == 1 else f"{self.windows} lines that are"
            found.append(f"{lines} no UTF-8 read as Windows-1252 (cp1252); save the file as UTF-8 to be sure of accents and dashes")
        if self._flags:
            named = [self._first[name] + (f" ({count} times)" if count > 1 else "") for name, count in self._flags.most_common()]
            found.append(f"flags of other programs left out: {', '.join(named)}")
        return found


def text_form(peek: bytes, whole: bool) -> TextForm | None:
    """Returns the form of a text by its first bytes; None where they are no text: zero bytes among bytes that are no UTF-8.

    `whole`: whether `peek` is all of the file. UTF-16 is known by its byte order mark, or by a zero in nearly every second byte.
    """
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if peek.startswith(mark):
            return _utf16(peek, cast(Literal["utf-16-le", "utf-16-be"], encoding))
    zeros = peek.count(0)
    if zeros > len(peek) / 3:
        odd = peek[1::2].count(0)
        if odd == zeros or odd == 0:
            return _utf16(peek, "utf-16-le" if odd else "utf-16-be")
    lines = peek.split(b"\n")
    inner = [line for line in (lines if whole else lines[:-1]) if not line.isascii()]
    broken = sum(not _is_utf8(line) for line in inner)
    if zeros and broken:
        return None
    return TextForm("utf-8", windows=broken == len(inner), returns=b"\n" not in peek and b"\r" in peek[:-1])


def _utf16(peek: bytes, encoding: Literal["utf-16-le", "utf-16-be"]) -> TextForm:
    text = peek.decode(encoding, "ignore")
    return TextForm(encoding, returns="\n" not in text and "\r" in text[:-1])


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def as_utf8(stream: BinaryIO, form: TextForm) -> BinaryIO:
    """Returns the stream as bytes of UTF-8 whose lines end in a line feed."""
    if form.encoding == "utf-8" and not form.returns:
        return stream
    return cast(BinaryIO, io.BufferedReader(_Recoded(stream, _recoder(form)), _BLOCK))


def head_text(peek: bytes, form: TextForm) -> str:
    """Returns the first bytes of a text decoded, without a byte order mark; what cannot be decoded is left out."""
    text = peek.decode("utf-8-sig" if form.encoding == "utf-8" else form.encoding, "ignore").removeprefix("\ufeff")
    return text.replace("\r", "\n") if form.returns else text


def _recoder(form: TextForm) -> Callable[[bytes, bool], bytes]:
    if form.encoding == "utf-8":
        return lambda block, final: block.replace(b"\r", b"\n")
    decoder = codecs.getincrementaldecoder(form.encoding)("surrogatepass")

    def recode(block: bytes, final: bool) -> bytes:
        try:
            text = decoder.decode(block, final)
        except UnicodeDecodeError:  # half a character at the end of the file: no UTF-8 either
            return b"\xff"
        return (text.replace("\r", "\n") if form.returns else text).encode("utf-8", "surrogatepass")

    return recode


class _Recoded(io.RawIOBase):
    def __init__(self, stream: BinaryIO, recode: Callable[[bytes, bool], bytes]) -> None:
        self._stream, self._recode = stream, recode
        self._ready, self._ended = b"", False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._ready and not self._ended:
            block = self._stream.read(_BLOCK)
            self._ended = not block
            self._ready = self._recode(block, self._ended)
        part, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


def numbered(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Yields numbered lines; None for a line longer than MAX_LINE, which is skipped without being held in memory."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) <= MAX_LINE:
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE)
        yield number, None


def text_lines(file: BinaryIO, notes: Notes, windows: bool = False, blank: bool = False) -> Iterator[Raw]:
    """Yields the lines of a stream of UTF-8, without a byte order mark; blank ones only with `blank`.

    `windows`: a line that is no UTF-8 is read as Windows-1252 and counted in `notes`; otherwise it is Malformed.
    """
    for number, line in numbered(file):
        if line is None:
            yield number, Malformed(f"longer than {MAX_LINE} bytes")
            continue
        if number == 1:
            line = line.removeprefix(_BOM)
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            try:
                if not windows:
                    raise error
                text = line.decode("cp1252")
            except UnicodeDecodeError:
                yield number, Malformed(f"not valid UTF-8 at byte {error.start + 1}")
                continue
            notes.windows += 1
        if blank or text.strip():
            yield number, text
