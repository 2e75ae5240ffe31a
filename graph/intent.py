"""Whether a candidate keeps the user's intent: in its words, in its pictures, and in what the checkpoint can draw at all.

Words that make a picture prettier crowd out words that say what it shows, and a preference scorer forgives that. So one scorer that
compares pictures with the user's own prompt is a witness: a candidate that it ranks below the user's prompt on the search seeds cannot win.
The witness is never the objective, and the judge never is the witness.

The contract (pins, triggers, bans) is checked on the string; a trait is checked in the pictures, by the alignment scorer: a candidate whose
pictures are much less like the trait than those of the plain prompt on the same seeds has lost it. `outside_world` says which words of a
prompt the checkpoint's vocabulary does not know.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from limner.agents.contract import Contract
from limner.graph.nodes import conditioning_of
from limner.graph.state import CandidateRow, Context, DroppedRow
from limner.promptdb.records import Conditioning
from limner.tools.diffusion.card import Card
from limner.tools.evaluation import RANKING_DECIMALS, Evaluation
from limner.tools.scoring.adversarial import Adversarial
from limner.tools.scoring.asked import World
from limner.tools.scoring.base import Scorer

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


def admitted(contract: Contract, rows: Sequence[CandidateRow]) -> tuple[list[CandidateRow], list[DroppedRow]]:
    """Those that keep the contract, and how many were refused, by whose they were and why."""
    kept: list[CandidateRow] = []
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        conditioning = conditioning_of(row)
        fault = contract.breach(conditioning.text, conditioning.negative)
        if fault is None:
            kept.append(row)
        else:
            counts[row["origin"], fault[0]] = counts.get((row["origin"], fault[0]), 0) + 1
    return kept, [{"origin": origin, "reason": reason, "count": count} for (origin, reason), count in counts.items()]


SHARE = 1 / 3
"""Part of the plain prompt's mean cosine that a candidate may lose. On the miniature tags cost 0.15 to 0.30 of it, the thing's absence 0.29
to 1.13, so this overlooks some small things and accuses few (docs/chat.md)."""


def alignment_scorer(context: Context) -> str:
    """The name of a scorer that compares pictures with any text: one of kind `clip`; empty where there is none."""
    return next((scorer.name for scorer in aligners(context)), "")


def lost_traits(
    context: Context, contract: Contract, prompt: str, conditionings: Sequence[Conditioning], seeds: Sequence[int]
) -> tuple[set[int], list[DroppedRow]]:
    """Places of the candidates that lost a trait, and how many for each trait. Where no scorer can see it, or the plain prompt was not
    drawn on these seeds, nothing is said against anybody."""
    name = alignment_scorer(context)
    if not name or not contract.traits:
        return set(), []
    plain = Conditioning(prompt)
    lost: set[int] = set()
    dropped: list[DroppedRow] = []
    for trait in contract.traits:
        found = context.evaluator.known([plain, *conditionings], trait, seeds, [name])
        sign = 1 if found.higher_is_better[name] else -1
        ahead = sign * (found.values[name][1:] - found.values[name][:1])
        seen = found.values[name][0]
        slack = SHARE * abs(float(np.nanmean(seen))) if not np.isnan(seen).all() else np.inf
        falls = [place for place, row in enumerate(ahead) if not np.isnan(row).all() and np.nanmean(row) < -slack]
        if falls:
            dropped.append({"origin": "pictures", "reason": f"lost trait {trait!r}", "count": len(falls)})
            lost.update(falls)
    return lost, dropped


SHOWN = 8  # unknown words that a person is told


def outside_world(card: Card, prompt: str) -> list[str]:
    """A warning where the prompt has words that the checkpoint does not know, else nothing; nothing for one without a vocabulary. Raises
    BadInput for a vocabulary that cannot be read."""
    if not card.vocabulary_file:
        return []
    share, unknown = World.read(card.path(card.vocabulary_file)).coverage(prompt)
    if not unknown:
        return []
    named = ", ".join(unknown[:SHOWN]) + (", ..." if len(unknown) > SHOWN else "")
    return [f"the checkpoint's vocabulary knows {share:.0%} of the prompt's words and not: {named}; it cannot draw what it does not know"]
