"""Styles of A1111 (`styles.csv`: name, prompt, negative_prompt) and, in JSON, of Fooocus and prompt styler nodes.

A style is no prompt: `{prompt}` stands in it for what the user typed; without it, the style stands behind. It is kept as an instruction of
the rewriter, and as a suffix where all of it can stand behind a prompt. Sources: stable-diffusion-webui's `modules/styles.py`, Fooocus's
`sdxl_styles` folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from limner.promptdb.files.documents import document_rows
from limner.promptdb.files.file_kinds import FileKind, usable
from limner.promptdb.files.tables import table_rows
from limner.promptdb.files.text_lines import Malformed, Notes, as_utf8, text_lines
from limner.promptdb.library import PromptLibrary
from limner.promptdb.records import Instruction

PLACE = "{prompt}"
LONGEST_PHRASE = 60  # characters that a directive of an instruction may quote

_TAG = re.compile(r"<[^<>]*>")
_WEIGHT = re.compile(r":\s*[\d.]+(?=\s*\))")


@dataclass(frozen=True, slots=True)
class Style:
    """A style by its name. `prompt` may hold `{prompt}`; either may be empty, not both."""

    name: str
    prompt: str
    negative: str = ""

    def suffix(self) -> str:
        """Returns the words behind a prompt, without weights and network tags; empty where some of the style stands before the prompt."""
        before, _, behind = self.prompt.partition(PLACE) if PLACE in self.prompt else ("", "", self.prompt)
        return "" if before.strip(" ,(") else ", ".join(_phrases(behind))

    def instruction(self) -> Instruction:
        """Returns the instruction that makes a rewriter write in this style, with the style itself as its finding."""
        add = [phrase for part in self.prompt.split(PLACE) for phrase in _phrases(part)]
        lines = [f"Turn the description below into prompts in the style {_name(self.name)}.", _quoted("Add {}.", add)]
        lines.append(_quoted("Put {} into the negative list.", _phrases(self.negative)))
        finding = json.dumps({"style": self.name, "prompt": self.prompt, "negative": self.negative}, ensure_ascii=False, sort_keys=True)
        return Instruction(" ".join(line for line in lines if line), None, finding)


def _phrases(text: str) -> list[str]:
    plain = re.sub(r"[()\[\]{}\"“”\\]", "", _WEIGHT.sub("", _TAG.sub("", text)))
    return [phrase for part in plain.split(",") if (phrase := " ".join(part.split()).strip(" .:;"))]


def _quoted(sentence: str, phrases: list[str]) -> str:
    words = ", ".join(f'"{phrase}"' for phrase in phrases if len(phrase) <= LONGEST_PHRASE)
    return sentence.format(words) if words else ""


def _name(name: str) -> str:
    return "'" + re.sub(r"[\"“”'\s]+", " ", name).strip() + "'"


def read_styles(file: BinaryIO, path: Path, kind: FileKind, notes: Notes) -> Iterator[tuple[int, Style | Malformed]]:
    """Yields the styles of a decompressed file with their lines (in JSON their positions), or the reason why one cannot be used."""
    stream = as_utf8(file, kind.form)
    rows: Iterator[tuple[int, Any]]
    if kind.kind == "json styles":
        rows = document_rows(stream, path)
    else:
        rows = table_rows(text_lines(stream, notes, kind.form.windows, blank=True), path, ",")
    for number, row in rows:
        try:
            yield number, _style(row)
        except Malformed as error:
            yield number, error


def _style(row: Any) -> Style:
    if isinstance(row, Malformed):
        raise row
    fields = row[0] if isinstance(row, tuple) else row
    if not isinstance(fields, dict):
        raise Malformed("no JSON object of a style")
    found = {name.strip().lower(): value for name, value in fields.items()}
    name, prompt, negative = (usable(found.get(each) or "", each, empty=True) for each in ("name", "prompt", "negative_prompt"))
    if not name or not (prompt or negative):
        raise Malformed("a style without a name" if not name else f"the style {name!r} has neither a prompt nor a negative prompt")
    return Style(name, prompt, negative)


def add_styles(db: PromptLibrary, styles: Iterable[Style]) -> int:
    """Stores styles as instructions; returns how many are new."""
    found = (style.instruction() for style in styles)
    return db.write("INSERT OR IGNORE INTO instruction (id, text, parent, finding) VALUES (?, ?, ?, ?)",
                    [(item.id, item.text, item.parent, item.finding) for item in found])  # fmt: skip


def stored_styles(db: PromptLibrary) -> list[Style]:
    """Returns the styles of the database, by name."""
    rows = [json.loads(finding) for (finding,) in db.query("""SELECT finding FROM instruction WHERE finding LIKE '{%"style"%'""")]
    return sorted((Style(row["style"], row["prompt"], row["negative"]) for row in rows), key=lambda style: style.name.lower())


def style_named(db: PromptLibrary, name: str) -> Style | None:
    """Returns the stored style of that name, in any case, or None."""
    return next((style for style in stored_styles(db) if style.name.lower() == name.strip().lower()), None)
