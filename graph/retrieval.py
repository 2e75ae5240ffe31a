"""Which exemplars the rewriter is shown: pairs of a naive prompt and its professional form, from the prompt database.

Knows the database's searches; nothing of chat models.
"""

from __future__ import annotations

from graph.state import ExemplarRow
from promptdb.records import Prompt, text_id
from promptdb.search import keyword, similar
from promptdb.store import PromptDB

POOL = 8  # times as many hits are looked at as exemplars are wanted
RANK_OFFSET = 60  # of reciprocal rank fusion (Cormack, Clarke, Buettcher 2009)


def exemplars_for(db: PromptDB, prompt: str, count: int) -> list[ExemplarRow]:
    """Up to `count` exemplars, the most similar first.

    Hits by words and hits by likeness are fused by rank. Naive prompts, which add nothing to their own subject, are passed by; those
    that say which naive prompt they are a form of come first; of several forms of one only the best is taken, so that exemplars differ.
    """
    scores: dict[str, float] = {}
    prompts: dict[str, Prompt] = {}
    for hits in (keyword(db, prompt, count * POOL), similar(db, prompt, count * POOL)):
        shown = [hit for hit in hits if text_id(hit.prompt.subject) != hit.prompt.id]
        for rank, hit in enumerate(shown):
            prompts[hit.prompt.id] = hit.prompt
            scores[hit.prompt.id] = scores.get(hit.prompt.id, 0.0) + 1 / (RANK_OFFSET + rank)
    ranked = sorted(prompts.values(), key=lambda item: (not item.subject, -scores[item.id], item.id))
    rows: dict[str, ExemplarRow] = {}
    for item in ranked:
        rows.setdefault(item.subject.lower() or item.id, {"description": item.subject, "positive": item.text, "negative": item.negative})
        if len(rows) == count:
            break
    return list(rows.values())
