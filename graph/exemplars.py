"""Chooses the exemplars that the rewriter is shown: pairs of a naive prompt and its professional form, from the prompt database.

promptdb finds them; this file says in which part of the seed, turns them into rows of a run's state and names their sources.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from limner.agents.rewriter import Exemplar
from limner.graph.state import ExemplarRow
from limner.promptdb.schema import Part
from limner.promptdb.search.exemplars import SAFE, exemplars
from limner.promptdb.store import PromptDB
from limner.tools.diffusion.card import Card


def exemplars_for(db: PromptDB, prompt: str, count: int, card: Card) -> list[ExemplarRow]:
    """Returns up to `count` exemplars, best first: near to the prompt, well scored where runs have tried them, and unlike each other.

    A checkpoint with a vocabulary draws the miniature's world: its exemplars are looked up as if the general part of the seed were not
    there, and only where that finds nothing in it. For any other checkpoint the world's part is left out.
    """
    parts: tuple[Part, ...] = ("general", "miniature") if card.vocabulary_file else ("miniature",)
    found = (exemplars(db, prompt, count, replace(SAFE, without=part)) for part in parts)
    return [
        {
            "description": item.description,
            "positive": item.prompt.text,
            "negative": item.prompt.negative,
            "id": item.prompt.id,
            "source": item.prompt.source,
        }
        for item in next(filter(None, found), [])
    ]


def exemplar(row: ExemplarRow) -> Exemplar:
    """Converts a row into the rewriter's Exemplar."""
    return Exemplar(row["description"], row["positive"], row["negative"])


def origins(rows: Sequence[ExemplarRow]) -> str:
    """Returns where the exemplars come from, in a few words: `5 exemplars (3 of lexica, 2 of miniature)`."""
    counts = Counter(row.get("source", "") for row in rows)
    named = ", ".join(f"{count} of {source}" for source, count in counts.most_common() if source)
    return f"{len(rows)} exemplars" + (f" ({named})" if named else "")
