"""Finds what a prompt holds beside words: tags that load networks, BREAK and AND, wildcards, flags.

Such parts never reach the text encoder. They are taken out before a prompt is read, each leaving one private character, and stand in a
text again wherever that character is: so every reader and writer of a dialect carries them without knowing them. Sources:
stable-diffusion-webui, modules/extra_networks.py and modules/prompt_parser.py; ComfyUI, comfy/sd1_clip.py; sd-dynamic-prompts, README;
Midjourney's parameter list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from limner.promptdb.errors import BadInput
from limner.promptdb.files.prompt_flags import flags_in
from limner.promptdb.records import Conditioning

Kind = Literal["network", "embedding", "break", "and", "wildcard", "flag"]

_PATTERNS: dict[Kind, str] = {
    "network": r"<\w+:[^<>\n]+>|\b(?:with|use)Lora\([^()\n]*\)",
    "embedding": r"\bembedding:[\w./\\-]*\w",
    "break": r"\bBREAK\b",
    "and": r"(?::\s*[-+]?[\d.]+\s*)?\bAND\b",
    "wildcard": r"(?<!\w)__[\w*./-]*[\w*]__(?!\w)",
}
_DIVIDING = ("break", "and")
_LAST_WEIGHT = re.compile(r":\s*[-+]?[\d.]+\s*\Z")
"""The weight of the last of several prompts that AND composes."""

_BRACES = re.compile(r"[{}|]")


@dataclass(frozen=True, slots=True)
class OpaquePart:
    """A part that is no words. `text`: as typed, with the comma that would be left over without it. `kind`: what it is."""

    kind: Kind
    text: str

    @property
    def shown(self) -> str:
        """The part without the commas and blanks around it."""
        return self.text.strip(" ,\n\t")


_LORA = re.compile(r"<(?:lora|lyco):([^:<>]+)(?::([-+]?(?:\d+\.?\d*|\.\d+)))?>", re.IGNORECASE)


def lora_of(part: OpaquePart) -> tuple[str, float] | None:
    """Returns name and strength of the LoRA that a tag names; None for another part, and for a tag that says more than these."""
    tag = _LORA.fullmatch(part.shown)
    return (tag[1], float(tag[2] or 1)) if tag else None


@dataclass(frozen=True, slots=True)
class Masked:
    """A prompt with a private character in place of each opaque part; `marks` maps the characters to the parts, in order."""

    text: str
    marks: dict[str, OpaquePart]

    def at(self, place: int) -> int:
        """Returns the offset into the prompt as typed of an offset into the masked one."""
        return place + sum(len(self.marks[char].text) - 1 for char in self.text[:place] if char in self.marks)


def take_out(text: str, kinds: Iterable[Kind]) -> Masked:
    """Returns the prompt with its parts of these kinds masked."""
    kinds = set(kinds)
    wanted = [kind for kind in _PATTERNS if kind in kinds]
    matches = ((kind, match) for kind in wanted for match in re.finditer(_PATTERNS[kind], text))
    found: list[tuple[int, int, Kind]] = [(match.start(), match.end(), kind) for kind, match in matches]
    if "wildcard" in wanted:
        found += [(start, end, "wildcard") for start, end in _variants(text)]
    if "flag" in kinds:
        found += [(start, end, "flag") for start, end in flags_in(text)]
    if any(kind == "and" for *_, kind in found) and (match := _LAST_WEIGHT.search(text)):
        found.append((match.start(), match.end(), "and"))
    free = _free(text)
    written, marks, position = list[str](), dict[str, OpaquePart](), 0
    for start, end, kind in sorted(found, key=lambda place: (place[0], -place[1])):
        if start < position:
            continue  # within another one
        start, end = (_with_blanks if kind in _DIVIDING else _with_comma)(text, start, end, position)
        mark = next(free)
        marks[mark] = OpaquePart(kind, text[start:end])
        written += [text[position:start], mark]
        position = end
    return Masked("".join([*written, text[position:]]), marks)


def _with_comma(text: str, start: int, end: int, least: int) -> tuple[int, int]:
    """Returns the place of a part with the comma or blank that would be left over: one before it, or at the beginning one after it.

    `least`: end of the part before it.
    """
    before, after = _blanks_before(text, start, least), _blanks_after(text, end)
    following = text[after : after + 1]
    if before > least and text[before - 1] == "," and following in ("", ",", "\n"):
        return before - 1, end
    if before == 0 and following == ",":
        return start, after + 1
    if least < before < start and (following in ("", ",", ")", ":") or after > end):
        return start - 1, end
    return start, end


def _with_blanks(text: str, start: int, end: int, least: int) -> tuple[int, int]:
    """Returns the place of a part that divides, with the blanks around it but the first, which keeps the words apart."""
    return min(start, _blanks_before(text, start, least) + 1), _blanks_after(text, end)


def _blanks_before(text: str, place: int, least: int) -> int:
    while place > least and text[place - 1].isspace():
        place -= 1
    return place


def _blanks_after(text: str, place: int) -> int:
    while place < len(text) and text[place].isspace():
        place += 1
    return place


def _free(*texts: str) -> Iterator[str]:
    """Yields private characters that are in none of the texts. Raises BadInput where there are no more."""
    used = set().union(*texts)
    yield from (char for area in (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE)) for char in map(chr, area) if char not in used)
    raise BadInput("the prompt has more tags, breaks and flags than are read")


def _variants(text: str) -> list[tuple[int, int]]:
    """Returns the places of `{a|b}`, the outermost alone: balanced braces with a bar in them."""
    found, opened, bar = list[tuple[int, int]](), list[int](), False
    for match in _BRACES.finditer(text):
        if match[0] == "{":
            opened.append(match.start())
        elif match[0] == "|":
            bar = bar or bool(opened)
        elif opened:
            start = opened.pop()
            if not opened and bar:
                found.append((start, match.end()))
            bar = bar and bool(opened)
    return found


Placed = Sequence[tuple[int, OpaquePart]]
"""Parts with the offsets at which they stand in a text."""


def with_marks(conditioning: Conditioning, parts: Placed, negative_parts: Placed) -> tuple[Conditioning, dict[str, OpaquePart]]:
    """Returns a Conditioning whose texts have a private character at the offset of each part, and what each character stands for.

    A part at a border of a span stands outside of it.
    """
    if not parts and not negative_parts:
        return conditioning, {}
    free = _free(conditioning.text, conditioning.negative)
    marks = dict[str, OpaquePart]()
    sides = []
    for text, spans, side in (
        (conditioning.text, conditioning.spans, parts),
        (conditioning.negative, conditioning.negative_spans, negative_parts),
    ):
        ordered = sorted(side, key=lambda item: item[0])
        written, position = list[str](), 0
        for (place, part), mark in zip(ordered, free, strict=False):
            marks[mark] = part
            written += [text[position:place], mark]
            position = place
        moved = [
            replace(
                span,
                start=span.start + sum(place <= span.start for place, _ in ordered),
                end=span.end + sum(place < span.end for place, _ in ordered),
            )
            for span in spans
        ]
        sides.append(("".join([*written, text[position:]]), tuple(moved)))
    (text, spans), (negative, negative_spans) = sides
    whole = replace(
        conditioning,
        text=text,
        negative=negative,
        spans=spans,
        negative_spans=negative_spans,
        breaks=tuple(place + sum(other <= place for other, _ in parts) for place in conditioning.breaks),
        negative_breaks=tuple(place + sum(other <= place for other, _ in negative_parts) for place in conditioning.negative_breaks),
    )
    return whole, marks


def with_breaks(parts: Placed, breaks: Sequence[int]) -> list[tuple[int, OpaquePart]]:
    """Returns the parts, and a BREAK for each chunk that begins where no part says so."""
    said = {place for place, part in parts if part.kind in _DIVIDING}
    return [*parts, *((place, OpaquePart("break", "BREAK ")) for place in breaks if place not in said)]


def put_back(text: str, marks: dict[str, OpaquePart]) -> str:
    """Returns the text with each private character replaced by the part that it stands for."""
    return "".join(marks[char].text if char in marks else char for char in text) if marks else text
