"""The dialects in which people write prompts, and how one is told by its marks.

Where two dialects share a mark, the more common tool is assumed and named: `(x:1.2)` is A1111's and ComfyUI's, and counts as A1111's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from limner.promptdb.errors import BadInput
from limner.tools.prompt_language.emphasis import RANGE_LIKE
from limner.tools.prompt_language.opaque import Kind

Dialect = Literal["plain", "a1111", "comfyui", "compel", "invokeai", "novelai", "df"]
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)
AUTO = "auto"

OPAQUE: dict[Dialect, tuple[Kind, ...]] = {
    "plain": (),
    "a1111": ("network", "break", "and", "wildcard", "flag"),
    "comfyui": ("network", "embedding", "wildcard", "flag"),
    "compel": ("network", "wildcard", "flag"),
    "invokeai": ("network", "wildcard", "flag"),
    "novelai": ("flag",),
    "df": ("network", "wildcard", "flag"),
}
"""The opaque parts of each dialect. Plain text that was not asked for by name has those of UNMARKED."""

UNMARKED: tuple[Kind, ...] = ("wildcard", "flag")

NAMES: dict[str, str] = {
    "plain": "plain text",
    "a1111": "A1111",
    "comfyui": "ComfyUI",
    "compel": "compel",
    "invokeai": "InvokeAI",
    "novelai": "NovelAI",
    "df": "DF-Prompt",
}

_ESCAPED = re.compile(r"\\.", re.DOTALL)
_TRIPLE = re.compile(rf"\[[^\[\]]*:{RANGE_LIKE}:[^\[\]:]*\]", re.ASCII | re.IGNORECASE)
_A1111_ALONE = (
    re.compile(r"<\w+:[^<>\n]+>"),
    re.compile(r"\bBREAK\b"),
    re.compile(r"\[[^\[\]]*:\s*[-+]?[\d.]+\s*\]", re.ASCII),
    re.compile(r"\[[^\[\]|]*\|[^\[\]]*\]"),
    re.compile(r"(?:^|(?<=,))\s*\[[^\[\]:|]+\]\s*(?=,|$)"),
    re.compile(r"\[\[[^\[\]]+\]\]"),
)
_AND = re.compile(r"(?<=[a-z,.)\d]\s)AND(?=\s+[a-z(])")
_SHARED = (
    re.compile(r"\((?!\s*\))[^()]*:\s*[-+]?(?:\d+\.?\d*|\.\d+)\s*\)", re.ASCII),
    re.compile(r"\(\([^()]+\)\)"),
    re.compile(r"(?:^|(?<=,))\s*\([^()]+\)\s*(?=,|$)"),
)
"""Emphasis of A1111 and ComfyUI: a weight, doubled brackets, or brackets around a whole tag. Brackets within a phrase are plain text."""

_ESCAPED_BRACKET = re.compile(r"\\[()\[\]]")
_COMFYUI = re.compile(r"\bembedding:\w")
_COMPEL = re.compile(
    r"\)(?:\+|(?:-+|\d?\.\d+|\d)(?=[\s,.)]|$))|(?<![A-Za-z])[A-Za-z]{2,}(?:\+\++|--+)(?=[\s,.)]|$)", re.ASCII
)
OPERATORS = re.compile(r"\)\s*\.(?:and|add|blend|swap|attend)\s*\(|\.(?:swap|attend)\s*\(")
"""What combines whole prompts or swaps words by attention in compel, which has no counterpart here."""

_LORA_CALL = re.compile(r"\b(?:with|use)Lora\s*\(")
_NOVELAI = (
    re.compile(r"(?<![\w.:])-?(?:\d{1,4}(?:\.\d{0,4})?|\.\d{1,4})::[^:]"),
    re.compile(r"\{\{[^{}]+\}\}"),
    re.compile(r"(?:^|(?<=,))\s*\{[^{}|$]+\}\s*(?=,|$)"),
)


@dataclass(frozen=True, slots=True)
class Told:
    """The dialect of a prompt, and the mark by which it was told; plain text has none. `shared`: another dialect has this mark too."""

    dialect: Dialect
    mark: str = ""
    shared: bool = False


def told_dialect(source: str) -> Told:
    """Returns the dialect of a prompt by its marks. Raises BadInput where it has marks of two dialects that exclude one another."""
    text = _ESCAPED.sub("", source)
    alone = _first(text, *_A1111_ALONE, _AND)
    if triple := _TRIPLE.search(text):
        rest = _TRIPLE.sub("", text)
        if mark := _first(rest, *_A1111_ALONE[2:4], _SHARED[0]):
            raise BadInput(f"{triple[0]!r} is a triple of DF-Prompt and {mark!r} is A1111's: say which is meant with --dialect df or a1111")
        return Told("df", triple[0])
    signed = _first(text, OPERATORS, _LORA_CALL) or ("" if _SHARED[0].search(text) else _first(text, _COMPEL))
    if alone and signed:
        raise BadInput(f"{alone!r} is A1111's and {signed!r} is compel's: say which is meant with --dialect a1111 or compel")
    if signed:
        return Told("compel", signed)
    if alone:
        return Told("a1111", alone)
    if mark := _first(text, _COMFYUI):
        return Told("comfyui", mark)
    if mark := _first(text, *_SHARED) or _first(source, _ESCAPED_BRACKET):
        return Told("a1111", mark, shared=True)
    if mark := _first(text, *_NOVELAI):
        return Told("novelai", mark)
    return Told("plain")


def _first(text: str, *patterns: re.Pattern[str]) -> str:
    return next((match[0].strip() for pattern in patterns if (match := pattern.search(text))), "")
