r"""Reads the DF-Prompt language: text with triples `[words:range:weight]`. Every character is text, syntax, or a located error.

    prompt  := (text | triple)*
    triple  := "[" words ":" range ":" weight "]"
    range   := number "-" number             low-high, as the reference code writes it
             | number arrow number           high->low, as the paper writes it; arrow: "->" "|->" "→" "↦"
    number  := digits with an optional point, or a fraction p/q; in a range within 0..1, in a weight above 0
    escape  := "\[" "\]", and within words also "\:" and "\" before a blank

The numbers of a range are the remaining noise, 1 at the first step: `0.5-1` and `1->0.5` both mean the first half. A backslash is
literal unless it stands in a run of backslashes directly before one of those characters, where `\\` is one backslash; so text
without brackets is literal. Blanks at either end of the words stand outside the triple unless escaped: `a[ cat:...]` is `a [cat:...]`.
Source of the format: PAE (Mo et al., CVPR 2024), section 3.2, and the authors' released prompts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from limner.promptdb.records import Conditioning, EffectSpan, WeightMode, canonical_text
from limner.tools.prompt_language.assemble import NUMBER, Effect, LocatedError, Part, Problem, broken_borders, read_number, settle

_BRACKET = re.compile(r"(?<!\\)(\\*)([\[\]])")
_COLON = re.compile(r"(?<!\\)(\\*):")
_TEXT_ESCAPES = re.compile(r"(?<!\\)(\\+)(?=[\[\]])")
_TEXT_ESCAPES_TO_THE_END = re.compile(r"(?<!\\)(\\+)(?=[\[\]]|\Z)")
_WORD_ESCAPES = re.compile(r"(?<!\\)(\\+)(?=[\[\]:\s]|\Z)")
_LOW_HIGH = re.compile(rf"\s*({NUMBER})\s*-\s*({NUMBER})\s*", re.ASCII)
_HIGH_LOW = re.compile(rf"\s*({NUMBER})\s*(?:->|\|->|→|↦)\s*({NUMBER})\s*", re.ASCII)

FORM = "a triple is [words:range:weight], as in [sharp focus:0-0.5:1.25]"
LITERAL = r"write \[ and \] for brackets that are meant as such"


@dataclass(frozen=True, slots=True)
class Piece:
    """Source characters `start`..`end` and the text they stand for. For a triple, `span` is the part of that text with an effect."""

    start: int
    end: int
    text: str
    span: EffectSpan | None = None


@dataclass(frozen=True, slots=True)
class Parsed:
    """A prompt as read. `source` is canonical; `pieces` cover it without gap or overlap, and their joined texts are the prompt without
    syntax. `problems`: what lenient reading treated as literal text.
    """

    source: str
    pieces: tuple[Piece, ...]
    problems: tuple[Problem, ...] = ()

    def spoken(self) -> tuple[str, tuple[EffectSpan, ...]]:
        """Returns the canonical text, and the spans on it."""
        spans, position = [], 0
        for piece in self.pieces:
            if span := piece.span:
                spans.append(EffectSpan(position + span.start, position + span.end, span.lo, span.hi, span.weight))
            position += len(piece.text)
        return settle("".join(piece.text for piece in self.pieces), spans)


def read(text: str, negative: str = "", lenient: bool = False, weight_mode: WeightMode = "mean_restore") -> Conditioning:
    """Returns the Conditioning of a prompt and a negative prompt in DF-Prompt. Raises LocatedError unless `lenient`."""
    (words, spans), (others, other_spans) = (parse(source, lenient).spoken() for source in (text, negative))
    return Conditioning(words, others, spans, other_spans, weight_mode)


def parse(source: str, lenient: bool = False) -> Parsed:
    """Parses a prompt, in time linear in its length.

    Raises LocatedError for the first problem; where `lenient`, a bracket that begins no triple is literal text and listed in `problems`.
    """
    source = canonical_text(source)
    triples, problems = list[Piece](), list[Problem]()
    position = 0
    reported = False  # whether the last opening bracket was a problem, which includes its closing bracket
    while match := _BRACKET.search(source, position):
        position = match.end()
        if len(match[1]) % 2:
            continue
        found: Piece | Problem
        if match[2] == "]" and reported:
            reported = False
            continue
        if match[2] == "]":
            found = Problem(match.start(2), f"this ] closes nothing; {LITERAL}")
        else:
            found = _triple(source, match.start(2))
        if isinstance(found, Piece):
            triples.append(found)
            reported = False
            position = found.end
        elif lenient:
            reported = match[2] == "["
            problems.append(found)
        else:
            raise LocatedError(source, found)
    pieces = _covering(source, triples)
    if broken := broken_borders([Part(piece.text) for piece in pieces]):
        cut = {pieces[side].start: Problem(pieces[number].start, "this triple parts a letter from its accent; take in both or neither")
               for number in broken for side in (number - 1, number) if pieces[side].span}  # fmt: skip
        if not lenient:
            raise LocatedError(source, next(iter(cut.values())))
        pieces = _covering(source, [piece for piece in triples if piece.start not in cut])
        problems.extend(cut.values())
        if broken_borders([Part(piece.text) for piece in pieces]):
            pieces = _covering(source, [])
    return Parsed(source, tuple(pieces), tuple(sorted(problems, key=lambda problem: problem.at)))


def _covering(source: str, triples: list[Piece]) -> list[Piece]:
    """Returns the triples, and pieces of text between them."""
    pieces, position = list[Piece](), 0
    for triple in [*triples, None]:
        end = triple.start if triple else len(source)
        if position < end:
            escapes = _TEXT_ESCAPES_TO_THE_END if triple else _TEXT_ESCAPES
            pieces.append(Piece(position, end, escapes.sub(_halved, source[position:end])))
        if triple:
            pieces.append(triple)
            position = triple.end
    return pieces


def _triple(source: str, start: int) -> Piece | Problem:
    """Returns the triple that begins at the bracket `source[start]`, or what is wrong with it."""
    end = start + 1
    while (match := _BRACKET.search(source, end)) and len(match[1]) % 2:
        end = match.end()
    if match is None:
        return Problem(start, f"this [ is never closed; {LITERAL}")
    if match[2] == "[":
        return Problem(match.start(2), f"a bracket within a bracket; triples do not nest, {LITERAL}")
    end = match.start(2)
    colons = [found.end() - 1 for found in _COLON.finditer(source, start + 1, end) if len(found[1]) % 2 == 0]
    if len(colons) != 2:
        return _not_a_triple(source, start, end, colons)
    first, second = colons
    body = source[start + 1 : first]
    inner = body.strip()
    trailing = len(body) - len(body.rstrip())
    if inner and trailing and (len(inner) - len(inner.rstrip("\\"))) % 2:  # the first of these blanks is escaped
        inner += body[len(body) - trailing]
        trailing -= 1
    if not inner:
        return Problem(start + 1, f"this triple has no words; {FORM}")
    part = _range(source[first + 1 : second])
    if isinstance(part, str):
        return Problem(_place(source, first + 1, second), part)
    weight = read_number(source[second + 1 : end])
    if weight is None:
        given = source[second + 1 : end].strip()
        return Problem(_place(source, second + 1, end), f"a weight is a finite number of at least 0, such as 0.75, not {_short(given)}")
    words = _WORD_ESCAPES.sub(_halved, inner)
    leading = body[: len(body) - len(body.lstrip())]
    text = leading + words + body[len(body) - trailing :] if trailing else leading + words
    span = EffectSpan(len(leading), len(leading) + len(words), part.lo, part.hi, weight)
    return Piece(start, end + 1, text, span)


def _range(field: str) -> Effect | str:
    """Returns the effect of a range, or a text that says what is wrong with it."""
    low_high, high_low = _LOW_HIGH.fullmatch(field), _HIGH_LOW.fullmatch(field)
    match = low_high or high_low
    numbers = [read_number(text) for text in match.groups()] if match else [None]
    if any(number is None for number in numbers):
        return f"a range is two numbers between 0 and 1, as in 0.5-1 or 1->0.5, not {_short(field.strip())}{_other_dialect(field)}"
    low, high = numbers if low_high else numbers[::-1]
    assert low is not None and high is not None
    if max(low, high) > 1:
        return f"the range {_short(field.strip())} leaves 0..1; 1 is the first step and 0 the finished picture"
    if low > high:
        return f"the range {_short(field.strip())} is reversed; with a dash the smaller number stands first, with an arrow the larger"
    return Effect(1 - high, 1 - low, Fraction(1))


def _not_a_triple(source: str, start: int, end: int, colons: list[int]) -> Problem:
    inside = source[start + 1 : end]
    if not inside.strip():
        return Problem(start, f"these brackets are empty; {LITERAL}")
    if len(colons) > 2:
        return Problem(colons[0], rf"too many colons; {FORM}, and a colon within the words is written \:")
    last = inside.rsplit(":", 1)[-1]
    if len(colons) == 1 and read_number(last) is not None:
        return Problem(start, f"{_short(source[start : end + 1])} has a time but no weight; {FORM}{_other_dialect(inside)}")
    return Problem(start, f"{_short(source[start : end + 1])} is no triple; {FORM}, {LITERAL}")


def _other_dialect(field: str) -> str:
    return "" if re.search(r"\d\s*(-|->|→|↦)\s*\d", field) else "; A1111's [from:to:when] is read with --dialect a1111"


def _place(source: str, start: int, end: int) -> int:
    return start + len(source[start:end]) - len(source[start:end].lstrip()) if source[start:end].strip() else start


def _halved(match: re.Match[str]) -> str:
    return match[1][: len(match[1]) // 2]


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")
