"""Chooses exemplars for rewriting a prompt: professional prompts that are similar to it, did well in earlier runs, and depict different
things.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from limner.promptdb.records import Prompt, text_id
from limner.promptdb.schema import Part
from limner.promptdb.search.filters import Filters
from limner.promptdb.search.fusion import diverse, fused
from limner.promptdb.search.merit import SOURCE, merits
from limner.promptdb.search.modifier_kinds import as_in_seed, is_everyday, kind_of, media_of
from limner.promptdb.search.modifiers import modifiers_of
from limner.promptdb.search.search import Hit, idf_of, keyword, similar
from limner.promptdb.search.tfidf import vectors
from limner.promptdb.store import PromptDB

POOL = 8  # hits examined for each wanted exemplar
WIDE_POOL = 24  # the same in the general part, where many are of another medium
LONGEST = 77  # words; no encoder of Stable Diffusion reads more
MANNER = 2  # modifiers (style, light, quality, ...) that a prompt needs to show how professionals write
DISPROVED = 2  # a prompt with a negative mean gain in so many runs is no exemplar any more

SAFE = Filters(max_words=LONGEST)
GENERAL: Part = "general"


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A professional prompt and what it depicts: its subject, or its first phrase where no subject is recorded."""

    prompt: Prompt
    description: str


def exemplars(db: PromptDB, prompt: str, count: int, filters: Filters = SAFE) -> list[Exemplar]:
    """Returns up to `count` exemplars for `prompt`, the best first.

    Rankings by words, by similarity and by merit are fused. Left out are prompts without modifiers, rewrites that earlier runs made of this
    very prompt, all but the best of several forms of one subject, and general prompts of the seed in a medium that this one does not name;
    where it names none, in any that is not an everyday one. Prompts with few modifiers are used only where there are too few
    others. Exemplars should differ in subject, not in style: what recurs beside different subjects is what can be learned.
    """
    if count <= 0:
        return []
    query, pool = (as_in_seed(prompt), count * WIDE_POOL) if filters.without == "miniature" else (prompt, count * POOL)
    rankings = [_teaching(search(db, query, pool, filters), prompt) for search in (keyword, similar)]
    found = {exemplar.prompt.id: exemplar for ranking in rankings for exemplar in ranking}
    known = merits(db, found)
    found = {id: item for id, item in found.items() if not (id in known and known[id][0] < 0 and known[id][1] >= DISPROVED)}
    proven = sorted((id for id in found if id in known and known[id][0] > 0), key=lambda id: (-known[id][0], id))
    ids = [[item.prompt.id for item in ranking if item.prompt.id in found] for ranking in rankings]
    scores = fused([*ids, proven])
    ranked = sorted(found.values(), key=lambda item: (-scores[item.prompt.id], item.prompt.id))
    distinct = list({item.description.lower(): item for item in reversed(ranked)}.values())[::-1]
    shown = [item for item in distinct if _shows_manner(item)]
    distinct = shown if len(shown) >= count else [*shown, *(item for item in distinct if item not in shown)][:count]
    rows = vectors([item.description for item in distinct], idf_of(db, filters.without))
    return [distinct[place] for place in diverse(rows, [scores[item.prompt.id] for item in distinct], count)]


def _shows_manner(item: Exemplar) -> bool:
    phrases = modifiers_of(item.prompt.text, item.description)
    return sum(kind_of(phrase) != "other" for phrase in phrases) >= MANNER


def _teaching(hits: Sequence[Hit], prompt: str) -> list[Exemplar]:
    """Returns the hits that show what may be added to a subject, in its medium."""
    found = []
    named = media_of(prompt)
    for hit in hits:
        text = hit.prompt.text.lower()
        if hit.prompt.source == GENERAL and not (any(word in text for word in named) if named else is_everyday(text)):
            continue
        described = hit.prompt.subject or hit.prompt.text.split(",")[0].strip()
        same = hit.prompt.source == SOURCE and text_id(hit.prompt.subject) == text_id(prompt)
        adds = text_id(described) != hit.prompt.id and (hit.prompt.subject or modifiers_of(hit.prompt.text, described))
        if adds and described and not same:
            found.append(Exemplar(hit.prompt, described))
    return found
