"""Reads nested brackets around words: `(x:1.2)` and `(x)`, which A1111 and ComfyUI share, and A1111's `[x]` and prompt editing.

A1111's parser works on a flat list of text pieces, each with its effect; a closing bracket changes the pieces since its opening one.
ComfyUI's reads from the outermost brackets inwards. What is out of balance is read as each of them reads it: A1111 takes a bracket that
closes nothing as text, and one that is never closed as emphasis to the end; ComfyUI takes both as text. Sources: stable-diffusion-webui,
modules/prompt_parser.py; ComfyUI, comfy/sd1_clip.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from limner.tools.prompt_language.assemble import Effect, LocatedError, Part, Problem, read_number
from limner.tools.prompt_language.fidelity import Reason

STRONGER = Fraction(11, 10)
DEEPEST = 100  # most nested brackets; each level repeats the work on what it encloses

_TOKEN = re.compile(r"(\\.)|([()\[\]|:])|([^\\()\[\]|:]+|\\)", re.DOTALL)
RANGE_LIKE = r"\s*[-+]?(?:[\d.][\d./e+]*|nan|inf)\s*(?:\|?->|[-–→↦])\s*[-+]?(?:[\d.][\d./e+-]*|nan|inf)\s*"
"""What stands in the middle of a DF-Prompt triple, well-formed or not; no A1111 edit would contain it."""

_RANGE = re.compile(RANGE_LIKE, re.ASCII | re.IGNORECASE)
_NUMERIC = re.compile(r"\s*[-+]?[\d.]+(?:[eE][-+]?\d+)?\s*", re.ASCII)


@dataclass(slots=True)
class _Leaf:
    text: str
    at: int
    effect: Effect = field(default_factory=Effect)
    gone: bool = False  # it was syntax


@dataclass(slots=True)
class _Open:
    bracket: str
    at: int
    first: int  # leaf
    colons: list[int] = field(default_factory=list)
    bars: list[int] = field(default_factory=list)


def a1111_parts(source: str, steps: int | None = None) -> tuple[list[Part], list[Reason]]:
    """Returns the parts of a prompt of A1111's, each with its effect, without those that act at no step; then remarks on brackets.

    `steps`: model calls of the run, for absolute step numbers; fractions are then floored as A1111 does, so that borders fall on whole
    steps. Raises LocatedError for what has no counterpart, and for what versions of A1111 read differently.
    """
    leaves, opened, remarks = list[_Leaf](), list[_Open](), list[Reason]()

    def wrong(at: int, reason: str) -> LocatedError:
        return LocatedError(source, Problem(at, reason))

    for at, kind, text in _tokens(source):
        if kind == "text":
            leaves.append(_Leaf(text, at))
        elif text in "([":
            if len(opened) == DEEPEST:
                raise wrong(at, f"brackets nested more than {DEEPEST} deep")
            opened.append(_Open(text, at, len(leaves)))
        elif text in ":|":
            if opened:
                (opened[-1].colons if text == ":" else opened[-1].bars).append(len(leaves))
            leaves.append(_Leaf(text, at))
        elif (place := _last(opened, OPENING[text])) is None:
            remarks.append(closes_nothing(text, source, at))
            leaves.append(_Leaf(text, at))
        else:
            group = opened.pop(place)
            reason = _close_round(leaves, group) if text == ")" else _close_square(leaves, group, steps)
            if reason:
                raise wrong(group.at, reason)
    for group in opened:
        why = f"this {group.bracket} is never closed, so A1111 reads it as emphasis to the end"
        remarks.append(Reason("exact", why, source[group.at :][:SHOWN]))
        factor = STRONGER if group.bracket == "(" else 1 / STRONGER
        for leaf in leaves[group.first :]:
            leaf.effect = leaf.effect._replace(weight=leaf.effect.weight * factor)
    return _joined(leaf for leaf in leaves if not leaf.gone and leaf.effect.lo < leaf.effect.hi), remarks


OPENING = {")": "(", "]": "["}
SHOWN = 24  # characters of the place that a remark shows


def closes_nothing(bracket: str, source: str, at: int) -> Reason:
    """Returns the remark on a bracket that is text because it closes nothing."""
    return Reason("exact", f"this {bracket} closes nothing, so it is read as text", source[max(0, at + 1 - SHOWN) : at + 1])


def _last(opened: Sequence[_Open], bracket: str) -> int | None:
    """Returns the place of the innermost open bracket of a kind: A1111 counts round and square ones apart."""
    return next((place for place in reversed(range(len(opened))) if opened[place].bracket == bracket), None)


def _tokens(source: str) -> Iterator[tuple[int, str, str]]:
    for match in _TOKEN.finditer(source):
        escape, syntax, text = match.groups()
        if escape:
            yield match.start(), "text", escape[1]
        elif syntax:
            yield match.start(), "syntax", syntax
        else:
            yield match.start(), "text", text


def _close_round(leaves: list[_Leaf], group: _Open) -> str | None:
    """Applies `(...)` or `(...:weight)`; returns what is wrong with it, or None."""
    weight = STRONGER
    if _ends_in_a_number(leaves, group):
        read = read_number(leaves[-1].text.strip().removeprefix("+"))
        if read is None:
            return f"a weight is a number of at least 0 here, not {leaves[-1].text.strip()!r}"
        weight = read
        leaves[-1].gone = leaves[-2].gone = True
    for leaf in leaves[group.first :]:
        leaf.effect = leaf.effect._replace(weight=leaf.effect.weight * weight)
    return None


def _ends_in_a_number(leaves: list[_Leaf], group: _Open) -> bool:
    """Whether a colon and a number, and nothing else, stand before the closing bracket."""
    if not group.colons or group.colons[-1] != len(leaves) - 2:
        return False
    return leaves[-1].at == leaves[-2].at + 1 and _NUMERIC.fullmatch(leaves[-1].text) is not None


def _close_square(leaves: list[_Leaf], group: _Open, steps: int | None) -> str | None:
    """Applies `[...]`, `[to:when]`, `[from::when]` or `[from:to:when]`; returns what is wrong with it, or None."""
    if group.bars:
        return "[a|b], a word for every other step, has no counterpart"
    if not _ends_in_a_number(leaves, group):
        for leaf in leaves[group.first :]:
            leaf.effect = leaf.effect._replace(weight=leaf.effect.weight / STRONGER)
        return None
    if len(group.colons) > 2:
        return r"an edit is [from:to:when]; a colon within its words is written \:"
    if len(group.colons) == 2 and len(leaves) - group.colons[0] == 4 and _RANGE.fullmatch(leaves[-3].text):
        words = leaves[-3].text.strip()
        return rf"this is a triple of DF-Prompt, read with --dialect df; if the words {words!r} are meant, write \- for the hyphen"
    when = _time(leaves[-1].text.strip(), steps)
    if isinstance(when, str):
        return when
    divide = group.colons[0] if len(group.colons) == 2 else group.first
    for leaf in leaves[group.first : divide]:
        leaf.effect = leaf.effect._replace(hi=min(leaf.effect.hi, when))
    for leaf in leaves[divide:]:
        leaf.effect = leaf.effect._replace(lo=max(leaf.effect.lo, when))
    for number in (*group.colons, len(leaves) - 1):
        leaves[number].gone = True
    return None


def _time(text: str, steps: int | None) -> Fraction | str:
    """Returns the elapsed fraction of the denoising at which an edit happens, or a text that says what is wrong with it."""
    value = read_number(text)
    if value is None or "/" in text:
        return f"an edit happens after a number of steps or a fraction of them, not {text!r}"
    if "." not in text:
        if steps is None:
            return f"step {text} is among how many? name them with --steps"
        return min(Fraction(1), value / steps)
    if value >= 1:
        return f"{text} is step {int(value)} in older versions of A1111 and a fraction in newer ones; write a whole number or less than 1"
    # A1111 multiplies floats, so that 0.29 of 100 is step 28
    return value if steps is None else Fraction(int(float(text) * steps), steps)


def comfyui_parts(source: str) -> tuple[list[Part], list[Reason]]:
    """Returns the parts of a prompt of ComfyUI's, each with its weight, and remarks on brackets that are out of balance.

    `(x)` multiplies the weight around it by 1.1, `(x:1.2)` replaces it. A `)` that closes nothing also makes the next `(` text. Raises
    LocatedError for a weight that is no number of at least 0.
    """
    remarks = list[Reason]()
    parts = list[Part]()
    for text, weight in _comfyui(source, 0, Fraction(1), source, remarks, 0):
        effect = Effect(weight=weight)
        text = _COMFYUI_ESCAPE.sub(r"\1", text)
        if parts and parts[-1].effect == effect:
            parts.append(Part(parts.pop().text + text, effect))
        elif text:
            parts.append(Part(text, effect))
    return parts, remarks


_COMFYUI_ESCAPE = re.compile(r"\\([()])")
_COMFYUI_TOKEN = re.compile(r"\\[()]|[()]")


def _comfyui(
    text: str, at: int, weight: Fraction, source: str, remarks: list[Reason], depth: int
) -> Iterator[tuple[str, Fraction]]:
    """Yields text and weight of each stretch of `text`, which stands at `at` of `source`, inside brackets of this weight."""
    if depth > DEEPEST:
        raise LocatedError(source, Problem(at, f"brackets nested more than {DEEPEST} deep"))
    for start, piece, enclosed in _items(text, at, source, remarks):
        if not enclosed:
            yield piece, weight
            continue
        inner, within, stated = piece[1:-1], weight * STRONGER, piece[1:-1].rfind(":")
        if stated > 0 and _COMFYUI_NUMBER.fullmatch(inner[stated + 1 :].strip()):
            number = read_number(inner[stated + 1 :].strip().removeprefix("+"))
            if number is None:
                raise LocatedError(source, Problem(at + start, f"a weight is a number of at least 0 here, not {inner[stated + 1 :]!r}"))
            inner, within = inner[:stated], number
        yield from _comfyui(inner, at + start + 1, within, source, remarks, depth + 1)


_COMFYUI_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)


def _items(text: str, at: int, source: str, remarks: list[Reason]) -> Iterator[tuple[int, str, bool]]:
    """Yields (offset, text, whether brackets enclose it) of each stretch at the outermost level, as ComfyUI counts levels: below zero
    after a `)` that closes nothing.
    """
    level = start = 0
    for match in _COMFYUI_TOKEN.finditer(text):
        if match[0] == "(":
            if level == 0:
                if start < match.start():
                    yield start, text[start : match.start()], False
                start = match.start()
            level += 1
        elif match[0] == ")":
            level -= 1
            if level == 0:
                yield start, text[start : match.end()], text[start] == "("
                start = match.end()
            elif level < 0:
                remarks.append(closes_nothing(")", source, at + match.start()))
    if start < len(text):
        rest = text[start:]
        enclosed = level > 0 and len(rest) > 1 and rest[-1] == ")" and not rest.endswith("\\)")
        if level > 0 and not enclosed:
            remarks.append(Reason("exact", "this ( is never closed, so ComfyUI reads it as text", rest[:SHOWN]))
        yield start, rest, enclosed


def _joined(leaves: Iterator[_Leaf]) -> list[Part]:
    parts = list[Part]()
    for leaf in leaves:
        if parts and parts[-1].effect == leaf.effect:
            parts.append(Part(parts.pop().text + leaf.text, leaf.effect))
        else:
            parts.append(Part(leaf.text, leaf.effect))
    return parts
