"""Converts a prompt between dialects of weighting and timing, by way of a Conditioning, and reports what is lost.

The reader (reader.py) tells the dialect by its marks. Opaque parts are written where the target knows them, and named where it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from limner.promptdb.errors import BadInput
from limner.promptdb.generated.record import Generated
from limner.promptdb.records import Conditioning, canonical_text
from limner.tools.prompt_language.a1111 import write_a1111
from limner.tools.prompt_language.carry import parts_for
from limner.tools.prompt_language.comfyui import EXAMPLE, GraphSettings, comfyui_text, is_graph, write_comfyui
from limner.tools.prompt_language.compel import write_compel
from limner.tools.prompt_language.dialects import AUTO, DIALECTS, NAMES, Dialect
from limner.tools.prompt_language.document import from_document, read_json
from limner.tools.prompt_language.fidelity import Level, Reason, Written, distinct, worst
from limner.tools.prompt_language.infotext import Made, graph_in, infotext_in, write_made
from limner.tools.prompt_language.novelai import write_novelai
from limner.tools.prompt_language.opaque import Kind, OpaquePart, Placed, put_back, with_breaks, with_marks
from limner.tools.prompt_language.reader import Reading, read_prompt
from limner.tools.prompt_language.write import write, write_negative

MOST_STEPS = 1000

WRITTEN: dict[Dialect, tuple[Kind, ...]] = {
    "plain": ("wildcard", "flag"),
    "a1111": ("network", "embedding", "break", "and", "wildcard"),
    "comfyui": ("network", "embedding", "break", "wildcard"),
    "compel": ("wildcard",),
    "invokeai": ("wildcard",),
    "novelai": (),
    "df": ("network", "wildcard"),
}
"""The opaque parts that each dialect can say."""

EXTENSION = Reason("approximate", "kept as text: it is drawn as words where Dynamic Prompts or the like does not expand it")


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

    `source`: the dialect of `text`; None tells it by the marks. `steps`: model calls of the run that the prompt is for, 1 to 1000.
    `lenient` (DF-Prompt only): brackets that begin no triple are literal text. Raises BadInput for prompts that cannot be read, or read in
    more than one way.
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
    if found is None:
        reading = _read(text, negative, source, steps, lenient)
        found = Made(reading, made, ()) if made is not None else None
    if found is not None:
        return _with_settings(found, to, steps)
    _check_unicode(reading.conditioning.text, reading.conditioning.negative)  # a JSON document may escape surrogates
    written = write_in(to, reading.conditioning, reading.opaque, reading.negative_opaque, steps)
    return Conversion(reading.dialect, to, reading.conditioning, written, distinct((*remarks(reading), *written.reasons)))


def remarks(reading: Reading) -> list[Reason]:
    """Returns what a conversion has to say of how the prompt was read; what becomes of opaque parts is the writer's to say."""
    known = list(reading.reasons)
    if reading.shared_mark:
        known.append(Reason("exact", f"read as {NAMES[reading.dialect]}; --from says otherwise", reading.mark))
    return known


def write_in(
    to: Dialect,
    conditioning: Conditioning,
    parts: Placed = (),
    negative_parts: Placed = (),
    steps: int | None = None,
    settings: GraphSettings = EXAMPLE,
) -> Written:
    """Writes a Conditioning in a dialect, with opaque parts at their offsets into its texts; ComfyUI's is a node graph.

    `steps`: model calls of the run. `settings`: those of a graph. What the dialect cannot say is left out and named in the reasons. Raises
    BadInput as the writers do.
    """
    reasons = list[Reason]()
    parts, negative_parts = with_breaks(parts, conditioning.breaks), with_breaks(negative_parts, conditioning.negative_breaks)
    kept = [[(place, _named(part, to)) for place, part in side if part.kind in WRITTEN[to]] for side in (parts, negative_parts)]
    left_out = [part.shown for _, part in (*parts, *negative_parts) if part.kind not in WRITTEN[to]]
    reasons += [Reason("unsupported", f"{NAMES[to]} cannot say it, and it is left out", words) for words in left_out]
    reasons += [replace(EXTENSION, words=part.shown) for side in kept for _, part in side if part.kind == "wildcard"]
    if to == "comfyui":
        written = write_comfyui(conditioning, steps, kept[0], kept[1], settings)
        return replace(written, reasons=distinct((*reasons, *written.reasons)))
    marked, marks = with_marks(conditioning, *kept)
    written = WRITERS[to](marked, steps)
    return Written(_unmasked(written.output, marks), put_back(written.negative, marks), distinct((*reasons, *written.reasons)))


def _named(part: OpaquePart, to: Dialect) -> OpaquePart:
    """Returns the part as the dialect names it: A1111 knows an embedding by its name alone."""
    if part.kind == "embedding" and to == "a1111":
        return replace(part, text=part.text.replace("embedding:", ""))
    return part


def written_back(reading: Reading, conditioning: Conditioning, steps: int | None = None) -> tuple[Dialect, Written]:
    """Writes a Conditioning in the dialect in which the prompt was typed, with what the person typed beside words.

    What was not changed comes back to the letter; ComfyUI's text is a text. Where the dialect cannot say the Conditioning, a DF-Prompt is
    written and the reasons say so. Returns the dialect of what was written, and that.
    """
    if conditioning == reading.conditioning:
        return reading.dialect, Written(reading.text, reading.negative)
    parts, negative_parts = parts_for(reading, conditioning)
    breaks, negative_breaks = with_breaks(parts, conditioning.breaks), with_breaks(negative_parts, conditioning.negative_breaks)
    marked, marks = with_marks(conditioning, breaks, negative_breaks)
    timed = any((span.lo, span.hi) != (0, 1) for span in (*conditioning.spans, *conditioning.negative_spans))
    dialect = reading.dialect
    if (dialect == "plain" and not conditioning.is_plain) or (timed and dialect != "a1111"):
        written = _write_df(marked, steps)
        if dialect != "df":
            why = Reason("approximate", f"{NAMES[dialect]} cannot say which words act when, so this is a DF-Prompt")
            written = replace(written, reasons=(why, *written.reasons))
        dialect = "df"
    elif dialect == "comfyui":
        written = comfyui_text(marked)
    else:
        written = WRITERS[dialect](marked, steps)
    return dialect, Written(_unmasked(written.output, marks), put_back(written.negative, marks), written.reasons)


def _unmasked(output: Any, marks: dict[str, OpaquePart]) -> Any:
    if isinstance(output, str):
        return put_back(output, marks)
    if isinstance(output, list):
        return [_unmasked(item, marks) for item in output]
    return {key: _unmasked(value, marks) for key, value in output.items()} if isinstance(output, dict) else output


def _with_settings(made: Made, to: Dialect, steps: int | None) -> Conversion:
    conditioning = made.reading.conditioning
    _check_unicode(conditioning.text, conditioning.negative)
    written, settings = write_made(made, to, steps, partial(_write_reading, to, made.reading))
    reasons = distinct((*remarks(made.reading), *made.reasons, *written.reasons))
    return Conversion(made.reading.dialect, to, conditioning, written, reasons, settings)


def _write_reading(to: Dialect, reading: Reading, steps: int | None, settings: GraphSettings) -> Written:
    return write_in(to, reading.conditioning, reading.opaque, reading.negative_opaque, steps, settings)


def _check_unicode(*texts: str) -> None:
    for text in texts:
        if (at := next((at for at, char in enumerate(text) if "\ud800" <= char <= "\udfff"), None)) is not None:
            raise BadInput(f"character {at + 1} of the prompt is half of a surrogate pair, which is no Unicode text")


def _read(text: str, negative: str, source: str | None, steps: int | None, lenient: bool) -> Reading:
    document = _document(text, source)
    if document is not None and negative:
        raise BadInput("a JSON document brings its own negative prompt; leave --negative out")
    if document is not None:
        return Reading("df", "", text, "", from_document(document))
    return read_prompt(text, negative, source or AUTO, steps, lenient)


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


def _write_plain(conditioning: Conditioning, steps: int | None) -> Written:
    lost = [Reason("unsupported", "plain text has no weights and no times, and they are left out")]
    return Written(conditioning.text, conditioning.negative, () if conditioning.is_plain else tuple(lost))


WRITERS: dict[Dialect, Callable[[Conditioning, int | None], Written]] = {
    "plain": _write_plain,
    "df": _write_df,
    "a1111": write_a1111,
    "compel": write_compel,
    "invokeai": write_compel,
    "novelai": write_novelai,
}
"""The writers of texts; ComfyUI's is a graph."""
