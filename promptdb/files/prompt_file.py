"""Reads the prompts of one file for a batch, of any kind that is imported, with their pins. Nothing is stored.

Prompts that differ only in case and blanks count as one. An unusable line is reported, and reading goes on. Of a pair or a chat the plain
half is taken: what the user typed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from limner.promptdb.errors import BadInput
from limner.promptdb.files.columns import Chunk
from limner.promptdb.files.file_kinds import file_kind
from limner.promptdb.files.read_generated import is_picture_file, pictures_in, read_pictures
from limner.promptdb.files.reading import nothing_read, read_file
from limner.promptdb.files.text_lines import Notes
from limner.promptdb.records import canonical_text, text_id


@dataclass(frozen=True, slots=True)
class BatchPrompt:
    """A naive prompt of a batch; `pins` are words that every rewrite must contain. `template`: what it was made of, or empty."""

    text: str
    pins: tuple[str, ...] = ()
    template: str = ""


@dataclass(frozen=True, slots=True)
class PromptFile:
    """`prompts` in the order of the file. `malformed`: (line number from 1, reason). `notes`: what there is to say about the whole file."""

    prompts: tuple[BatchPrompt, ...]
    duplicates: int
    malformed: tuple[tuple[int, str], ...]
    notes: tuple[str, ...] = ()


def read_prompts(path: Path | str, limit: int | None = None, column: str | None = None) -> PromptFile:
    """Returns the distinct prompts of a file of any kind that is imported, a picture and a folder of pictures among them, at most `limit`.

    Rows may bring `pins`: a list, or a text in which semicolons separate them. `column`: the column of the prompts, where its name says
    nothing. Raises BadInput where the file cannot be read or has no prompt.
    """
    path = Path(path).expanduser()
    found: dict[str, BatchPrompt] = {}
    duplicates = pairs = negatives = 0
    malformed = list[tuple[int, str]]()
    notes = Notes()
    for chunk in _chunks(path, notes, column, limit):
        malformed += chunk.malformed
        for row in chunk.rows.select(["text", "plain", "pins", "negative"]).to_pylist():
            prompt = BatchPrompt(canonical_text(row["plain"] or row["text"]), tuple(_pins(row["pins"])))
            if text_id(prompt.text) in found:
                duplicates += 1
            elif limit is None or len(found) < limit:
                found[text_id(prompt.text)] = prompt
                pairs, negatives = pairs + bool(row["plain"]), negatives + bool(row["negative"])
        if limit is not None and len(found) == limit:
            break
    if not found:
        raise nothing_read(path, malformed[0] if malformed else None)
    said = notes.sentences()
    if pairs:
        said.append(f"{_count(pairs)} taken from the plain half of a pair; the professional half is left to db import")
    if negatives:
        said.append(f"{_count(negatives)} given with a negative prompt, which learning does not use: the rewriter writes its own")
    return PromptFile(tuple(found.values()), duplicates, tuple(malformed), tuple(said))


def _untold(done: int, total: int) -> None:
    """Progress that nobody is told."""


def _chunks(path: Path, notes: Notes, column: str | None, limit: int | None) -> Iterator[Chunk]:
    if path.is_dir():
        return read_pictures(pictures_in(path), _untold)
    return read_pictures([path], _untold) if is_picture_file(path) else read_file(path, file_kind(path, column), notes, column, rows=limit)


def _count(prompts: int) -> str:
    return "1 prompt is" if prompts == 1 else f"{prompts} prompts are"


def _pins(pins: list[str] | None) -> list[str]:
    return [pin for each in pins or () if (pin := canonical_text(each))]


def distinct(prompts: Iterable[BatchPrompt], limit: int | None = None) -> PromptFile:
    """The distinct ones of prompts that came in no file, at most `limit`, as `read_prompts` returns those of a file.

    Raises BadInput where there is none.
    """
    given = [replace(prompt, text=canonical_text(prompt.text)) for prompt in prompts]
    found = {text_id(prompt.text): prompt for prompt in reversed(given) if prompt.text}
    if not found:
        raise BadInput("there are no prompts to learn on; give at least one")
    return PromptFile(tuple(reversed(found.values()))[:limit], len(given) - len(found), ())
