"""Measures what could be gained on a checkpoint before a method is trained on it, by two searches that learn nothing.

Timing: coordinate search over the effect range and the weight of every tag of crowded prompts, from all tags at full range and weight 1.
Negatives: the best of some random negative prompts of contrast words, for prompts that are hard to draw, which are those that DPO-Diff
searches for. Both choose on search seeds and are measured on other seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from limner.graph.evaluate.base import Row, Target
from limner.graph.evaluate.heldout import card_prompts, report_seeds
from limner.graph.state import Context
from limner.promptdb.records import Conditioning, EffectSpan
from limner.tools.events import Emit
from limner.tools.lexicon.offline import offline
from limner.tools.scoring.asked import World
from limner.tools.stats import paired_bootstrap

RANGES = ((Fraction(0), Fraction(1)), (Fraction(0), Fraction(1, 2)), (Fraction(1, 2), Fraction(1)))  # DF-Prompt's three
WEIGHTS = tuple(Fraction(weight, 4) for weight in (4, 2, 3, 5, 6))  # DF-Prompt's five, weight 1 first
SEARCH_SEEDS, NEGATIVE_SEEDS = 2, 8  # on two seeds, the best of 30 negatives would be one by chance
REPORT_SEEDS, NEGATIVE_REPORT_SEEDS = 4, 8
PROMPTS, PROMPTS_FULL = 10, 40
NEGATIVE_PROMPTS = 20  # with ten the interval is as wide as the gain
NEGATIVES = 30
MOST_WORDS = 4  # of a random negative prompt
TIMING_GAIN = 0.2  # standard deviations of the objective over pictures of plain crowded prompts

Spans = tuple[EffectSpan, ...]


def pictures(context: Context, full: bool) -> int:
    """Returns how many pictures both searches draw at most."""
    count = PROMPTS_FULL if full else PROMPTS
    most_tags = max((len(tag_spans(text)) for text in card_prompts(context, "crowded.heldout", count)), default=0)
    timing = SEARCH_SEEDS * (1 + most_tags * (len(RANGES) + len(WEIGHTS) - 2)) + 2 * REPORT_SEEDS
    return count * timing + max(count, NEGATIVE_PROMPTS) * (NEGATIVE_SEEDS * (NEGATIVES + 1) + 2 * NEGATIVE_REPORT_SEEDS)


def headroom_rows(context: Context, full: bool, emit: Emit) -> list[Row]:
    """Runs both searches; returns a row for the gain of each."""
    count = PROMPTS_FULL if full else PROMPTS
    return [*_timing(context, count, emit), *_negatives(context, max(count, NEGATIVE_PROMPTS), emit)]


def tag_spans(prompt: str) -> list[tuple[int, int]]:
    """Returns the places of the tags behind the subject, as half-open offsets: every part between commas but the first."""
    places, start = [], 0
    for part in prompt.split(","):
        end = start + len(part)
        blank = len(part) - len(part.lstrip())
        if start and start + blank < end:
            places.append((start + blank, end))
        start = end + 1
    return places


def _timing(context: Context, count: int, emit: Emit) -> list[Row]:
    prompts = card_prompts(context, "crowded.heldout", count)
    found = [Conditioning(prompt, spans=_searched(context, prompt, emit)) for prompt in prompts]
    seeds = report_seeds(context, REPORT_SEEDS)
    objective = context.evaluator.objective
    plain, timed = (
        context.evaluator.evaluate(asked, prompts, seeds, scorers=[objective.name], emit=emit).values[objective.name]
        for asked in ([Conditioning(prompt) for prompt in prompts], found)
    )
    sign = 1 if objective.higher_is_better else -1
    spread = float(np.nanstd(plain)) or float("nan")
    interval = paired_bootstrap((sign * (timed - plain) / spread).ravel(), _clusters(plain), context.settings.seed)
    name = f"headroom: timing and weight of tags, gain in s.d. of {objective.name}"
    return [Row(name, interval.mean, (interval.lo, interval.hi), interval.n, Target(">=", TIMING_GAIN))]


def _searched(context: Context, prompt: str, emit: Emit) -> Spans:
    """One sweep over the tags: each gets its best range, then its best weight, with the others as they are."""
    places, objective = tag_spans(prompt), context.evaluator.objective.name
    chosen = [(Fraction(0), Fraction(1), Fraction(1)) for _ in places]
    for place in range(len(places)):
        for options in (
            [(lo, hi, chosen[place][2]) for lo, hi in RANGES],
            [(*chosen[place][:2], weight) for weight in WEIGHTS],
        ):
            trials = [[*chosen[:place], option, *chosen[place + 1 :]] for option in dict.fromkeys([chosen[place], *options])]
            asked = [Conditioning(prompt, spans=_spans(places, trial)) for trial in trials]
            evaluation = context.evaluator.evaluate(
                asked, [prompt] * len(asked), _search_seeds(context, SEARCH_SEEDS), scorers=[objective], emit=emit
            )
            chosen = trials[evaluation.ranking(objective)[0]]
    return _spans(places, chosen)


def _spans(places: Sequence[tuple[int, int]], effects: Sequence[tuple[Fraction, Fraction, Fraction]]) -> Spans:
    return tuple(EffectSpan(start, end, *effect) for (start, end), effect in zip(places, effects, strict=True))


def _negatives(context: Context, count: int, emit: Emit) -> list[Row]:
    """Measured by the scorer that says whether a picture shows what was asked; it is a loss, so less is better."""
    scorer = context.card.intent or context.evaluator.objective.name
    prompts = card_prompts(context, "hard.heldout", count)
    rng, words = np.random.default_rng([context.settings.seed, 30]), offline(context.card.vocabulary())
    world = World.read(context.card.path(context.card.vocabulary_file)) if context.card.vocabulary_file else None
    chosen = []
    for prompt in prompts:
        contrasts = [words.antonyms(word) for word in _content(prompt, world)]
        negatives = list(dict.fromkeys(["", *_random_negatives([list(found) for found in contrasts if found], rng)]))
        asked = [Conditioning(prompt, negative) for negative in negatives]
        seeds = _search_seeds(context, NEGATIVE_SEEDS)
        evaluation = context.evaluator.evaluate(asked, [prompt] * len(asked), seeds, scorers=[scorer], emit=emit)
        chosen.append(asked[evaluation.ranking(scorer)[0]])
    seeds = report_seeds(context, NEGATIVE_REPORT_SEEDS)
    plain, after = (
        context.evaluator.evaluate(asked, prompts, seeds, scorers=[scorer], emit=emit).values[scorer]
        for asked in ([Conditioning(prompt) for prompt in prompts], chosen)
    )
    sign = -1 if context.evaluator.scorer(scorer).higher_is_better else 1
    interval = paired_bootstrap((sign * (after - plain)).ravel(), _clusters(plain), context.settings.seed)
    name = f"headroom: best of {NEGATIVES} contrast-word negatives on hard prompts, change of the {scorer} loss"
    return [Row(name, interval.mean, (interval.lo, interval.hi), interval.n, Target("<", 0, "hi"))]


def _content(prompt: str, world: World | None) -> list[str]:
    """The words that say what a prompt shows, without those that the vocabulary calls fillers."""
    words = [word.strip(",.") for word in prompt.lower().split()]
    return list(dict.fromkeys(word for word in words if word and (world is None or word not in world.fillers)))


def _random_negatives(contrasts: Sequence[Sequence[str]], rng: np.random.Generator) -> Iterator[str]:
    """`NEGATIVES` negative prompts, each of one to `MOST_WORDS` words, at most one for each word of the prompt."""
    for _ in range(NEGATIVES if contrasts else 0):
        size = int(rng.integers(1, min(MOST_WORDS, len(contrasts)) + 1))
        slots = rng.choice(len(contrasts), size, replace=False)
        yield ", ".join(str(rng.choice(list(contrasts[slot]))) for slot in slots)


def _search_seeds(context: Context, count: int) -> list[int]:
    return [context.settings.seed + place for place in range(count)]


def _clusters(values: np.ndarray) -> np.ndarray:
    """The prompt of each number of a (prompt, seed) table, flattened."""
    return np.repeat(np.arange(values.shape[0]), values.shape[1])
