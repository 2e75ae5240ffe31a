"""Reads a prompt as somebody typed it, in whichever dialect, before every command: a Conditioning, and what in it is no words.

A DF-Prompt, A1111's and ComfyUI's emphasis, compel's and NovelAI's all become spans; tags, BREAK, wildcards and flags become opaque
parts, which keep their places. The text that A1111 copies for a picture is taken apart into prompt and negative prompt.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from limner.promptdb.errors import BadInput
from limner.promptdb.generated.a1111 import holds_infotext, read_infotext
from limner.promptdb.records import Conditioning, EffectSpan, canonical_text
from limner.tools.prompt_language.a1111 import read_a1111
from limner.tools.prompt_language.assemble import LocatedError, Problem
from limner.tools.prompt_language.comfyui import read_comfyui
from limner.tools.prompt_language.compel import read_compel
from limner.tools.prompt_language.dialects import AUTO, DIALECTS, NAMES, OPAQUE, UNMARKED, Dialect, Told, told_dialect
from limner.tools.prompt_language.fidelity import Reason, distinct
from limner.tools.prompt_language.novelai import read_novelai
from limner.tools.prompt_language.opaque import Kind, Masked, OpaquePart, lora_of, take_out
from limner.tools.prompt_language.parse import parse

Placed = tuple[tuple[int, OpaquePart], ...]
"""Opaque parts with their offsets into the text, in order."""

LOADED = Reason("exact", "a style of this checkpoint, which is loaded")
WHY: dict[Kind, Reason] = {
    "network": Reason("unsupported", "a network that is not loaded here; the tag is kept in what is written"),
    "embedding": Reason("unsupported", "an embedding that is not loaded here; the name is kept in what is written"),
    "break": Reason("exact", "BREAK begins another chunk of the text encoder"),
    "and": Reason("approximate", "AND composes predictions in A1111; here its prompts are read side by side, without their weights"),
    "wildcard": Reason("unsupported", "a wildcard that was not expanded"),
    "flag": Reason("unsupported", "a flag of another tool, which nothing here follows"),
}
_MARKS = re.compile(r"[()\[\]{}<>|:\\+_]|--|[—–]\w\w|\b(?:AND|BREAK)\b|/imagine")
"""What every mark of every dialect holds: a prompt without it is plain text."""

_NO = re.compile(r"--(?:no|negative[_-]?prompt)\s+[\"']?(.*?)[\"']?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Reading:
    """A prompt and a negative prompt as typed, and what they mean.

    `mark`: by which the dialect was told; empty where it was given, or is plain text. `opaque`, `negative_opaque`: parts that are no words,
    with offsets into the Conditioning's texts. `reasons`: what is read otherwise than it was perhaps meant; of opaque parts `on_parts` says
    it. `shared_mark`: another dialect has the mark too.
    """

    dialect: Dialect
    mark: str
    text: str
    negative: str
    conditioning: Conditioning
    opaque: Placed = ()
    negative_opaque: Placed = ()
    reasons: tuple[Reason, ...] = ()
    shared_mark: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether the prompt was words and nothing else."""
        return self.text == self.conditioning.text and self.negative == self.conditioning.negative and self.conditioning.is_plain

    def on_parts(self, style: str = "") -> tuple[Reason, ...]:
        """Returns what becomes of each opaque part here. `style`: of the checkpoint, which a tag may name."""
        found = []
        for _, part in (*self.opaque, *self.negative_opaque):
            lora = lora_of(part)
            found.append(replace(LOADED if style and lora and lora[0] == style else WHY[part.kind], words=part.shown))
        return distinct(found)

    @property
    def notes(self) -> list[str]:
        """One line for each thing that the person should know of how the prompt was read, with no style loaded."""
        return self.notes_with("")

    def notes_with(self, style: str) -> list[str]:
        """Returns the notes where the checkpoint has this style."""
        told = [f"read as {NAMES[self.dialect]}, by {self.mark!r}; --dialect says otherwise"] if self.mark else []
        reasons = distinct((*self.reasons, *self.on_parts(style)))
        return told + [f"{reason.words}: {reason.why}" if reason.words else reason.why for reason in reasons]


def read_prompt(text: str, negative: str = "", dialect: str = AUTO, steps: int | None = None, lenient: bool = False) -> Reading:
    """Reads a prompt and a negative prompt, both in one dialect.

    `dialect`: `auto` tells it by the marks. `steps`: model calls of the run, for A1111's step numbers. `lenient`: brackets of a DF-Prompt
    that begin no triple are text. Raises BadInput for a dialect that does not exist or is not clear, and LocatedError for what cannot be
    read.
    """
    text, negative = canonical_text(text), canonical_text(negative)
    if dialect not in (AUTO, *DIALECTS):
        raise BadInput(f"there is no dialect {dialect!r}; there are {AUTO}, {', '.join(DIALECTS)}")
    if dialect == AUTO and not (_MARKS.search(text) or _MARKS.search(negative)):
        return Reading("plain", "", text, negative, Conditioning(text, negative))
    settings = tuple[Reason, ...]()
    if dialect in (AUTO, "a1111") and "\n" in text and holds_infotext(text):
        text, negative, settings = _taken_apart(text, negative)
        dialect = "a1111"
    told = Told(dialect) if dialect != AUTO else _told(text, negative)  # type: ignore[arg-type]
    kinds = UNMARKED if dialect == AUTO and told.dialect == "plain" else OPAQUE[told.dialect]
    masked, unwanted = take_out(text, kinds), take_out(negative, kinds)
    masked, excluded = _excluded(masked)
    if excluded:
        unwanted = replace(unwanted, text=", ".join(filter(None, (unwanted.text, *excluded))))
    if not (masked.marks or unwanted.marks or excluded) and told.dialect == "plain":
        return Reading("plain", "", text, negative, Conditioning(text, negative))
    conditioning, reasons = _read(told.dialect, masked, unwanted, steps, lenient)
    found, parts = _without_marks(conditioning.text, conditioning.spans, masked.marks)
    others, other_parts = _without_marks(conditioning.negative, conditioning.negative_spans, unwanted.marks)
    whole = replace(
        conditioning,
        text=found[0],
        spans=found[1],
        negative=others[0],
        negative_spans=others[1],
        breaks=_breaks(parts),
        negative_breaks=_breaks(other_parts),
    )
    return Reading(told.dialect, told.mark, text, negative, whole, parts, other_parts, distinct((*settings, *reasons)), told.shared)


def _told(text: str, negative: str) -> Told:
    told = told_dialect(text)
    return told if told.dialect != "plain" else told_dialect(negative)


def _taken_apart(text: str, negative: str) -> tuple[str, str, tuple[Reason, ...]]:
    """Returns the prompt and negative prompt of an infotext, and that its settings are not used."""
    if negative:
        raise BadInput("this is the text that A1111 copies for a picture, which brings its own negative prompt; leave --negative out")
    made = read_infotext(text)
    named = {"seed": made.seed, "steps": made.steps, "cfg": made.cfg, "sampler": made.sampler, "size": made.size, "model": made.model}
    listed = ", ".join(f"{name} {value}" for name, value in named.items() if value not in (None, ""))
    why = Reason("unsupported", f"the settings that stand below the prompt are not used: {listed}")
    return canonical_text(made.prompt), canonical_text(made.negative), (why,)


def _excluded(masked: Masked) -> tuple[Masked, list[str]]:
    """Takes `--no people` out of the flags; returns what is left, and the words that are not wanted."""
    words, text, marks = list[str](), masked.text, dict(masked.marks)
    for mark, part in masked.marks.items():
        if part.kind == "flag" and (match := _NO.fullmatch(part.shown)):
            words.append(match[1].strip())
            text = text.replace(mark, "")
            del marks[mark]
    return Masked(text.rstrip() if words else text, marks), words


def _read(
    dialect: Dialect, masked: Masked, unwanted: Masked, steps: int | None, lenient: bool
) -> tuple[Conditioning, tuple[Reason, ...]]:
    try:
        if dialect == "df":
            return _read_df(masked.text, unwanted.text, lenient)
        if dialect == "a1111":
            return read_a1111(masked.text, unwanted.text, steps)
        return READERS[dialect](masked.text, unwanted.text)
    except LocatedError as error:
        side = masked if error.source == canonical_text(masked.text) else unwanted
        typed = "".join(side.marks[char].text if char in side.marks else char for char in side.text)
        raise LocatedError(typed, Problem(side.at(error.at), error.problem.reason)) from error


def _read_df(text: str, negative: str, lenient: bool) -> tuple[Conditioning, tuple[Reason, ...]]:
    parsed = [parse(each, lenient) for each in (text, negative)]
    (words, spans), (others, other_spans) = (each.spoken() for each in parsed)
    problems = [
        Reason("exact", f"taken for plain text: {problem.reason}", each.source[problem.at : problem.at + 20])
        for each in parsed
        for problem in each.problems
    ]
    return Conditioning(words, others, spans, other_spans), tuple(problems)


READERS: dict[Dialect, Callable[[str, str], tuple[Conditioning, tuple[Reason, ...]]]] = {
    "plain": lambda text, negative: (Conditioning(text, negative), ()),
    "comfyui": read_comfyui,
    "compel": read_compel,
    "invokeai": read_compel,
    "novelai": read_novelai,
}
"""The readers of dialects that have no times."""


def _breaks(parts: Placed) -> tuple[int, ...]:
    return tuple(place for place, part in parts if part.kind == "break" or (part.kind == "and" and "AND" in part.text))


def _without_marks(
    text: str, spans: Sequence[EffectSpan], marks: dict[str, OpaquePart]
) -> tuple[tuple[str, tuple[EffectSpan, ...]], Placed]:
    """Returns the text without the private characters, its spans, and the parts at the places where they stood."""
    if not marks:
        return (text, tuple(spans)), ()
    kept, moved, parts = list[str](), list[int](), list[tuple[int, OpaquePart]]()
    for char in text:
        moved.append(len(kept))
        if char in marks:
            parts.append((len(kept), marks[char]))
        else:
            kept.append(char)
    moved.append(len(kept))
    whole = "".join(kept)
    words = whole.strip()
    lead = len(whole) - len(whole.lstrip())

    def place(offset: int) -> int:
        return min(max(moved[offset] - lead, 0), len(words))

    found = [replace(span, start=place(span.start), end=place(span.end)) for span in spans if place(span.start) < place(span.end)]
    return (words, tuple(found)), tuple((min(max(at - lead, 0), len(words)), part) for at, part in parts)


def taken_out(conditioning: Conditioning, kinds: Sequence[Kind]) -> tuple[Conditioning, Placed, Placed]:
    """Returns a Conditioning without the opaque parts of these kinds that its texts hold, and the parts of either text."""
    sides = []
    for text, spans in ((conditioning.text, conditioning.spans), (conditioning.negative, conditioning.negative_spans)):
        masked = take_out(text, kinds)
        starts = [masked.at(place) for place in range(len(masked.text) + 1)]

        def place(offset: int, starts: list[int] = starts) -> int:
            return bisect_right(starts, offset) - 1

        moved = [replace(span, start=place(span.start), end=place(span.end - 1) + 1) for span in spans]
        sides.append(_without_marks(masked.text, moved, masked.marks))
    ((text, spans), parts), ((negative, negative_spans), negative_parts) = sides
    words = replace(conditioning, text=text, spans=spans, negative=negative, negative_spans=negative_spans)
    return words, parts, negative_parts
