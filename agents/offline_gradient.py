"""The offline stand-in's rules for learning an instruction: counts over rows and scores, no language model.

What strong rows have and weak ones lack becomes a directive; a directive is put into the instruction; the rewriting rule of `offline.py`
obeys it. So the loop can be tried, tested and timed without a server; it is no evidence for what a language model does.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from agents import guard
from agents.directives import Directives, read, rest
from agents.keywords import keywords
from agents.messages import NoAnswer
from agents.offline import LONGEST_TAG, RULES, Facts, Rule

AT_ONCE = 2  # words that one finding is about

Row = Mapping[str, Any]


def findings(facts: Facts, rng: random.Random) -> dict[str, Any]:
    """Words that strong rows have and weak rows for the same prompts lack, and the other way round, weighed by the difference in score."""
    low, high = facts["low"], facts["high"]
    known = read(facts["instruction"])
    gained, lost, negated = _contrasts(low, high)
    add = [word for word in gained if word not in _folded(known.add)]
    leave = [word for word in lost if word not in _folded(known.leave)]
    negate = [word for word in negated if word not in _folded(known.negate)]
    found = [
        *_findings("The high group says what the low group leaves unsaid", [Directives(add=part) for part in _parts(add)]),
        *_findings("The high group rules out what the low group lets happen", [Directives(negate=part) for part in _parts(negate)]),
        *_findings("The low group spends words that the high group does without", [Directives(leave=part) for part in _parts(leave)]),
    ]
    if not found:
        raise NoAnswer("the offline stand-in sees no difference between the groups")
    shuffled = list(found)
    rng.shuffle(shuffled)
    chosen = [*(row for row in found if row["rank"] == 0), *(row for row in shuffled if row["rank"] > 0)][: facts["n"]]
    return {"findings": [{"inference": row["inference"], "improvement": row["improvement"]} for row in chosen]}


def new_instruction(facts: Facts, rng: random.Random) -> dict[str, str]:
    """The instruction with the improvement's directives merged in; to go another way, with one of its own dropped. It has no other words
    for anything."""
    if facts["task"] == "paraphrase":
        raise NoAnswer("the offline stand-in cannot paraphrase")
    instruction = facts["instruction"]
    have = read(instruction)
    wanted = read(facts.get("improvement", ""))
    if wanted:
        return {"instruction": _joined(rest(instruction), have.merged(wanted))}
    words = [(name, word) for name in ("add", "leave", "negate") for word in getattr(have, name)]
    if not words:
        raise NoAnswer("the offline stand-in finds no directive that it could change")
    name, word = rng.choice(words)
    fewer = {key: tuple(item for item in getattr(have, key) if (key, item) != (name, word)) for key in ("add", "leave", "negate")}
    return {"instruction": _joined(rest(instruction), Directives(**fewer))}


ALL_RULES: dict[str, Rule] = {**RULES, "Findings": findings, "NewInstruction": new_instruction}
"""Every rule that the stand-in has."""


def _contrasts(low: Sequence[Row], high: Sequence[Row]) -> tuple[list[str], list[str], list[str]]:
    """Words that strong rows gain, that they lose, and that they negate; the most telling first."""
    gained, lost, negated = defaultdict[str, float](float), defaultdict[str, float](float), defaultdict[str, float](float)
    for weak, strong in zip(low, high, strict=True):
        if (step := strong["score"] - weak["score"]) <= 0:
            continue
        have, better = _manner(weak), _manner(strong)
        for word in better - have:
            gained[word] += step
        for word in have - better:
            lost[word] += step
        for word in set(_tags(strong["negative"])) - set(_tags(weak["negative"])):
            negated[word] += step
    return _ranked(gained), _ranked(lost), _ranked(negated)


def _ranked(weights: Mapping[str, float]) -> list[str]:
    return sorted(weights, key=lambda word: (-weights[word], word))


def _manner(row: Row) -> set[str]:
    """The short keywords of a row that are not about its prompt."""
    return {word for word in _tags(row["positive"]) if not guard.holds(row["prompt"], word) and word != row["prompt"].casefold()}


def _tags(text: str) -> list[str]:
    """Those that a directive can quote."""
    short = (word.casefold() for word in keywords(text) if len(word.split()) <= LONGEST_TAG)
    return [word for word in short if read((one := Directives(add=(word,))).text()) == one]


def _folded(words: Sequence[str]) -> set[str]:
    return {word.casefold() for word in words}


def _parts(words: list[str]) -> list[tuple[str, ...]]:
    return [tuple(words[start : start + AT_ONCE]) for start in range(0, len(words), AT_ONCE)][:3]


def _findings(inference: str, directives: Sequence[Directives]) -> list[dict[str, Any]]:
    return [{"inference": inference, "improvement": item.text(), "rank": rank} for rank, item in enumerate(directives)]


def _joined(text: str, directives: Directives) -> str:
    return f"{text} {directives.text()}".strip()
