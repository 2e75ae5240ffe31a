"""Whether a candidate's pictures still show what the user asked for: the guard that an objective alone is not.

Words that make a picture prettier crowd out words that say what it shows, and a preference scorer forgives that. So one scorer that
compares pictures with the user's own prompt is a witness: a candidate that it ranks below the user's prompt on the search seeds
cannot win. The witness is never the objective, and the judge never is the witness.
"""

from __future__ import annotations

import numpy as np

from graph.state import Context
from tools.evaluation import RANKING_DECIMALS, Evaluation
from tools.scoring.adversarial import Adversarial
from tools.scoring.base import Scorer

USUAL = ("clip", "alignment")
"""Names and kinds of scorers that compare a picture with any text, for a checkpoint whose card names none."""


def aligners(context: Context) -> list[Scorer]:
    """The run's scorers that say whether a picture shows a text: the one that the card calls its `intent`, else every CLIP similarity. One
    that is kept out of searches is none."""
    scorers, card = [item for item in context.evaluator.scorers if not item.held_out], context.card
    if card.intent:
        return [item for item in scorers if item.name == card.intent]
    return [item for item in scorers if item.name in USUAL or card.scorers.get(item.name, {}).get("kind") in USUAL]


def witness(context: Context) -> Scorer | None:
    """The first of these that is not the objective; None where there is none, and for an attack, which is after pictures that show less."""
    objective = context.evaluator.objective
    if isinstance(objective, Adversarial):
        return None
    return next((item for item in aligners(context) if item.name != objective.name), None)


def shows_less(found: Evaluation, name: str) -> list[str]:
    """Ids of the conditionings that the witness `name` ranks below the first one, which is the user's prompt. No number, no verdict."""
    means = np.round(found.mean(name), RANKING_DECIMALS)
    sign = 1.0 if found.higher_is_better[name] else -1.0
    return [item.id for item, mean in zip(found.conditionings, means, strict=True) if sign * mean < sign * means[0]]
