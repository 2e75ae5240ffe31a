"""Writes a Conditioning in the DF-Prompt language; `parse.py` reads the text back as an equal Conditioning."""

from __future__ import annotations

import re
from collections.abc import Sequence

from limner.promptdb.records import Conditioning, EffectSpan
from limner.tools.prompt_language.assemble import write_number

# A run of backslashes is matched only from its start, so that a long run takes linear, not quadratic time.
_IN_TEXT = re.compile(r"(?<!\\)(\\*)([\[\]])")
_IN_WORDS = re.compile(r"(?<!\\)(\\*)([\[\]:])")
_BEFORE_BLANKS = re.compile(r"(?<!\\)\\+(?=\s)")
_RUN_AT_END = re.compile(r"(?<!\\)\\+\Z")
_OUTER_BLANKS = re.compile(r"\A\s|\s\Z")


def write(conditioning: Conditioning) -> str:
    """Returns the prompt."""
    return write_text(conditioning.text, conditioning.spans)


def write_negative(conditioning: Conditioning) -> str:
    """Returns the negative prompt, in the same language."""
    return write_text(conditioning.negative, conditioning.negative_spans)


def write_text(text: str, spans: Sequence[EffectSpan]) -> str:
    """Returns `text` with its spans as triples, ranges as low-high."""
    written, position = [], 0
    for span in spans:
        before = _IN_TEXT.sub(_escaped, text[position : span.start])
        written.append(_RUN_AT_END.sub(_doubled, before) + _triple(text[span.start : span.end], span))
        position = span.end
    return "".join([*written, _IN_TEXT.sub(_escaped, text[position:])])


def _triple(words: str, span: EffectSpan) -> str:
    low, high, weight = (write_number(value) for value in (1 - span.hi, 1 - span.lo, span.weight))
    body = _BEFORE_BLANKS.sub(_doubled, words)
    body = _OUTER_BLANKS.sub(lambda match: "\\" + match[0], body)
    body = _IN_WORDS.sub(_escaped, body)
    return f"[{_RUN_AT_END.sub(_doubled, body)}:{low}-{high}:{weight}]"


def _escaped(match: re.Match[str]) -> str:
    return f"{match[1] * 2}\\{match[2]}"


def _doubled(match: re.Match[str]) -> str:
    return match[0] * 2
