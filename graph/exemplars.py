"""Chooses the exemplars that the rewriter is shown: pairs of a naive prompt and its professional form, from the prompt database.

promptdb finds them; this file turns them into rows of a run's state and names their sources.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from limner.agents.rewriter import Exemplar
from limner.graph.state import ExemplarRow
from limner.promptdb.search.exemplars import exemplars
from limner.promptdb.store import PromptDB


def exemplars_for(db: PromptDB, prompt: str, count: int) -> list[ExemplarRow]:
    """Returns up to `count` exemplars, best first: near to the prompt, well scored where runs have tried them, and unlike each other."""
    return [
        {
            "description": item.description,
            "positive": item.prompt.text,
            "negative": item.prompt.negative,
            "id": item.prompt.id,
            "source": item.prompt.source,
        }
        for item in exemplars(db, prompt, count)
    ]


def exemplar(row: ExemplarRow) -> Exemplar:
    """Converts a row into the rewriter's Exemplar."""
    return Exemplar(row["description"], row["positive"], row["negative"])


def origins(rows: Sequence[ExemplarRow]) -> str:
    """Returns where the exemplars come from, in a few words: `5 exemplars (3 of lexica, 2 of miniature)`."""
    counts = Counter(row.get("source", "") for row in rows)
    named = ", ".join(f"{count} of {source}" for source, count in counts.most_common() if source)
    return f"{len(rows)} exemplars" + (f" ({named})" if named else "")
