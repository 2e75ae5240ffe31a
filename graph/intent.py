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

USUAL = "clip"
"""The witness of a checkpoint whose card names none, where it is among the run's scorers."""


def witness(context: Context) -> Scorer | None:
    """The card's `intent` scorer, else the CLIP similarity among the run's scorers; None where there is none beside
    the objective, and for an attack, which is after pictures that show less."""
    if isinstance(context.evaluator.objective, Adversarial):
        return None
    name = context.card.intent or USUAL
    beside = (item for item in context.evaluator.scorers[1:] if not item.held_out)
    return next((item for item in beside if item.name == name), None)


def shows_less(found: Evaluation, name: str) -> list[str]:
    """Ids of the conditionings that the witness `name` ranks below the first one, which is the user's prompt. No number, no verdict."""
    means = np.round(found.mean(name), RANKING_DECIMALS)
    sign = 1.0 if found.higher_is_better[name] else -1.0
    return [item.id for item, mean in zip(found.conditionings, means, strict=True) if sign * mean < sign * means[0]]
