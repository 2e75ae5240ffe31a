r"""Which dialect a prompt is written in, told from its marks. Where two would read it and mean different things, nobody guesses."""

from __future__ import annotations

import re
from typing import Literal, get_args

from promptdb.errors import BadInput
from promptdb.records import canonical_text
from tools.df_prompt import a1111_read, compel
from tools.df_prompt.emphasis import RANGE_LIKE

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
    """The dialect of a prompt; one without any marks is plain text, which is DF-Prompt. Raises BadInput where it is not certain."""
    source = _ESCAPED.sub("", canonical_text(source))
    if _TRIPLE.search(source):
        rest = _TRIPLE.sub("", source)
        if _EMPHASIS.search(rest) or _EDIT.search(rest) or _ALTERNATING.search(rest):
            raise _unclear("it mixes triples [words:range:weight] of DF-Prompt with marks of another dialect", "df", "a1111")
        return "df"
    if compel.OPERATORS.search(source):
        return "compel"
    a1111 = next((pattern for pattern in (_EDIT, _ALTERNATING, a1111_read.WHOLE_PROMPTS) if pattern.search(source)), None)
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
