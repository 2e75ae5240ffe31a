"""Converts a prompt between dialects of weighting and timing, by way of a Conditioning, and reports what is lost.

`detect` recognises the dialect by its syntax; where two dialects read a prompt differently, it refuses to guess.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from limner.promptdb.errors import BadInput
from limner.promptdb.generated.record import Generated
from limner.promptdb.records import Conditioning, canonical_text
from limner.tools.prompt_language import compel
from limner.tools.prompt_language.a1111 import WHOLE_PROMPTS, read_a1111, write_a1111
from limner.tools.prompt_language.comfyui import is_graph, read_comfyui, write_comfyui
from limner.tools.prompt_language.compel import read_compel, write_compel
from limner.tools.prompt_language.document import from_document, read_json
from limner.tools.prompt_language.emphasis import RANGE_LIKE
from limner.tools.prompt_language.fidelity import Level, Reason, Written, distinct, worst
from limner.tools.prompt_language.infotext import Made, graph_in, infotext_in, write_made
from limner.tools.prompt_language.parse import parse
from limner.tools.prompt_language.write import write, write_negative

Dialect = Literal["df", "a1111", "comfyui", "compel"]
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)

_ESCAPED = re.compile(r"\\.", re.DOTALL)
_TRIPLE = re.compile(rf"\[[^\[\]]*:{RANGE_LIKE}:[^\[\]:]*\]", re.ASCII | re.IGNORECASE)
_EDIT = re.compile(r":\s*[-+]?[\d.]+\s*\]", re.ASCII)
_ALTERNATING = re.compile(r"\[[^\[\]|]*\|[^\[\]]*\]")
_EMPHASIS = re.compile(r"\(((?!\s*\))[^()]*):\s*[-+]?[\d.]+\s*\)", re.ASCII)
_SIGNED = re.compile(r"\)(?:\++|-+|\d|\.\d)|[^\s+,.()-](?:\+\+*|--+)(?=[\s,.)]|$)", re.ASCII)
_ROUND = re.compile(r"\([^()]+\)")
_SQUARE = re.compile(r"\[[^\[\]:|]+\]")
_SQUARE_COLON = re.compile(r"\[[^\[\]]*:[^\[\]]*\]")


def detect(source: str) -> Dialect:
    """Returns the dialect of a prompt; plain text counts as DF-Prompt. Raises BadInput where the dialect is ambiguous."""
    source = _ESCAPED.sub("", canonical_text(source))
    if _TRIPLE.search(source):
        rest = _TRIPLE.sub("", source)
        if _EMPHASIS.search(rest) or _EDIT.search(rest) or _ALTERNATING.search(rest):
            raise _unclear("it mixes triples [words:range:weight] of DF-Prompt with marks of another dialect", "df", "a1111")
        return "df"
    if compel.OPERATORS.search(source):
        return "compel"
    a1111 = next((pattern for pattern in (_EDIT, _ALTERNATING, WHOLE_PROMPTS) if pattern.search(source)), None)
    if (signed := _SIGNED.search(source)) and a1111 is None and not _EMPHASIS.search(source):
        if signed[0][0] != ")":
            raise _unclear(f"{signed[0]!r} is emphasis in compel and plain text elsewhere", "compel", "df")
        return "compel"
    if a1111 is not None:
        if signed:
            raise _unclear("it mixes marks of A1111 and compel", "a1111", "compel")
        found = a1111.search(source)
        if found and found[0] in ("AND", "BREAK") and not (_EMPHASIS.search(source) or _SQUARE.search(source)):
            raise _unclear(f"{found[0]} divides the prompt in A1111 and is a word elsewhere", "a1111", "df")
        return "a1111"
    if found := _EMPHASIS.search(source):
        raise _unclear(f"{found[0]!r} is emphasis in A1111 and in ComfyUI, whose weights mean different things", "a1111", "comfyui")
    if found := _ROUND.search(source):
        raise _unclear(f"{found[0]!r} is plain text in DF-Prompt and emphasis elsewhere", "df", "a1111", "comfyui", "compel")
    if (found := _SQUARE.search(source)) and not _SQUARE_COLON.search(source):
        raise _unclear(f"{found[0]!r} weakens in A1111 and is no triple of DF-Prompt", "a1111", "df")
    return "df"


def _unclear(why: str, *choices: Dialect) -> BadInput:
    return BadInput(f"the dialect is not clear: {why}; say which is meant: {' or '.join(f'--from {choice}' for choice in choices)}")


MOST_STEPS = 1000


@dataclass(frozen=True, slots=True)
class Conversion:
    """A converted prompt: the dialects, the Conditioning that was read, what was written, and the reasons why it is not exact."""

    source: Dialect
    target: Dialect
    conditioning: Conditioning
    written: Written
    reasons: tuple[Reason, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the picture that the prompt came with, beside the prompt and by the target's names; a graph holds them itself."""

    @property
    def fidelity(self) -> Level:
        """How faithful reading and writing together are."""
        return worst(self.reasons)


def convert(
    text: str,
    to: str,
    source: str | None = None,
    steps: int | None = None,
    negative: str = "",
    lenient: bool = False,
    made: Generated | None = None,
) -> Conversion:
    """Converts `text`, and `negative` in the same dialect, to the dialect `to`.

    An infotext and a node graph are taken apart, and their settings are written by the target's names. `made`: settings for a prompt that
    comes without.

    `source`: the dialect of `text`; None detects it. `steps`: model calls of the run that the prompt is for, 1 to 1000. `lenient`
    (DF-Prompt only): brackets that begin no triple are literal text. Raises BadInput for prompts that cannot be read, or read in more than
    one way.
    """
    if to not in DIALECTS:
        raise BadInput(f"there is no dialect {to!r} to write; there are {', '.join(DIALECTS)}")
    if steps is not None and not 1 <= steps <= MOST_STEPS:
        raise BadInput(f"the steps must be between 1 and {MOST_STEPS}, not {steps}")
    _check_unicode(text, negative)
    if not canonical_text(text):
        raise BadInput("the prompt is empty; give the text to convert")
    if (found := infotext_in(text, source, steps)) is not None and canonical_text(negative):
        raise BadInput("an infotext brings its own negative prompt; leave --negative out")
    if found is None and (document := _document(text, source)) is not None and is_graph(document):
        found = graph_in(document) if not negative else None
    if found is not None:
        return _with_settings(found, to, steps)
    dialect, conditioning, known = _read(text, negative, source, steps, lenient)
    _check_unicode(conditioning.text, conditioning.negative)  # a JSON document may escape surrogates
    if made is not None:
        return _with_settings(Made(dialect, conditioning, made, known), to, steps)
    written = _WRITERS[to](conditioning, steps)
    return Conversion(dialect, to, conditioning, written, distinct((*known, *written.reasons)))


def _with_settings(made: Made, to: str, steps: int | None) -> Conversion:
    _check_unicode(made.conditioning.text, made.conditioning.negative)
    written, settings = write_made(made, to, steps, _WRITERS[to])
    return Conversion(cast(Dialect, made.source), cast(Dialect, to), made.conditioning, written,
                      distinct((*made.reasons, *written.reasons)), settings)  # fmt: skip


def _check_unicode(*texts: str) -> None:
    for text in texts:
        if (at := next((at for at, char in enumerate(text) if "\ud800" <= char <= "\udfff"), None)) is not None:
            raise BadInput(f"character {at + 1} of the prompt is half of a surrogate pair, which is no Unicode text")


Reading = tuple[Dialect, Conditioning, tuple[Reason, ...]]


def _read(text: str, negative: str, source: str | None, steps: int | None, lenient: bool) -> Reading:
    document = _document(text, source)
    if document is not None and negative:
        raise BadInput("a JSON document brings its own negative prompt; leave --negative out")
    if document is not None:
        return "df", from_document(document), ()
    if source is None:
        detected = [detect(text), *([detect(negative)] if canonical_text(negative) else [])]
        source = next((dialect for dialect in detected if dialect != "df"), "df")
    if source == "df":
        parsed = [parse(each, lenient) for each in (text, negative)]
        (words, spans), (others, other_spans) = (each.spoken() for each in parsed)
        problems = [Reason("exact", f"taken for plain text: {problem.reason}", each.source[problem.at : problem.at + 20])
                    for each in parsed for problem in each.problems]  # fmt: skip
        return "df", Conditioning(words, others, spans, other_spans), tuple(problems)
    if source == "a1111":
        return "a1111", *read_a1111(text, negative, steps)
    if source == "comfyui":
        return "comfyui", *read_comfyui(text, negative)
    if source == "compel":
        return "compel", *read_compel(text, negative)
    raise BadInput(f"there is no dialect {source!r} to read; there are {', '.join(DIALECTS)}")


def _document(text: str, source: str | None) -> object:
    """Returns the JSON value that `text` is; None for a prompt, which may also begin with a brace."""
    if not text.lstrip().startswith("{") or source not in (None, "df", "comfyui"):
        return None
    try:
        document = read_json(text)
    except BadInput:
        if '"class_type"' in text or '"version"' in text:
            raise
        return None
    return document


def _write_df(conditioning: Conditioning, steps: int | None) -> Written:
    reasons = list[Reason]()
    if conditioning.weight_mode != "mean_restore":
        mode = conditioning.weight_mode
        reasons.append(Reason("approximate", f"weights that mean {mode}: the text of DF-Prompt does not say so, its JSON does"))
    if conditioning.range_unit != "step":
        reasons.append(Reason("unsupported", "ranges of the noise level: the text of DF-Prompt does not say so, its JSON does"))
    return Written(write(conditioning), write_negative(conditioning), tuple(reasons))


_WRITERS: dict[str, Callable[[Conditioning, int | None], Written]] = {
    "df": _write_df,
    "a1111": write_a1111,
    "comfyui": write_comfyui,
    "compel": write_compel,
}
