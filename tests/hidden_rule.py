"""A chat server that can learn: it answers from the request's body alone, and knows nothing of the rule that the scores follow.

Writing: the phrases that the instruction asks for, else one of its own choosing by the words of the description. Gradient: the phrase
whose rows scored higher, and an empty list where rows, scores or instruction are missing or do not fit each other. Modifying: the
instruction with the improvement's phrase. So a phrase can only be learned from rows and scores that arrive whole and in order.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from typing import Any

from tests.chat_server import Reply, Scripted, answer

PHRASES = ("velvet shadows", "copper dust", "paper lanterns", "morning haze", "glass rain", "quiet geometry")

_ROW = re.compile(r"^(low|high)_score_object(\d+): (.+?), \1_score_prompt: (.+?), score: (-?[\d.]+)$", re.MULTILINE)


def reply(body: dict[str, Any]) -> Reply:
    """What the server says to one request."""
    name = body["response_format"]["json_schema"]["name"]
    text = "\n".join(message["content"] for message in body["messages"])
    said = {"Rewrites": _write, "Findings": _contrast, "NewInstruction": _modify}[name](text)
    scripted: Scripted = answer(said)
    return scripted(body) if callable(scripted) else scripted


def _write(text: str) -> dict[str, Any]:
    found = re.search(r"<description>\n(.+?)\n</description>", text, re.DOTALL)
    assert found, "a rewriting needs a description"
    instruction = text[: found.start()]
    asked = [phrase for phrase in PHRASES if f'"{phrase}"' in instruction]
    own = PHRASES[hashlib.sha256(found[1].encode()).digest()[0] % len(PHRASES)]
    return {"variants": [{"positive": ", ".join([found[1], *(asked or [own])]), "negative": ""}]}


def _contrast(text: str) -> dict[str, Any]:
    instruction = re.search(r"^generator instruction: (.+)$", text, re.MULTILINE)
    rows = {(side, number): (prompt, written, float(score)) for side, number, prompt, written, score in _ROW.findall(text)}
    numbers = sorted({number for _, number in rows})
    whole = instruction and numbers and all(("low", number) in rows and ("high", number) in rows for number in numbers)
    if not whole:
        return {"findings": []}
    weight: dict[str, float] = defaultdict(float)
    for number in numbers:
        (prompt, weak, low), (same, strong, high) = rows["low", number], rows["high", number]
        if prompt != same or not weak.startswith(prompt) or high <= low:
            return {"findings": []}
        for phrase in PHRASES:
            weight[phrase] += (high - low) * ((phrase in strong) - (phrase in weak))
    best = sorted((phrase for phrase in weight if weight[phrase] > 0), key=lambda phrase: -weight[phrase])
    return {"findings": [{"inference": "the high group has it", "improvement": f'Ask for "{phrase}".'} for phrase in best[:2]]}


def _modify(text: str) -> dict[str, str]:
    found = re.search(r"<instruction>\n(.+?)\n</instruction>(.+)", text, re.DOTALL)
    assert found, "a modification needs an instruction"
    phrases = [phrase for phrase in PHRASES if f'"{phrase}"' in found[2]]
    return {"instruction": " ".join([found[1], *(f'Use "{phrase}".' for phrase in phrases)])}
