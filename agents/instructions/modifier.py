"""Turns improvements into new instructions, one call for each (Yang, Wang and Hu 2024), or varies an instruction without improvements.

Only the instruction and the improvement are sent, never rows or scores, which a general instruction must not depend on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, Field

from limner.agents import guard
from limner.agents.guard import check_instruction
from limner.agents.llm.base import ChatModel, Message, NoAnswer

_ROLE = (
    "You edit instructions that tell a language model how to write prompts for an image model. An instruction is short, precise and "
    "general: it serves every subject and names none."
)
_IMPROVE = "Change the instruction so that it follows this improvement: {improvement}"
_PARAPHRASE = "Say the same in other words (version {number}), without adding or losing a demand."
_DIVERSIFY = "Write a more specific instruction that takes another direction (direction {number})."
_FORM = 'Answer with JSON alone: {"instruction": "..."}'
_OUR_TAGS = re.compile(r"</?instruction>", re.IGNORECASE)
_LABEL = re.compile(r"\A[\s*_#]*(?:(?:new|improved|modified|revised|final) )?instruction(?: ?\d+)?[\s*_]*:[\s*_]*", re.IGNORECASE)


Task = Literal["improve", "paraphrase", "diversify"]


class NewInstruction(BaseModel):
    """One instruction."""

    instruction: str = Field(description="the new instruction, general, without any subject")


@dataclass(frozen=True)
class Offspring:
    """`children`: (instruction, the improvement that made it) in the order of the improvements. `dropped`: counts of failures by kind."""

    children: tuple[tuple[str, str], ...]
    dropped: Mapping[str, int] = field(default_factory=dict)


def offspring(
    chat: ChatModel,
    instruction: str,
    improvements: Sequence[str],
    most: int,
    *,
    seen: Sequence[str] = (),
    subjects: Sequence[str] = (),
    seed: int | None = None,
) -> Offspring:
    """Makes one child for each improvement, and a paraphrase of the first where fewer than `most`; without improvements, `most` variants.

    `seen`: instructions that a child must not repeat. `subjects`: prompts that it must not be about. Raises BudgetSpent, and BadInput where
    the chat server refuses the key or model.
    """
    made: list[tuple[str, str]] = []
    dropped: dict[str, int] = {}

    def take(base: str, demand: str, finding: str, number: int, task: Task) -> None:
        text, kind = _asked(chat, messages(base, demand, finding, number, task), seed)
        if text:
            kind = check_instruction(text, base, [*seen, *(child for child, _ in made)], subjects).kind or ""
        if kind:
            dropped[kind] = dropped.get(kind, 0) + 1
        else:
            made.append((text, finding))

    for improvement in improvements[:most]:
        take(instruction, _IMPROVE.format(improvement=improvement), improvement, 0, "improve")
    if not improvements:
        for number in range(1, most + 1):
            take(instruction, _DIVERSIFY.format(number=number), "", number, "diversify")
    elif made and len(made) < most:
        base, finding = made[0]
        take(base, _PARAPHRASE.format(number=1), finding, 1, "paraphrase")
    return Offspring(tuple(made), dropped)


def messages(instruction: str, demand: str, improvement: str, number: int, task: Task = "improve") -> list[Message]:
    """Returns the messages to the chat model. `number` distinguishes several variants of one instruction."""
    facts: dict[str, Any] = {"task": task, "instruction": instruction, "improvement": improvement, "number": number}
    return [Message("system", _ROLE), Message("user", f"<instruction>\n{instruction}\n</instruction>\n\n{demand}\n\n{_FORM}", facts)]


def _asked(chat: ChatModel, asked: list[Message], seed: int | None) -> tuple[str, str]:
    """Returns (text, "") or ("", kind of failure)."""
    try:
        answer = chat.ask(asked, NewInstruction, temperature=0.7, seed=seed)
    except NoAnswer:
        return "", "no answer"
    text = guard.clean(_LABEL.sub("", guard.clean(_OUR_TAGS.sub("", answer.instruction))))
    return (text, "") if text else ("", "empty")
