"""Checks whether a candidate keeps the user's intent: in its words, in its pictures, and in what the checkpoint can draw.

Words that make a picture prettier crowd out words that say what it shows, and a preference scorer does not notice. So one scorer that
compares pictures with the user's own prompt is the witness: a candidate that scores below the user's prompt by it on the search seeds
cannot win. The witness is never the objective, and never the judge.

The contract's pins, triggers and bans, and what the prompt keeps by itself, are checked on the text. Its traits are checked in the
pictures, by the alignment scorer: a candidate has lost a trait where its pictures are much less like the trait than those of the plain
prompt on the same seeds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from limner.agents.contract import Contract
from limner.agents.intent_words import clauses_of
from limner.graph.nodes import conditioning_of
from limner.graph.state import CandidateRow, Context, DroppedRow
from limner.promptdb.records import Conditioning
from limner.tools.diffusion.card import Card
from limner.tools.evaluation import RANKING_DECIMALS, Evaluation
from limner.tools.lexicon.depiction import depiction
from limner.tools.prompt_language.carry import carried
from limner.tools.scoring.adversarial import Adversarial
from limner.tools.scoring.asked import World
from limner.tools.scoring.base import Scorer
from limner.tools.scoring.registry import PUBLISHED

USUAL = ("clip", "alignment")
"""Names and kinds of scorers that compare a picture with any text, for a checkpoint whose card names none."""


def aligners(context: Context) -> list[Scorer]:
    """Returns the run's scorers that say whether a picture shows a text: the one that the card calls `intent`, else all CLIP similarities.

    Scorers that may not take part in searches are left out.
    """
    scorers, card = [item for item in context.evaluator.scorers if not item.held_out], context.card
    if card.intent:
        return [item for item in scorers if item.name == card.intent]
    return [item for item in scorers if item.name in USUAL or card.scorers.get(item.name, {}).get("kind") in USUAL]


def witness(context: Context) -> Scorer | None:
    """Returns the first aligner that is not the objective; None where there is none, and for an attack, which looks for pictures that show
    less.
    """
    objective = context.evaluator.objective
    if isinstance(objective, Adversarial):
        return None
    return next((item for item in aligners(context) if item.name != objective.name), None)


def shows_less(found: Evaluation, name: str) -> list[str]:
    """Returns the ids of the conditionings that the witness `name` scores below the first one, which is the user's prompt.

    A conditioning without a score is not among them.
    """
    means = np.round(found.mean(name), RANKING_DECIMALS)
    sign = 1.0 if found.higher_is_better[name] else -1.0
    return [item.id for item, mean in zip(found.conditionings, means, strict=True) if sign * mean < sign * means[0]]


def contract_of(context: Context, prompt: str) -> Contract:
    """Returns the contract of a run that refines `prompt`: what the settings ask for, and what the prompt keeps by itself as it was typed.

    An attack keeps nothing by itself: it puts words in other words of the same meaning, which its own filter judges.
    """
    asked = context.settings.contract
    if context.evaluator.scorers and isinstance(context.evaluator.scorers[0], Adversarial):
        return asked
    typed = context.evaluator.typed
    return asked.of(clauses_of(carried(typed, Conditioning(prompt)) if typed else Conditioning(prompt)))


def admitted(contract: Contract, rows: Sequence[CandidateRow]) -> tuple[list[CandidateRow], list[DroppedRow]]:
    """Returns the rows that keep the contract, and the counts of those that do not, by origin and reason."""
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
"""Share of the plain prompt's mean cosine that a candidate may lose. On the miniature, added tags cost 0.15 to 0.30 of it and the absence
of the thing 0.29 to 1.13, so some small losses pass and few candidates are dropped wrongly (docs/chat.md).
"""


def alignment_scorer(context: Context) -> str:
    """Returns the name of the scorer of kind `clip` that compares pictures with any text; empty where there is none."""
    return next((scorer.name for scorer in aligners(context)), "")


def lost_traits(
    context: Context, contract: Contract, prompt: str, conditionings: Sequence[Conditioning], seeds: Sequence[int]
) -> tuple[set[int], list[DroppedRow]]:
    """Returns the places of the candidates that lost a trait, and the counts for each trait.

    Both are empty where no scorer can check traits, or the plain prompt was not drawn on these seeds.
    """
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


def undrawable(card: Card, prompt: str) -> str:
    """Returns in one line why the checkpoint cannot draw the prompt; empty where it can, or has no vocabulary.

    Raises BadInput for a vocabulary that cannot be read.
    """
    if not card.vocabulary_file:
        return ""
    found = depiction(World.read(card.path(card.vocabulary_file)), prompt)
    return "" if found.drawable else f"its vocabulary does not know {listed(found.unknown)}"


def missing_evidence(context: Context) -> list[str]:
    """Returns what no scorer of the run can say, and which scorer to add for it.

    A claim needs the objective, a scorer that compares the picture with the prompt, and one of another family.
    """

    def family(scorer: Scorer) -> str:
        kind = context.card.scorers.get(scorer.name, {}).get("kind") or PUBLISHED.get(scorer.name, scorer.name)
        return "alignment" if kind in ("clip", "spherical_clip") else kind

    objective, guard = context.evaluator.objective, witness(context)
    taken = {family(objective), *([family(guard)] if guard else [])}
    others = {family(scorer) for scorer in context.evaluator.scorers} - taken
    found = []
    if guard is None and family(objective) != "alignment":
        found.append("whether the pictures still show what was asked for, since no scorer of alignment took part (add --scorer clip)")
    if not others - {"alignment"}:
        free = next((name for name, kind in PUBLISHED.items() if kind not in ("clip", "spherical_clip") and kind not in taken), "clip")
        found.append(f"whether a scorer of another family agrees, since there is none (add --scorer {free})")
    return found


SHOWN = 8  # unknown words that the warning names


def outside_world(card: Card, prompt: str) -> list[str]:
    """Returns a warning where the prompt has words that the checkpoint's vocabulary does not know, else nothing.

    Raises BadInput for a vocabulary that cannot be read.
    """
    if not card.vocabulary_file:
        return []
    share, unknown = World.read(card.path(card.vocabulary_file)).coverage(prompt)
    if not unknown:
        return []
    known = f"the checkpoint's vocabulary knows {share:.0%} of the prompt's words and not: {listed(unknown)}"
    return [f"{known}; it cannot draw what it does not know"]


def listed(words: Sequence[str]) -> str:
    """Returns the first words in one line."""
    return ", ".join(words[:SHOWN]) + (", ..." if len(words) > SHOWN else "")
