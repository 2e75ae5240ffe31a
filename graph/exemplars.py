"""Which exemplars the rewriter is shown: pairs of a naive prompt and its professional form, from the prompt database.

How they are found is promptdb's; this file turns them into rows of a run's state, and names them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from limner.agents.rewriter import Exemplar
from limner.graph.state import ExemplarRow
from limner.promptdb.search.exemplars import exemplars
from limner.promptdb.store import PromptDB


def exemplars_for(db: PromptDB, prompt: str, count: int) -> list[ExemplarRow]:
    """Up to `count` exemplars: near to the prompt, well scored where a run has tried them, and unlike each other; the best first."""
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
    """A row as the rewriter takes it."""
    return Exemplar(row["description"], row["positive"], row["negative"])


def origins(rows: Sequence[ExemplarRow]) -> str:
    """Where exemplars come from, in a few words: `5 exemplars (3 of lexica, 2 of miniature)`."""
    counts = Counter(row.get("source", "") for row in rows)
    named = ", ".join(f"{count} of {source}" for source, count in counts.most_common() if source)
    return f"{len(rows)} exemplars" + (f" ({named})" if named else "")
