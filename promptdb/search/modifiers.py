"""What professionals add: the phrases between commas, with their kinds, counted over all prompts, and how much more often with a subject.

Phrases are counted in one pass with bounded memory (lossy counting; Manku and Motwani 2002): after every STRETCH prompts, those too
rare to matter are forgotten. A count may be too low by one for each stretch that had been counted when its phrase was (re)discovered.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from limner.promptdb.records import Prompt
from limner.promptdb.search.filters import Filters
from limner.promptdb.search.modifier_kinds import kind_of
from limner.promptdb.search.search import search
from limner.promptdb.store import PromptDB

STRETCH = 50_000  # prompts
LONGEST = 5  # words; longer phrases are sentences about one picture
SAMPLE = 2_000  # prompts about a subject that are looked at
LEAST = 3  # of these must have a phrase before it says something

_WEIGHTED = re.compile(r":\s*[\d.]+$")

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Modifier:
    """A phrase, its kind, and in how many prompts it is."""

    phrase: str
    kind: str
    df: int


@dataclass(frozen=True, slots=True)
class Addition:
    """A modifier beside a subject. `share` of the subject's prompts have it, `lift` times as large a share as of all prompts."""

    phrase: str
    kind: str
    count: int
    share: float
    lift: float


def modifiers_of(text: str, subject: str = "") -> list[str]:
    """The distinct modifiers of a prompt in lower case: phrases of up to five words between commas, after the first, which is what the
    prompt is about unless its kind says otherwise; none that the subject holds."""
    own = f" {' '.join(subject.lower().split())} "
    found: dict[str, None] = {}
    for place, part in enumerate(text.lower().replace("\n", ",").split(",")):
        phrase = " ".join(_WEIGHTED.sub("", part.strip(" .()[]{}<>|\"'!")).split())
        if not 2 <= len(phrase) <= 60 or phrase.count(" ") >= LONGEST or f" {phrase} " in own:
            continue
        if place or (phrase.count(" ") < 2 and kind_of(phrase) != "other"):
            found[phrase] = None
    return list(found)


def count_modifiers(db: PromptDB, progress: Progress = lambda done, total: None) -> None:
    """Take up the prompts that were added since the last call. Two processes that do it at once count each prompt once."""
    while True:
        with db.transaction():
            counted = db.query("SELECT prompts, last FROM counted WHERE what = 'modifiers'")
            prompts, last = counted[0] if counted else (0, 0)
            room = STRETCH - prompts % STRETCH
            rows = db.query("SELECT number, text, subject FROM prompt WHERE number > ? ORDER BY number LIMIT ?", [last, room])
            if not rows:
                return
            found = Counter(phrase for _, text, subject in rows for phrase in modifiers_of(text, subject))
            stretch = prompts // STRETCH
            db.write(
                "INSERT INTO modifier (phrase, kind, df, slack) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (phrase) DO UPDATE SET df = df + excluded.df",
                ((phrase, kind_of(phrase), count, stretch) for phrase, count in found.items()),
            )
            prompts += len(rows)
            if prompts % STRETCH == 0:
                db.write("DELETE FROM modifier WHERE df + slack <= ?", [(stretch + 1,)])
            db.write("INSERT OR REPLACE INTO counted (what, prompts, last) VALUES ('modifiers', ?, ?)", [(prompts, rows[-1][0])])
        progress(rows[-1][0], db.last_prompt())


def forget_modifiers(db: PromptDB) -> None:
    """So that the next count begins anew, after prompts were taken away."""
    with db.transaction():
        db.write("DELETE FROM modifier", [()])
        db.write("DELETE FROM counted WHERE what = 'modifiers'", [()])


def frequent(db: PromptDB, limit: int = 20, kind: str | None = None) -> list[Modifier]:
    """The modifiers in most prompts."""
    where, parameters = ("", []) if kind is None else ("WHERE kind = ?", [kind])
    rows = db.query(f"SELECT phrase, kind, df FROM modifier {where} ORDER BY df DESC, phrase LIMIT ?", [*parameters, max(0, limit)])
    return [Modifier(*row) for row in rows]


def additions(db: PromptDB, subject: str, limit: int = 20, filters: Filters | None = None, kind: str | None = None) -> list[Addition]:
    """What professionals add to `subject`, a thing or a modifier: phrases of the prompts with its words, those first that are both
    frequent beside it and more frequent than elsewhere (share x log lift)."""
    hits = search(db, subject, SAMPLE, filters or Filters(), by="words")
    prompts = _about(subject, [hit.prompt for hit in hits])
    found = Counter(phrase for prompt in prompts for phrase in modifiers_of(prompt.text, subject))
    known = dict(db.query_for("SELECT phrase, df FROM modifier WHERE phrase IN", [item for item, count in found.items() if count >= LEAST]))
    total = db.count_prompts()
    rows = []
    for phrase, df in known.items():
        share = found[phrase] / len(prompts)
        rows.append(Addition(phrase, kind_of(phrase), found[phrase], round(share, 4), round(share * total / max(df, found[phrase]), 3)))
    rows = [row for row in rows if kind in (None, row.kind)]
    # Its part of the divergence between the subject's phrases and everybody's: neither what all prompts have nor one prompt's whim.
    return sorted(rows, key=lambda row: (-row.share * math.log(row.lift or 1), row.phrase))[: max(0, limit)]


def _about(subject: str, prompts: Sequence[Prompt]) -> list[Prompt]:
    """Those with all words of the subject; all of them where none has."""
    words = subject.lower().split()
    whole = [prompt for prompt in prompts if all(word in prompt.text.lower() for word in words)]
    return whole or list(prompts)
