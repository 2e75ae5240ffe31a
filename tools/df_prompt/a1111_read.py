"""A1111's prompt language, read: emphasis and prompt editing become spans. What divides or replaces a whole prompt has no counterpart."""

from __future__ import annotations

import re

from promptdb.records import Conditioning, canonical_text
from tools.df_prompt.a1111_write import LATER
from tools.df_prompt.assemble import assemble
from tools.df_prompt.emphasis import A1111, parts_of
from tools.df_prompt.fidelity import Reason, distinct
from tools.df_prompt.located import LocatedError, Problem

WHOLE_PROMPTS = re.compile(r"\b(?P<word>AND|BREAK)\b|<(?P<tag>\w+):[^<>]+>")
"""Composition, chunk breaks, and tags that load networks."""

FLOORED = Reason("off-by-one", "A1111 floors a fraction of the steps where DF-Prompt rounds up; name the steps (--steps) for exact borders")


def read_a1111(text: str, negative: str = "", steps: int | None = None) -> tuple[Conditioning, tuple[Reason, ...]]:
    """The Conditioning, and what to know about it. Raises LocatedError, and BadInput for accents apart from their letters."""
    words, spans = assemble(parts_of(_whole(text), A1111, steps))
    others, other_spans = assemble(parts_of(_whole(negative), A1111, steps))
    conditioning = Conditioning(words, others, spans, other_spans)
    reasons = list[Reason]()
    if any((span.lo, span.hi) != (0, 1) for span in conditioning.spans + conditioning.negative_spans):
        reasons.append(LATER)
        if steps is None:
            reasons.append(FLOORED)
    return conditioning, distinct(reasons)


def _whole(source: str) -> str:
    source = canonical_text(source)
    if match := WHOLE_PROMPTS.search(source):
        what = f"{match[0]} divides a prompt" if match["word"] else f"{match[0]!r} loads a network"
        raise LocatedError(source, Problem(match.start(), f"in A1111 {what}, which has no counterpart; take it out and convert the parts"))
    return source
