"""Asks a chat model for the synonyms and antonyms of a prompt's words (DPO-Diff, appendix F.2), with WordNet's file as the fallback.

Answers are stored in the prompt database, so that no question is asked twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

from pydantic import BaseModel

from limner.promptdb.records import content_id
from limner.promptdb.store import PromptDB
from limner.tools.lexicon.lexicon import PER_WORD, WordSource

Kind = Literal["synonyms", "antonyms"]
Answer = TypeVar("Answer", bound=BaseModel)

CHUNK = 100  # words in a question
QUESTIONS = 5  # attempts for a chunk
THIN = 0.4  # an answer in which a larger share of words has a single substitute is asked for again
VERSION = 1  # of the questions' wording: a new version ignores stored answers

_TASK = {
    "synonyms": "For every word of the text below, name {n} words or short phrases that can replace it without changing what is meant.",
    "antonyms": "For every word of the text below that has an opposite, name {n} words or short phrases that mean the opposite.",
}
_FORM = "Give one line for a word, in the form: word -> first, second, third. Leave out words with nothing to name.\n\nText: "


class Lines(BaseModel):
    """A chat model's answer: lines such as `big -> large, huge`."""

    lines: list[str]


class Ask(Protocol):
    """Puts one question to a chat model.

    An implementation returns an instance of `schema`, or None where the model gives no valid one, and raises where the budget is spent.
    `seed` differs between repeats of a question.
    """

    def __call__(self, question: str, schema: type[Answer], seed: int) -> Answer | None: ...


@dataclass(frozen=True)
class AskedLexicon:
    """A WordSource with a chat model's lists for one prompt; `fallback` answers for words without a list."""

    lists: dict[Kind, dict[str, tuple[str, ...]]]
    fallback: WordSource
    failed: int = field(default=0)
    """Number of chunks for which the chat model gave no usable answer."""

    def synonyms(self, word: str) -> tuple[str, ...]:
        """Returns the chat model's synonyms of `word`, or the fallback's where it has none."""
        return self.lists["synonyms"].get(word.lower()) or self.fallback.synonyms(word)

    def antonyms(self, word: str) -> tuple[str, ...]:
        """Returns the chat model's antonyms of `word`, or the fallback's where it has none."""
        return self.lists["antonyms"].get(word.lower()) or self.fallback.antonyms(word)


def ask_lexicon(prompt: str, ask: Ask, model: str, db: PromptDB, fallback: WordSource) -> AskedLexicon:
    """Asks for synonyms and antonyms of every word of a prompt, in chunks of 100 words.

    Answers of the same `model` to the same question are read from `db`, and new ones stored there.
    """
    lists: dict[Kind, dict[str, tuple[str, ...]]] = {"synonyms": {}, "antonyms": {}}
    words, failed = prompt.split(), 0
    for kind, found in lists.items():
        for start in range(0, len(words), CHUNK):
            text = " ".join(words[start : start + CHUNK])
            parsed = _chunk(text, kind, ask, model, db)
            failed += not parsed
            for word, substitutes in parsed.items():
                found.setdefault(word, substitutes)
    return AskedLexicon(lists, fallback, failed)


def parse(lines: Sequence[str], text: str) -> dict[str, tuple[str, ...]]:
    """Parses lines such as `big -> large, huge`; returns {lower-case word of `text`: at most 5 substitutes}.

    Drops lines of another form and about other words.
    """
    asked = f" {' '.join(text.lower().split())} "
    found: dict[str, tuple[str, ...]] = {}
    for line in lines:
        left, arrow, right = line.replace("→", "->").partition("->")
        word = left.strip().lstrip("-*0123456789.) ").strip(" \"'").lower()
        if not arrow or not word or word not in asked:
            continue
        substitutes = (part.strip().strip("\"'.;").strip() for part in right.split(","))
        kept = dict.fromkeys(part.lower() for part in substitutes if _usable(part) and part.lower() != word)
        if kept:
            found.setdefault(word, tuple(kept)[:PER_WORD])
    return found


def _chunk(text: str, kind: Kind, ask: Ask, model: str, db: PromptDB) -> dict[str, tuple[str, ...]]:
    question = _TASK[kind].format(n=PER_WORD) + " " + _FORM + text
    key = content_id(["lexicon", VERSION, model, question])
    if stored := db.stored_answer(key):
        return {word: tuple(substitutes) for word, substitutes in json.loads(stored).items()}
    best: dict[str, tuple[str, ...]] = {}
    for seed in range(QUESTIONS):
        answer = ask(question, Lines, seed)
        if answer is None:  # `ask` has retried already
            break
        parsed = parse(answer.lines, text)
        if sum(map(len, parsed.values())) > sum(map(len, best.values())):
            best = parsed
        if parsed and sum(len(substitutes) == 1 for substitutes in parsed.values()) <= THIN * len(parsed):
            break
    if best:  # failures are not stored: the model may answer next time
        db.add_answer(key, model, json.dumps(best))
    return best


def _usable(text: str) -> bool:
    """Whether `text` is one to three words of letters, without explanation or markup."""
    words = text.replace("-", " ").replace("'", "").split()
    return 0 < len(words) <= 3 and all(word.isalpha() for word in words) and len(text) <= 40
