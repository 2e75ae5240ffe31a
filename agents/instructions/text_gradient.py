"""The text gradient of an instruction: what better prompts for the same objects have that its own lack (Yang, Wang and Hu 2024).

The weak instruction's rows and the best known rows are sent with their scores; findings come back, each an inference and an improvement of
the *instruction*. Stateless: no question depends on earlier ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, Field

from limner.agents import guard
from limner.agents.keywords import plain
from limner.agents.llm.base import ChatModel, Message, NoAnswer

LONGEST = 400  # most characters of an inference or improvement

_ROLE = (
    "You improve the instruction that tells a language model how to write prompts for an image model. You compare prompts that scored low, "
    "written by one instruction, with prompts for the same objects that scored high, and infer what the instruction fails to ask for."
)
_FORM = (
    "Name up to {n} differences that could explain the scores, the most telling first. For each give the `inference` (why the low group "
    "scores lower) and the `improvement` (what the instruction should ask for). They must hold for any object: do not mention the objects "
    'of these rows. Answer with JSON alone: {{"findings": [{{"inference": "...", "improvement": "..."}}]}}'
)
_NUMBERED = re.compile(r"^\W*(inference|improvement)[ \t]*#?[ \t]*(\d+)[ \t*_]*[:.)-]", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt written for `prompt`, and its mean score; higher is better."""

    prompt: str
    positive: str
    negative: str
    score: float


class Finding(BaseModel):
    """One direction of the gradient."""

    inference: str = Field(description="why the low group scores lower, in general terms")
    improvement: str = Field(description="what the instruction should ask for, in general terms")


class Findings(BaseModel):
    """The findings."""

    findings: list[Finding]

    @classmethod
    def from_text(cls, text: str) -> Findings | None:
        """Parses the reference's own form, a numbered list of "Inference 1: ..." and "Improvement 1: ..."; None where there is none."""
        rows = numbered(text)
        return cls(findings=[Finding(**row) for row in rows]) if rows else None


@dataclass(frozen=True)
class Gradient:
    """`findings`: the usable ones, in the model's order; `dropped`: counts of the others by kind."""

    findings: tuple[Finding, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)


def pairs(low: Sequence[Row], high: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Returns for each prompt the weak row and the best known one, where that is a different prompt with a better score."""
    best = {row.prompt: row for row in high}
    return [
        (row, best[row.prompt])
        for row in low
        if row.prompt in best
        and best[row.prompt].score > row.score
        and guard.key(best[row.prompt].positive, best[row.prompt].negative) != guard.key(row.positive, row.negative)
    ]


def contrast(chat: ChatModel, instruction: str, contrasts: Sequence[tuple[Row, Row]], n: int = 3, *, seed: int | None = None) -> Gradient:
    """Returns up to `n` findings from pairs of a weak and a strong row for the same prompt; none where there is no usable answer.

    Raises BudgetSpent, and BadInput where the chat server refuses the key or model.
    """
    try:
        answer = chat.ask(messages(instruction, contrasts, n), Findings, temperature=0.7, seed=seed)
    except NoAnswer:
        return Gradient((), {"no answer": 1})
    kept: list[Finding] = []
    dropped: dict[str, int] = {}
    for finding in answer.findings:
        text = guard.clean(finding.improvement)
        kind = _fault(text, instruction, kept) or ("too many" if len(kept) == n else "")
        if kind:
            dropped[kind] = dropped.get(kind, 0) + 1
        else:
            kept.append(Finding(inference=guard.clean(finding.inference)[:LONGEST], improvement=text))
    return Gradient(tuple(kept), dropped)


def _fault(text: str, instruction: str, kept: Sequence[Finding]) -> str:
    """Returns why an improvement cannot be used, or "". It may talk about prompts, so preambles and markup are no faults here."""
    kind = guard.check(text, instruction).kind
    if kind in ("empty", "refusal"):
        return kind
    if len(text) > LONGEST:
        return "over-long"
    return "duplicate" if guard.key(text) in {guard.key(other.improvement) for other in kept} else ""


def messages(instruction: str, contrasts: Sequence[tuple[Row, Row]], n: int) -> list[Message]:
    """Returns the messages to the chat model: the instruction, the low rows, the high rows for the same objects, with their scores."""
    lines = [f"generator instruction: {' '.join(instruction.split())}", ""]
    for name, side in (("low", 0), ("high", 1)):
        lines += [_line(name, number, pair[side]) for number, pair in enumerate(contrasts, 1)] + [""]
    facts = {
        "task": "text gradient",
        "instruction": instruction,
        "low": [_fact(low) for low, _ in contrasts],
        "high": [_fact(high) for _, high in contrasts],
        "n": n,
    }
    return [Message("system", _ROLE), Message("user", "\n".join(lines) + _FORM.format(n=n), facts)]


def numbered(text: str) -> list[dict[str, str]]:
    """Returns the findings of a numbered list; an improvement without inference counts, an inference without improvement does not."""
    found: dict[int, dict[str, str]] = {}
    _, *parts = _NUMBERED.split(text)
    for kind, number, said in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        line = said.strip(" \t\n*_").partition("\n")[0]
        found.setdefault(int(number), {"inference": "", "improvement": ""})[kind.lower()] = line.strip(" \t*_")
    return [row for _, row in sorted(found.items()) if row["improvement"]]


def _line(name: str, number: int, row: Row) -> str:
    negative = f" | negative: {_flat(row.negative)}" if row.negative else ""
    written = f"{_flat(row.positive)}{negative}"
    return f"{name}_score_object{number}: {_flat(row.prompt)}, {name}_score_prompt: {written}, score: {row.score:.4f}"


def _flat(text: str) -> str:
    return " ".join(plain(text).split())


def _fact(row: Row) -> dict[str, Any]:
    return {"prompt": row.prompt, "positive": row.positive, "negative": row.negative, "score": round(row.score, 6)}
