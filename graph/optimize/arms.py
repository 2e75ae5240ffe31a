"""Instructions as arms: what each writes for a batch of prompts, what it gains, and how the arms compare.

Every number comes from the Evaluator, on the search seeds that all arms share. An arm's reward is the gain over the plain prompt on the
same prompt and seed, in units of the standard deviation of all gains so far. A prompt that comes twice on the same seed is one pull, since
its picture is the same. The chat server is asked for several rewritings of a batch at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, cast

import numpy as np

from limner.agents import rewriter
from limner.agents.instructions.bandit import ArmRecord
from limner.agents.instructions.text_gradient import Row
from limner.agents.keywords import keywords
from limner.graph.exemplars import exemplar, exemplars_for
from limner.graph.intent import contract_of
from limner.graph.nodes import Emit, token_limit
from limner.graph.state import ArmRow, Context
from limner.promptdb.errors import ServerAway
from limner.promptdb.files.prompt_file import BatchPrompt
from limner.promptdb.records import Conditioning
from limner.promptdb.search.modifiers import fitting
from limner.promptdb.trials import Standing, Trial, Trials
from limner.tools.budget import BudgetSpent
from limner.tools.diffusion.base import CancelToken
from limner.tools.stats import paired_bootstrap

Question = TypeVar("Question")
Reply = TypeVar("Reply")


def all_at_once(
    ask: Callable[[Question], Reply], questions: Sequence[Question], threads: int, cancel: CancelToken | None = None
) -> list[Reply]:
    """Returns the replies in the order of the questions, asked in up to `threads` threads.

    `cancel` is checked before each question. Raises the first error as it is, that of `cancel` included; no question is begun after it, and
    those under way are waited for.
    """
    errors: list[BaseException] = []

    def answered(question: Question) -> Reply:
        if cancel:
            cancel.check()
        return ask(question)

    def unless_failed(question: Question) -> Reply | None:
        if errors:
            return None
        try:
            return answered(question)
        except BaseException as error:
            errors.append(error)
            return None

    if threads < 2 or len(questions) < 2:
        return [answered(question) for question in questions]
    with ThreadPoolExecutor(threads, thread_name_prefix="ask") as pool:
        try:
            replies = list(pool.map(unless_failed, questions))
        except BaseException as error:  # Ctrl-C, while this thread waits
            errors.append(error)
            raise
    if errors:
        raise errors[0]
    return cast(list[Reply], replies)


PROFESSIONALS = 5  # Yang, Wang and Hu 2024: up to five stored prompts for each of the batch
PROFESSIONAL = "professional-"  # the beginning of the arm ids under which they are stored
EXEMPLARS = 5


@dataclass(frozen=True, slots=True)
class Written:
    """What an arm wrote for one prompt. `arm`: its id."""

    arm: str
    prompt: BatchPrompt
    conditioning: Conditioning


@dataclass(frozen=True)
class Writing:
    """`written`: in the order asked. `dropped`: counts of answers that became no prompt, by kind. `cut`: count of rewritings cut at the
    limit.
    """

    written: list[Written]
    dropped: dict[str, int]
    cut: int


def write(context: Context, arms: Mapping[str, str], prompts: Sequence[BatchPrompt], professional: bool) -> Writing:
    """Asks for one rewriting of each prompt by each arm (id -> instruction); the prompt itself stands where none was usable.

    `professional`: whether the rewriter is shown professional prompts. Raises ServerAway where no request of the batch was answered,
    BudgetSpent where no further call is allowed.
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
            token_limit=token_limit(context.evaluator, prompt.text),
            seed=context.settings.seed,
            bans=context.settings.bans,
            automatic=contract_of(context, prompt.text).automatic,
            modifiers=partial(fitting, context.db, prompt.text) if professional else tuple,
        )

    pairs = [(prompt, arm) for prompt in prompts for arm in arms]
    written: list[Written] = []
    dropped: dict[str, int] = {}
    cut = silent = 0
    answers = all_at_once(rewritten, [(prompt, arms[arm]) for prompt, arm in pairs], context.chat.parallel, context.evaluator.cancel)
    for (prompt, arm), answer in zip(pairs, answers, strict=True):
        for kind, count in answer.dropped.items():
            dropped[kind] = dropped.get(kind, 0) + count
        silent += "no answer" in answer.dropped
        cut += any("cut to the text encoder's limit" in note for note in answer[0].notes)
        chosen = answer[0].conditioning
        fault = contract_of(context, prompt.text).breach(chosen.text, chosen.negative)
        if fault and not answer.fallback:
            dropped[fault[0]] = dropped.get(fault[0], 0) + 1
            chosen = Conditioning(prompt.text)
        written.append(Written(arm, prompt, chosen))
    if written and silent == len(written):
        away = f"{context.chat.name} answered none of {len(written)} requests"
        raise ServerAway(f"{away}; everything so far is kept: go on with --resume {context.evaluator.run}")
    return Writing(written, dropped, cut)


def _exemplars(context: Context, prompt: BatchPrompt) -> list[rewriter.Exemplar]:
    return [exemplar(row) for row in exemplars_for(context.db, prompt.text, EXEMPLARS, context.card)]


def professionals(context: Context, prompts: Sequence[BatchPrompt]) -> list[Written]:
    """Returns what professionals wrote for these prompts: stored prompts of the same subject, else the prompt with modifiers of the nearest
    ones.

    Those that break the contract or do not fit into the text encoder are left out.
    """
    found: list[Written] = []
    for prompt in prompts:
        rows = exemplars_of(context, prompt.text)
        for place, (positive, negative) in enumerate(rows[:PROFESSIONALS]):
            found.append(Written(f"{PROFESSIONAL}{place}", prompt, Conditioning(positive, negative)))
    contract = context.settings.contract
    kept = [row for row in found if contract.breach(row.conditioning.text, row.conditioning.negative) is None]
    return [row for row in kept if _fits(context, row)]


def exemplars_of(context: Context, text: str) -> list[tuple[str, str]]:
    """Returns (positive, negative) of stored prompts with `text` as their subject; where there are none, `text` with modifiers of the
    nearest prompts.
    """
    own = context.db.query(
        "SELECT text, negative FROM prompt WHERE subject != '' AND lower(subject) = lower(?) AND lower(text) != lower(?) "
        "ORDER BY id LIMIT ?",
        [text, text, PROFESSIONALS],
    )
    if own:
        return [(positive, negative) for positive, negative in own]
    nearest = exemplars_for(context.db, text, PROFESSIONALS, context.card)
    manners = [(manner(row["positive"], row["description"]), row["negative"]) for row in nearest if row["description"]]
    return [(f"{text}, {added}", negative) for added, negative in manners if added]


def manner(positive: str, description: str) -> str:
    """Returns what a prompt adds to its description: its keywords that the description does not hold."""
    known = {word.casefold() for word in keywords(description)} | {description.casefold()}
    return ", ".join(word for word in keywords(positive) if word.casefold() not in known)


def _fits(context: Context, row: Written) -> bool:
    count = token_limit(context.evaluator, row.prompt.text)
    counts = [count(text) for text in (row.conditioning.text, row.conditioning.negative)]
    return all(tokens <= limit for tokens, limit in counts)


def pull(context: Context, trials: Trials, iteration: int, written: Sequence[Written], emit: Emit) -> BudgetSpent | None:
    """Draws and scores the rewritings and the plain prompts in one population, and stores the trials.

    Returns the error where the budget ended it early, else None.
    """
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
    """Returns the pictures (conditioning id, seed) that the trials asked for, plain ones included, drawn or stored before: the cost of
    learning.
    """
    rows = list(trials)
    return {(row.conditioning.id, row.seed) for row in rows} | {(Conditioning(row.prompt).id, row.seed) for row in rows}


def pictures_of(written: Iterable[Written], seeds: Sequence[int]) -> set[tuple[str, int]]:
    """Returns the pictures (conditioning id, seed) that pulling what was written would ask for, plain ones included."""
    ids = {key for row in written for key in (row.conditioning.id, Conditioning(row.prompt.text).id)}
    return {(key, seed) for key in ids for seed in seeds}


def gain(trial: Trial, higher_is_better: bool) -> float:
    """Returns the gain of the rewriting over the plain prompt, positive where it is better; NaN where a picture was dropped."""
    if trial.value is None or trial.plain is None:
        return math.nan
    return (trial.value - trial.plain) * (1 if higher_is_better else -1)


def spread(trials: Iterable[Trial], higher_is_better: bool) -> float:
    """Returns the standard deviation of all gains, the unit of rewards; 1 where it is zero or there are fewer than two gains."""
    gains = np.array([gain(trial, higher_is_better) for trial in trials])
    gains = gains[~np.isnan(gains)]
    return float(gains.std()) or 1.0 if len(gains) > 1 else 1.0


def rows_of(trials: Iterable[Trial], higher_is_better: bool) -> dict[str, dict[str, Row]]:
    """Returns for each arm and prompt what the arm wrote and its mean score, higher being better; dropped pictures do not count."""
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
    """Returns the best known row of each prompt, of any arm."""
    best: dict[str, Row] = {}
    for by_prompt in rows.values():
        for prompt, row in by_prompt.items():
            if prompt not in best or row.score > best[prompt].score:
                best[prompt] = row
    return best


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


Pull = tuple[str, int]  # prompt and seed

FEWEST = 6  # prompts below which no bootstrap may end a search


def records(context: Context, trials: Trials, ids: Iterable[str]) -> list[ArmRecord]:
    """Returns the rewards of all pulls and the mean reward of the latest iteration, by arm, in units of the spread of all gains.

    An arm without a usable picture is left out.
    """
    higher, every = context.evaluator.objective.higher_is_better, trials.trials()
    unit = spread(every, higher)
    return _records(every, ids, lambda trial: gain(trial, higher) / unit)


def raw_records(trials: Trials, ids: Iterable[str]) -> list[ArmRecord]:
    """Returns the records with the released code's rewards, which are the scores themselves."""
    return _records(trials.trials(), ids, lambda trial: math.nan if trial.value is None else trial.value)


def _records(trials: Sequence[Trial], ids: Iterable[str], reward: Callable[[Trial], float]) -> list[ArmRecord]:
    found: list[ArmRecord] = []
    for arm in dict.fromkeys(ids):
        own = [(trial, reward(trial)) for trial in trials if trial.instruction == arm]
        own = [(trial, value) for trial, value in own if not math.isnan(value)]
        if own:
            pulls = {(trial.prompt, trial.seed): value for trial, value in own}
            last = max(trial.iteration for trial, _ in own)
            latest = float(np.mean([value for trial, value in own if trial.iteration == last]))
            found.append(ArmRecord(arm, tuple(pulls.values()), latest))
    return found


def mean(trials: Trials, arm: str, iteration: int) -> float | None:
    """Returns the mean score of the arm's batch; None where no picture was usable."""
    values = [row.value for row in trials.trials(arm, iteration) if row.value is not None]
    return float(np.mean(values)) if values else None


def accepted(context: Context, trials: Trials, iteration: int, parent: str, children: Sequence[ArmRow]) -> list[ArmRow]:
    """Returns the children that gained at least as much as their parent, on the same prompts and seeds; stores the outcome for
    each child.
    """
    kept, fates = [], []
    for child in children:
        ahead = list(_ahead(context, trials.trials(iteration=iteration), child["id"], parent).values())
        good = bool(ahead) and float(np.mean(ahead)) >= 0
        kept += [child] if good else []
        fate = "born" if good else "rejected"
        fates.append(Standing(iteration, child["id"], mean(trials, child["id"], iteration), len(ahead), None, fate))
    trials.add_standings(fates)
    return kept


def is_ahead(context: Context, trials: Trials, arm: str, other: str, confidence: float) -> bool:
    """Returns whether an arm gained more than another on the pulls that both have: the whole interval, clustered by prompt, above zero.

    False where the pulls are of fewer than FEWEST prompts.
    """
    ahead = _ahead(context, trials.trials(), arm, other)
    prompts = [prompt for prompt, _ in ahead]
    interval = paired_bootstrap(list(ahead.values()), prompts, context.settings.seed, confidence=confidence)
    return interval.n >= FEWEST and interval.above_zero


def _ahead(context: Context, trials: Sequence[Trial], arm: str, other: str) -> dict[Pull, float]:
    """By how much an arm gained more than another, on each pull for which both have a picture."""
    higher = context.evaluator.objective.higher_is_better
    gains = {id: {(trial.prompt, trial.seed): gain(trial, higher) for trial in trials if trial.instruction == id} for id in (arm, other)}
    both = {pull: value - gains[other].get(pull, math.nan) for pull, value in gains[arm].items()}
    return {pull: value for pull, value in both.items() if not math.isnan(value)}
