"""Instructions as arms: what each writes for a batch of prompts, what that is worth, and how the arms compare.

Every number comes from the Evaluator, on the search seeds that all arms share. An arm's reward is the gain over the plain prompt on the
same prompt and seed, in units of the spread of all gains so far: the same yardstick in every iteration, whichever prompts it drew.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agents import rewriter
from agents.keywords import keywords
from agents.text_gradient import Row
from graph.at_once import all_at_once
from graph.nodes import Emit
from graph.retrieval import exemplar, exemplars_for
from graph.state import Context
from graph.stopped import ServerAway
from promptdb.prompt_file import BatchPrompt
from promptdb.records import Conditioning
from promptdb.trials import Trial, Trials
from tools.budget import BudgetSpent

PROFESSIONALS = 5  # Yang, Wang and Hu 2024: up to five stored prompts for each of the batch
PROFESSIONAL = "professional-"  # the arm under which they are kept
EXEMPLARS = 5


@dataclass(frozen=True, slots=True)
class Written:
    """What an arm made of one prompt."""

    arm: str
    prompt: BatchPrompt
    conditioning: Conditioning


@dataclass(frozen=True)
class Writing:
    """`written` in the order asked. `dropped` counts answers that became no prompt, by kind; `cut` the rewritings cut at the limit."""

    written: list[Written]
    dropped: dict[str, int]
    cut: int


def write(context: Context, arms: Mapping[str, str], prompts: Sequence[BatchPrompt], professional: bool) -> Writing:
    """One rewriting of each prompt by each arm (id -> instruction); the prompt itself where none was usable.

    Raises ServerAway where no request of the batch was answered, BudgetSpent where no further call is allowed.
    """
    exemplars = {prompt: _exemplars(context, prompt) if professional else [] for prompt in prompts}

    def rewritten(asked: tuple[BatchPrompt, str]) -> rewriter.Rewritten:
        prompt, instruction = asked
        return rewriter.rewrite(
            context.chat,
            prompt.text,
            exemplars[prompt],
            1,
            instruction,
            (*context.settings.contract.kept, *prompt.pins),
            token_limit=context.evaluator.model.token_count,
            seed=context.settings.seed,
            bans=context.settings.bans,
        )

    pairs = [(prompt, arm) for prompt in prompts for arm in arms]
    written: list[Written] = []
    dropped: dict[str, int] = {}
    contract = context.settings.contract
    cut = silent = 0
    answers = all_at_once(rewritten, [(prompt, arms[arm]) for prompt, arm in pairs], context.chat.parallel)
    for (prompt, arm), answer in zip(pairs, answers, strict=True):
        for kind, count in answer.dropped.items():
            dropped[kind] = dropped.get(kind, 0) + count
        silent += "no answer" in answer.dropped
        cut += any("cut to the text encoder's limit" in note for note in answer[0].notes)
        chosen = answer[0].conditioning
        fault = contract.breach(chosen.text, chosen.negative)
        if fault and not answer.fallback:
            dropped[fault[0]] = dropped.get(fault[0], 0) + 1
            chosen = Conditioning(prompt.text)
        written.append(Written(arm, prompt, chosen))
    if written and silent == len(written):
        away = f"{context.chat.name} answered none of {len(written)} requests"
        raise ServerAway(f"{away}; everything so far is kept: go on with --resume {context.evaluator.run}")
    return Writing(written, dropped, cut)


def _exemplars(context: Context, prompt: BatchPrompt) -> list[rewriter.Exemplar]:
    return [exemplar(row) for row in exemplars_for(context.db, prompt.text, EXEMPLARS)]


def professionals(context: Context, prompts: Sequence[BatchPrompt]) -> list[Written]:
    """What professionals wrote for these prompts: stored prompts with the same subject; else the manner of the nearest ones, put on it."""
    found: list[Written] = []
    for prompt in prompts:
        rows = exemplars_of(context, prompt.text)
        for place, (positive, negative) in enumerate(rows[:PROFESSIONALS]):
            found.append(Written(f"{PROFESSIONAL}{place}", prompt, Conditioning(positive, negative)))
    contract = context.settings.contract
    kept = [row for row in found if contract.breach(row.conditioning.text, row.conditioning.negative) is None]
    return [row for row in kept if _fits(context, row.conditioning)]


def exemplars_of(context: Context, text: str) -> list[tuple[str, str]]:
    """(positive, negative) of stored prompts about `text` itself, or, where there are none, of the nearest ones' manner added to it."""
    own = context.db.query(
        "SELECT text, negative FROM prompt WHERE subject != '' AND lower(subject) = lower(?) AND lower(text) != lower(?) "
        "ORDER BY id LIMIT ?",
        [text, text, PROFESSIONALS],
    )
    if own:
        return [(positive, negative) for positive, negative in own]
    nearest = exemplars_for(context.db, text, PROFESSIONALS)
    manners = [(manner(row["positive"], row["description"]), row["negative"]) for row in nearest if row["description"]]
    return [(f"{text}, {added}", negative) for added, negative in manners if added]


def manner(positive: str, description: str) -> str:
    """What a prompt adds to what it describes: its keywords that the description does not hold."""
    known = {word.casefold() for word in keywords(description)} | {description.casefold()}
    return ", ".join(word for word in keywords(positive) if word.casefold() not in known)


def _fits(context: Context, conditioning: Conditioning) -> bool:
    counts = [context.evaluator.model.token_count(text) for text in (conditioning.text, conditioning.negative)]
    return all(tokens <= limit for tokens, limit in counts)


def pull(context: Context, trials: Trials, iteration: int, written: Sequence[Written], emit: Emit) -> BudgetSpent | None:
    """Draw and score what was written and the plain prompts, all in one population, and keep the trials; what ended it early, if any."""
    evaluator, seeds = context.evaluator, context.settings.search
    name = evaluator.objective.name
    plain = {row.prompt.text: Conditioning(row.prompt.text) for row in written}
    conditionings = [*plain.values(), *(row.conditioning for row in written)]
    references = [*plain, *(row.prompt.text for row in written)]
    spent: BudgetSpent | None = None
    try:
        found = evaluator.evaluate(conditionings, references, seeds, [name], emit)
    except BudgetSpent as error:
        spent = error
        found = evaluator.known(conditionings, references, seeds, [name])
    values = found.values[name]
    rows = {text: values[place] for place, text in enumerate(plain)}
    kept = [
        Trial(iteration, row.arm, row.prompt.text, seed, row.conditioning, _number(value), _number(rows[row.prompt.text][column]))
        for row, numbers in zip(written, values[len(plain) :], strict=True)
        for column, (seed, value) in enumerate(zip(seeds, numbers, strict=True))
    ]
    trials.add_trials(kept)
    return spent


def pictures(trials: Iterable[Trial]) -> set[tuple[str, int]]:
    """The pictures that those trials asked for, plain ones included, drawn by this run or found in the cache: what learning has cost."""
    rows = list(trials)
    return {(row.conditioning.id, row.seed) for row in rows} | {(Conditioning(row.prompt).id, row.seed) for row in rows}


def pictures_of(written: Iterable[Written], seeds: Sequence[int]) -> set[tuple[str, int]]:
    """The pictures that pulling what was written would ask for."""
    ids = {key for row in written for key in (row.conditioning.id, Conditioning(row.prompt.text).id)}
    return {(key, seed) for key in ids for seed in seeds}


def gain(trial: Trial, higher_is_better: bool) -> float:
    """What the rewriting gained over the plain prompt; NaN where a picture was dropped."""
    if trial.value is None or trial.plain is None:
        return math.nan
    return (trial.value - trial.plain) * (1 if higher_is_better else -1)


def spread(trials: Iterable[Trial], higher_is_better: bool) -> float:
    """Standard deviation of all gains, the unit of rewards; 1 where there is none to speak of."""
    gains = np.array([gain(trial, higher_is_better) for trial in trials])
    gains = gains[~np.isnan(gains)]
    return float(gains.std()) or 1.0 if len(gains) > 1 else 1.0


def rows_of(trials: Iterable[Trial], higher_is_better: bool) -> dict[str, dict[str, Row]]:
    """For each arm and prompt what it wrote and the mean score of it, higher being better; dropped pictures do not count."""
    values: dict[tuple[str, str], list[float]] = {}
    texts: dict[tuple[str, str], Conditioning] = {}
    for trial in trials:
        if trial.value is not None:
            key = (trial.instruction, trial.prompt)
            values.setdefault(key, []).append(trial.value if higher_is_better else -trial.value)
            texts[key] = trial.conditioning
    rows: dict[str, dict[str, Row]] = {}
    for (arm, prompt), scores in values.items():
        text = texts[arm, prompt]
        rows.setdefault(arm, {})[prompt] = Row(prompt, text.text, text.negative, float(np.mean(scores)))
    return rows


def best_rows(rows: Mapping[str, Mapping[str, Row]]) -> dict[str, Row]:
    """The best known row of each prompt, whoever wrote it."""
    best: dict[str, Row] = {}
    for by_prompt in rows.values():
        for prompt, row in by_prompt.items():
            if prompt not in best or row.score > best[prompt].score:
                best[prompt] = row
    return best


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
