"""The rival of a learned instruction: one fixed list of keywords behind every prompt, the best that the same number of pictures finds.

Candidates are what professionals add to their subjects and what the arms of the run added to the prompts; successive halving on the
development prompts finds the best of them (Karnin, Koren and Somekh 2013), on the same seeds as the arms.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence

import numpy as np

from limner.agents.contract import Contract
from limner.graph.exemplars import exemplars_for
from limner.graph.nodes import Emit, token_limit
from limner.graph.optimize.arms import PROFESSIONAL, manner
from limner.graph.state import Context, SuffixRow
from limner.promptdb.files.prompt_file import BatchPrompt
from limner.promptdb.files.styles import stored_styles
from limner.promptdb.records import Conditioning, content_id
from limner.promptdb.trials import Trials
from limner.tools.budget import BudgetSpent

Suffix = tuple[str, str]  # positive, negative

BATCH = 3  # prompts a round


def search(context: Context, prompts: Sequence[BatchPrompt], trials: Trials, emit: Emit | None = None) -> SuffixRow | None:
    """Returns the winner of the halving; None where there is no candidate, or no picture is left in the budget."""
    evaluator, seeds = context.evaluator, context.settings.search
    name = evaluator.objective.name
    sign = 1 if evaluator.objective.higher_is_better else -1
    each = min(BATCH, len(prompts)) * len(seeds)
    affordable = int(min(context.plan.suffix, evaluator.budget.left("images") - context.plan.heldout))
    rng = random.Random(content_id(["suffix", context.settings.seed]))
    # A halving draws each candidate twice on average, and every round the plain prompts once.
    field = _candidates(context, prompts, trials)[: max(0, affordable // (2 * each) - 2)]
    gains: dict[Suffix, list[float]] = {suffix: [] for suffix in field}
    pulls = 0
    while field:
        batch = rng.sample(list(prompts), min(BATCH, len(prompts)))
        pictures = (len(field) + 1) * each
        if pulls and pulls + pictures > affordable:
            break
        plain = [Conditioning(prompt.text) for prompt in batch]
        drawn = [with_suffix(prompt.text, suffix) for suffix in field for prompt in batch]
        references = [prompt.text for prompt in batch] * (len(field) + 1)
        try:
            found = evaluator.evaluate([*plain, *drawn], references, seeds, [name], emit)
        except BudgetSpent:
            break
        pulls += pictures
        values = found.values[name].reshape(len(field) + 1, -1)
        for suffix, row in zip(field, values[1:], strict=True):
            gains[suffix] += [float(gain) for gain in sign * (row - values[0]) if not math.isnan(gain)]
        field = sorted(field, key=lambda suffix: (-_mean(gains[suffix]), suffix))
        if len(field) == 1:
            break
        field = field[: -(-len(field) // 2)]
    if not field or not gains[field[0]]:
        return None
    return {"positive": field[0][0], "negative": field[0][1], "pulls": pulls}


def with_suffix(prompt: str, suffix: Suffix) -> Conditioning:
    """Returns the prompt with the suffix's keywords behind it and its negative prompt."""
    return Conditioning(f"{prompt}, {suffix[0]}" if suffix[0] else prompt, suffix[1])


def _candidates(context: Context, prompts: Sequence[BatchPrompt], trials: Trials) -> list[Suffix]:
    """The distinct suffixes that fit behind every development prompt, imported styles among them, the most frequent first."""
    votes: Counter[Suffix] = Counter()
    for trial in trials.trials():
        if not trial.instruction.startswith(PROFESSIONAL):
            votes[(manner(trial.conditioning.text, trial.prompt), trial.conditioning.negative)] += 1
    for style in stored_styles(context.db):
        votes[(style.suffix(), style.negative)] += 1
    for prompt in prompts:
        for row in exemplars_for(context.db, prompt.text, 3, context.card):
            votes[(manner(row["positive"], row["description"]), row["negative"])] += 1
    longest = max((prompt.text for prompt in prompts), key=lambda text: context.evaluator.model.token_count(text)[0])
    count = token_limit(context.evaluator, longest)

    def fits(suffix: Suffix) -> bool:
        both = with_suffix(longest, suffix)
        if Contract(bans=context.settings.bans).breach(suffix[0]):
            return False
        return any(suffix) and all(tokens <= limit for tokens, limit in (count(both.text), count(both.negative)))

    return [suffix for suffix, _ in sorted(votes.items(), key=lambda item: (-item[1], item[0])) if fits(suffix)]


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else -math.inf
