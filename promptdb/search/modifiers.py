"""The modifiers that professionals add: the phrases between commas with their kinds, their counts over all prompts, their lift with a
subject, and those that fit any subject.

Phrases are counted in one pass with bounded memory (lossy counting; Manku and Motwani 2002): after every STRETCH prompts the rarest are
dropped. A count may be too low by one for each stretch that was counted before its phrase was (re)discovered.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from limner.promptdb.records import Prompt
from limner.promptdb.search.filters import Filters
from limner.promptdb.search.modifier_kinds import KINDS, is_everyday, kind_of, media_of
from limner.promptdb.search.search import search
from limner.promptdb.store import PromptDB

STRETCH = 50_000  # prompts
LONGEST = 5  # words; longer phrases are sentences about one picture
SAMPLE = 2_000  # most prompts about a subject that are examined
LEAST = 3  # a phrase must occur in so many of them

EVERYDAY_KINDS = ("lighting", "mood", "colour", "quality")  # of modifiers that say nothing of the medium

_WEIGHTED = re.compile(r":\s*[\d.]+$")

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Modifier:
    """A phrase, its kind, and the number of prompts with it."""

    phrase: str
    kind: str
    df: int


@dataclass(frozen=True, slots=True)
class Addition:
    """A modifier of a subject. `share`: of the subject's prompts that have it; `lift`: that share relative to its share in all prompts."""

    phrase: str
    kind: str
    count: int
    share: float
    lift: float


def modifiers_of(text: str, subject: str = "") -> list[str]:
    """Returns the distinct modifiers of a prompt in lower case: phrases of up to five words between commas that the subject does not
    contain.

    The first phrase is the subject, unless its kind shows otherwise.
    """
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
    """Counts the prompts added since the last call. Two processes that do it at once count each prompt once."""
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
    """Deletes all counts, so that the next count starts over after prompts were deleted."""
    with db.transaction():
        db.write("DELETE FROM modifier", [()])
        db.write("DELETE FROM counted WHERE what = 'modifiers'", [()])


def frequent(db: PromptDB, limit: int = 20, kind: str | None = None) -> list[Modifier]:
    """Returns the modifiers in most prompts, of one `kind` or of all."""
    where, parameters = ("", []) if kind is None else ("WHERE kind = ?", [kind])
    rows = db.query(f"SELECT phrase, kind, df FROM modifier {where} ORDER BY df DESC, phrase LIMIT ?", [*parameters, max(0, limit)])
    return [Modifier(*row) for row in rows]


def additions(db: PromptDB, subject: str, limit: int = 20, filters: Filters | None = None, kind: str | None = None) -> list[Addition]:
    """Returns what professionals add to `subject`, a thing or a modifier: phrases of the prompts with its words.

    Phrases that are both frequent with the subject and more frequent than elsewhere come first (share x log lift). What is only said of one
    scene, in several forms of it, is left out.
    """
    hits = search(db, subject, SAMPLE, filters or Filters(), by="words")
    prompts = _about(subject, [hit.prompt for hit in hits])
    found: Counter[str] = Counter()
    scenes: dict[str, set[str]] = {}
    for prompt in prompts:
        for phrase in modifiers_of(prompt.text, subject):
            found[phrase] += 1
            scenes.setdefault(phrase, set()).add(prompt.subject or prompt.id)
    often = [phrase for phrase, count in found.items() if count >= LEAST and len(scenes[phrase]) > 1]
    known = dict(db.query_for("SELECT phrase, df FROM modifier WHERE phrase IN", often))
    total = db.count_prompts()
    rows = []
    for phrase, df in known.items():
        share = found[phrase] / len(prompts)
        rows.append(Addition(phrase, kind_of(phrase), found[phrase], round(share, 4), round(share * total / max(df, found[phrase]), 3)))
    rows = [row for row in rows if kind in (None, row.kind)]
    # The phrase's term of the divergence between the subject's prompts and all prompts: low for common and for rare phrases.
    return sorted(rows, key=lambda row: (-row.share * math.log(row.lift or 1), row.phrase))[: max(0, limit)]


def fitting(db: PromptDB, prompt: str, limit: int = 12) -> list[str]:
    """Returns modifiers for any subject in the manner of `prompt`, the most frequent of every kind first.

    They recur beside different subjects in the general part of the seed: in prompts of a medium or style that `prompt` names, such as
    "visible brushstrokes" for an oil painting; where it names none that is known, light, mood, colour and quality of everyday media.
    """
    rows = list(db.query_for("SELECT text, subject FROM prompt WHERE number IN", db.part("general")))
    named = media_of(prompt)
    by_all, by_any = ([row for row in rows if named and test(word in row[0].lower() for word in named)] for test in (all, any))
    counts = next((found for own in (by_all, by_any) if len(found := _recurring(own, prompt, named)) >= LEAST), {})
    counts = counts or _recurring([row for row in rows if is_everyday(row[0])], prompt, named, EVERYDAY_KINDS)
    placed: Counter[str] = Counter()
    offered: list[tuple[int, int, str]] = []
    for phrase in sorted(counts, key=lambda phrase: (-counts[phrase], phrase)):
        offered.append((placed[kind_of(phrase)], -counts[phrase], phrase))
        placed[kind_of(phrase)] += 1
    return [phrase for _, _, phrase in sorted(offered)[: max(0, limit)]]


def _recurring(rows: Sequence[tuple[str, str]], prompt: str, named: Sequence[str], kinds: Sequence[str] = KINDS) -> dict[str, int]:
    """Returns the modifiers of (text, subject) rows that LEAST subjects share, with the number of those. Those that the prompt has, or that
    name its medium again, are left out.
    """
    subjects: dict[str, set[str]] = {}
    for text, subject in rows:
        for phrase in modifiers_of(text, subject):
            if kind_of(phrase) in kinds and phrase not in prompt.lower() and not any(word in phrase for word in named):
                subjects.setdefault(phrase, set()).add(subject)
    return {phrase: len(found) for phrase, found in subjects.items() if len(found) >= LEAST}


def _about(subject: str, prompts: Sequence[Prompt]) -> list[Prompt]:
    """Returns the prompts with all words of the subject, or all of them where none has."""
    words = subject.lower().split()
    whole = [prompt for prompt in prompts if all(word in prompt.text.lower() for word in words)]
    return whole or list(prompts)
