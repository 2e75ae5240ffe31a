"""compel's prompt language, read and written: weights `(x)1.3`, `x++`, `x-`.

It has no ranges, so a prompt whose words come and go becomes a list of prompts, each for a run of steps, to be swapped in a pipeline's
`callback_on_step_end`. Source: compel, src/compel/prompt_parser.py, and its README on syntax.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning, canonical_text
from limner.tools.prompt_language.assemble import NUMBER, Effect, LocatedError, Part, Problem, assemble, read_number, write_decimal
from limner.tools.prompt_language.comfyui import SIGMA, in_steps
from limner.tools.prompt_language.dialects import OPERATORS
from limner.tools.prompt_language.fidelity import Reason, Written, distinct
from limner.tools.prompt_language.schedule import Segment

MASKED = Reason("approximate", "compel moves weighted words away from the empty prompt's embedding, and masks weaker ones in part")
SWAPPED = Reason("exact", "compel has no ranges: encode each prompt of the list, and swap prompt_embeds at the step where it starts")
OPERATOR = Reason("approximate", "compel takes a + or - at the end of a word for emphasis, and keeps the backslash that prevents it")

PLUS, MINUS = Fraction(11, 10), Fraction(9, 10)

_SPECIAL = re.compile(r'[()"]')
_TRAILING = re.compile(r"(?<=[^\s+-])([+-]+)(?=\s|$|,)")
_WEIGHT = re.compile(rf"\+{{1,64}}|-{{1,64}}|{NUMBER}", re.ASCII)
_TOKEN = re.compile(r'\\[()"]|[()]|[^\\()\s"]+|\s+|\\|"')
_WORD = re.compile(r"(.*?[^\s+,.-])(\++|-+)([,.]*)", re.DOTALL)


def write_compel(conditioning: Conditioning, steps: int | None = None) -> Written:
    """Returns a text where the same words act at all steps, else a list of {start, stop, prompt, negative}.

    Raises BadInput where a list is needed and `steps` is None.
    """
    spans = conditioning.spans + conditioning.negative_spans
    timed = any((span.lo, span.hi) != (0, 1) for span in spans)
    if timed and steps is None:
        raise BadInput("compel has no ranges, so words that come and go become one prompt for each run of steps: name the steps (--steps)")
    reasons = list[Reason]()
    if any(span.weight != 1 for span in spans):
        reasons.append(MASKED)
    if conditioning.range_unit == "sigma":
        reasons.append(SIGMA)
    rows = list[dict[str, Any]]()
    for asked, unwanted in zip(*in_steps(conditioning, steps or 1), strict=True):
        prompt, negative = (_weighted(segment, reasons) for segment in (asked, unwanted))
        rows.append({"start": asked.start, "stop": asked.stop, "prompt": prompt, "negative": negative})
    if not timed:
        return Written(rows[0]["prompt"], rows[0]["negative"], distinct(reasons))
    return Written(rows, reasons=distinct([*reasons, SWAPPED]))


def _weighted(segment: Segment, reasons: list[Reason]) -> str:
    written, position = "", 0
    for span in segment.spans:
        words = segment.text[span.start : span.end]
        decimal, exact = write_decimal(span.weight)
        if not exact:
            reasons.append(Reason("approximate", f"the weight {span.weight} is rounded to {decimal}", words))
        written += _escaped(segment.text[position : span.start], reasons)
        if written.endswith("\\"):
            written += " "
        written += f"({_escaped(words, reasons)}){decimal}"
        position = span.end
        if segment.text[position : position + 1].isdigit() or segment.text[position : position + 1] == ".":
            written += " "  # otherwise the next digits would be read as part of the weight
    return written + _escaped(segment.text[position:], reasons)


def _escaped(text: str, reasons: list[Reason]) -> str:
    text = _SPECIAL.sub(r"\\\g<0>", text)
    if _TRAILING.search(text):
        reasons.append(OPERATOR)
        text = _TRAILING.sub(lambda match: "".join("\\" + char for char in match[0]), text)
    return text


def read_compel(text: str, negative: str = "") -> tuple[Conditioning, tuple[Reason, ...]]:
    """Returns the Conditioning of one compel prompt, whose weights interpolate from the empty prompt's embedding. Raises LocatedError."""
    words, spans = assemble(_parts(canonical_text(text)))
    others, other_spans = assemble(_parts(canonical_text(negative)))
    conditioning = Conditioning(words, others, spans, other_spans, "lerp_from_empty", chunking="sentence")
    weaker = any(span.weight < 1 for span in conditioning.spans + conditioning.negative_spans)
    return conditioning, (MASKED,) if weaker else ()


def _parts(source: str) -> list[Part]:
    if match := OPERATORS.search(source):
        raise LocatedError(source, Problem(match.start(), "compel's operators on whole prompts and swaps have no counterpart"))
    leaves: list[tuple[str, Fraction]] = []
    opened: list[tuple[int, int]] = []
    position = 0
    while match := _TOKEN.match(source, position):
        token, position = match[0], match.end()
        if token == "(":
            opened.append((len(leaves), match.start()))
            if len(opened) > 100:
                raise LocatedError(source, Problem(match.start(), "brackets nested more than 100 deep"))
        elif token == ")":
            if not opened:
                raise LocatedError(source, Problem(match.start(), r"this ) closes nothing; write \) if it is meant as such"))
            first, _ = opened.pop()
            if weight := _WEIGHT.match(source, position):
                position = weight.end()
                factor = _factor(weight[0])
                leaves[first:] = [(leaf, value * factor) for leaf, value in leaves[first:]]
        elif token[0] == "\\":
            leaves.append((token[1:] or token, Fraction(1)))
        elif word := _WORD.fullmatch(token):
            if len(word[2]) > 64:
                raise LocatedError(source, Problem(match.start(), "more than 64 signs of emphasis in a row"))
            leaves += [(word[1], _factor(word[2])), (word[3], Fraction(1))]
        else:
            leaves.append((token, Fraction(1)))
    if opened:
        raise LocatedError(source, Problem(opened[-1][1], r"this ( is never closed; write \( if it is meant as such"))
    parts = list[Part]()
    for leaf, value in leaves:
        if parts and parts[-1].effect.weight == value:
            parts.append(Part(parts.pop().text + leaf, Effect(weight=value)))
        elif leaf:
            parts.append(Part(leaf, Effect(weight=value)))
    return parts


def _factor(weight: str) -> Fraction:
    if weight[0] in "+-":
        return (PLUS if weight[0] == "+" else MINUS) ** len(weight)
    return read_number(weight) or Fraction(0)
