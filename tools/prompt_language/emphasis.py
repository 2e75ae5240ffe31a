"""Reads nested brackets around words: `(x:1.2)` and `(x)`, which A1111 and ComfyUI share, and A1111's `[x]` and prompt editing.

The parser works on a flat list of text pieces, each with its effect; a closing bracket changes the pieces since its opening one. Every
character ends up in a piece, in syntax, or in a located error. Sources: stable-diffusion-webui, modules/prompt_parser.py; ComfyUI,
comfy/sd1_clip.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from limner.tools.prompt_language.assemble import Effect, LocatedError, Part, Problem, read_number

STRONGER = Fraction(11, 10)
DEEPEST = 100  # most nested brackets; each level repeats the work on what it encloses

_TOKEN = re.compile(r"(\\.)|([()\[\]|:])|([^\\()\[\]|:]+|\\)", re.DOTALL)
RANGE_LIKE = r"\s*[-+]?(?:[\d.][\d./e+]*|nan|inf)\s*(?:\|?->|[-–→↦])\s*[-+]?(?:[\d.][\d./e+-]*|nan|inf)\s*"
"""What stands in the middle of a DF-Prompt triple, well-formed or not; no A1111 edit would contain it."""

_RANGE = re.compile(RANGE_LIKE, re.ASCII | re.IGNORECASE)
_NUMERIC = re.compile(r"\s*[-+]?[\d.]+(?:[eE][-+]?\d+)?\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Dialect:
    """Which brackets have a meaning.

    `square`: A1111's square brackets do. `multiplies`: a stated weight multiplies the weights around it; False (ComfyUI) replaces them.
    `any_escape`: a backslash escapes any character, not only parentheses.
    """

    name: str
    square: bool
    multiplies: bool
    any_escape: bool


A1111 = Dialect("A1111", square=True, multiplies=True, any_escape=True)
COMFYUI = Dialect("ComfyUI", square=False, multiplies=False, any_escape=False)


@dataclass(slots=True)
class _Leaf:
    text: str
    at: int
    effect: Effect = field(default_factory=Effect)
    fixed: bool = False  # an inner bracket stated a weight, which ComfyUI's outer brackets do not change
    gone: bool = False  # it was syntax


@dataclass(slots=True)
class _Open:
    bracket: str
    at: int
    first: int  # leaf
    colons: list[int] = field(default_factory=list)
    bars: list[int] = field(default_factory=list)


def parts_of(source: str, dialect: Dialect, steps: int | None = None) -> list[Part]:
    """Returns the parts of a prompt, each with its effect, without those that act at no step.

    `steps`: model calls of the run, for A1111's absolute step numbers; fractions are then floored as A1111 does, so that borders fall on
    whole steps. Raises LocatedError for unbalanced brackets, for what has no counterpart, and for what versions of A1111 read differently.
    """
    leaves, opened = list[_Leaf](), list[_Open]()

    def wrong(at: int, reason: str) -> LocatedError:
        return LocatedError(source, Problem(at, reason))

    for at, kind, text in _tokens(source, dialect):
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
        elif not opened or opened[-1].bracket + text not in ("()", "[]"):
            raise wrong(at, rf"this {text} does not close what is open here; write \{text} if it is meant as such")
        else:
            group = opened.pop()
            reason = _close_round(leaves, group, dialect) if text == ")" else _close_square(leaves, group, steps)
            if reason:
                raise wrong(group.at, reason)
    if opened:
        bracket = opened[-1].bracket
        raise wrong(opened[-1].at, rf"this {bracket} is never closed; write \{bracket} if it is meant as such")
    return _joined(leaf for leaf in leaves if not leaf.gone and leaf.effect.lo < leaf.effect.hi)


def _tokens(source: str, dialect: Dialect) -> Iterator[tuple[int, str, str]]:
    for match in _TOKEN.finditer(source):
        escape, syntax, text = match.groups()
        if escape:
            taken = dialect.any_escape or escape[1] in "()"
            yield match.start(), "text", escape[1] if taken else escape
        elif syntax and (dialect.square or syntax in "():"):
            yield match.start(), "syntax", syntax
        else:
            yield match.start(), "text", syntax or text


def _close_round(leaves: list[_Leaf], group: _Open, dialect: Dialect) -> str | None:
    """Applies `(...)` or `(...:weight)`; returns what is wrong with it, or None."""
    weight = STRONGER
    stated = False
    if _ends_in_a_number(leaves, group):
        read = read_number(leaves[-1].text)
        if not read:
            return f"a weight is a number above 0 here, not {leaves[-1].text.strip()!r}"
        weight, stated = read, True
        leaves[-1].gone = leaves[-2].gone = True
    for leaf in leaves[group.first :]:
        if not leaf.fixed:
            leaf.effect = leaf.effect._replace(weight=leaf.effect.weight * weight)
            leaf.fixed = stated and not dialect.multiplies
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
        return rf"this is a triple of DF-Prompt, read with --from df; if the words {words!r} are meant, write \- for the hyphen"
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


def _joined(leaves: Iterator[_Leaf]) -> list[Part]:
    parts = list[Part]()
    for leaf in leaves:
        if parts and parts[-1].effect == leaf.effect:
            parts.append(Part(parts.pop().text + leaf.text, leaf.effect))
        else:
            parts.append(Part(leaf.text, leaf.effect))
    return parts
