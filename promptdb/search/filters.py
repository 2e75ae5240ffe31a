"""Which prompts a search may show: by source, score, safety, length, and required or forbidden words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Prompt
from limner.promptdb.schema import Part
from limner.promptdb.store import PromptDB

SAFE_BELOW = 0.5
"""Prompts and pictures with at least this probability of being unsafe are hidden by default; DiffusionDB gives a blurred picture 2."""

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions on prompts, all of which must hold.

    `source`: the prompt's source. `min_score`: least mean gain in runs; prompts without one are excluded. `nsfw_below`: None allows
    everything; unknown counts as safe, and a prompt with only unsafe pictures as unsafe. `min_words`, `max_words`: length. `contains`,
    `excludes`: phrases, as whole words in any case. `without`: a part of the seed that is searched as if it were not there; it counts in no
    word's rarity either. Raises BadInput for a phrase without a word.
    """

    source: str | None = None
    min_score: float | None = None
    nsfw_below: float | None = SAFE_BELOW
    min_words: int | None = None
    max_words: int | None = None
    contains: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    without: Part | None = None

    def __post_init__(self) -> None:
        for phrase in (*self.contains, *self.excludes):
            if not _WORD.search(phrase):
                raise BadInput(f"the phrase {phrase!r} holds no word to look for")

    def accepts(self, text: str) -> bool:
        """Whether a text passes the conditions on words and length."""
        if not self.contains and not self.excludes and self.min_words is None and self.max_words is None:
            return True
        words = _WORD.findall(text.casefold())
        if not (self.min_words or 0) <= len(words) <= (len(words) if self.max_words is None else self.max_words):
            return False
        joined = f" {' '.join(words)} "
        return all(_spaced(phrase) in joined for phrase in self.contains) and not any(_spaced(phrase) in joined for phrase in self.excludes)


def passed(db: PromptDB, numbers: Iterable[int], filters: Filters) -> Iterator[tuple[int, Prompt]]:
    """Yields (number, prompt) of the prompts that pass the filters, in no particular order."""
    where, parameters = _conditions(filters)
    sql = f"SELECT p.number, p.id, p.text, p.source, p.subject, p.negative, p.nsfw FROM prompt p WHERE {where} p.number IN"
    for number, id, *columns in db.query_for(sql, numbers, parameters):
        if filters.accepts(columns[0]):
            yield number, Prompt.stored(id, *columns)


def _conditions(filters: Filters) -> tuple[str, list[Any]]:
    where, parameters = "", list[Any]()
    for condition, source in (("p.source = ? AND ", filters.source), ("p.source != ? AND ", filters.without)):
        if source is not None:
            where += condition
            parameters.append(source)
    if filters.min_score is not None:
        where += "(SELECT avg(value) FROM merit WHERE prompt = p.number) >= ? AND "
        parameters.append(filters.min_score)
    if filters.nsfw_below is not None:
        # min() over pictures ignores unknown ones; where all are unknown it is NULL and the prompt passes.
        where += "coalesce(p.nsfw, 0) < ? AND coalesce((SELECT min(nsfw) FROM picture WHERE prompt = p.number), 0) < ? AND "
        parameters += [filters.nsfw_below, filters.nsfw_below]
    return where, parameters


def _spaced(phrase: str) -> str:
    return f" {' '.join(_WORD.findall(phrase.casefold()))} "
