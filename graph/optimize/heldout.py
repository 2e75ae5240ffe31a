"""The held-out check of a learned instruction: prompts and seeds that took no part, every scorer, paired and clustered by prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from langgraph.runtime import Runtime

from limner.graph.intent import missing_evidence, undrawable
from limner.graph.nodes import emitter, missing_images, tell
from limner.graph.optimize import arms
from limner.graph.optimize.state import OptimizeState
from limner.graph.optimize.suffix import with_suffix
from limner.graph.state import ArmRow, Context, LearnOutcome, ScoreRow, Verdict
from limner.graph.verdict import BETTER, PROMPTS, score_row, verdict
from limner.promptdb.files.prompt_file import BatchPrompt
from limner.promptdb.records import Conditioning
from limner.tools.budget import BudgetSpent
from limner.tools.evaluation import Evaluation

COMPARISONS = {
    "initial": ("plain", "initial"),
    "learned": ("plain", "learned"),
    "learned_initial": ("initial", "learned"),
    "suffix": ("plain", "suffix"),
    "learned_suffix": ("suffix", "learned"),
}
"""Name -> the groups that are compared, before and after."""


def check_heldout(state: OptimizeState, runtime: Runtime[Context], initial: ArmRow, chosen: ArmRow) -> tuple[LearnOutcome, list[str]]:
    """Measures the instructions on as many held-out prompts as the plan covers; returns the outcome and the warnings.

    `initial`, `chosen`: the initial instruction and the winner of the search. Raises ServerAway where the chat server does not answer.
    """
    context = runtime.context
    evaluator, seeds = context.evaluator, context.settings.heldout
    prompts = [BatchPrompt(row["text"], tuple(row["pins"])) for row in state["heldout"]][: context.plan.heldout_prompts]
    asked = {initial["id"]: initial["text"], chosen["id"]: chosen["text"]}
    writing = arms.write(context, asked, prompts, context.learning.professional)
    by_arm = {(row.arm, row.prompt.text): row.conditioning for row in writing.written}
    groups = {
        "plain": [Conditioning(prompt.text) for prompt in prompts],
        "initial": [by_arm[initial["id"], prompt.text] for prompt in prompts],
        "learned": [by_arm[chosen["id"], prompt.text] for prompt in prompts],
    }
    if suffix := state["suffix"]:
        groups["suffix"] = [with_suffix(prompt.text, (suffix["positive"], suffix["negative"])) for prompt in prompts]
    everything = [conditioning for group in groups.values() for conditioning in group]
    references = [prompt.text for prompt in prompts] * len(groups)
    tell(runtime, {"kind": "draw", "images": missing_images(evaluator, everything, seeds)})
    warnings: list[str] = []
    try:
        found = evaluator.evaluate(everything, references, seeds, emit=emitter(runtime))
    except BudgetSpent as error:
        warnings.append(f"the held-out check is not complete: {error}")
        found = evaluator.known(everything, references, seeds)
    scores = {
        name: {scorer: _compared(found, scorer, list(groups), pair, len(prompts), context.settings.seed) for scorer in found.values}
        for name, pair in COMPARISONS.items()
        if set(pair) <= set(groups)
    }
    if state["shared"]:
        warnings.append("there is one prompt alone: what is reported was measured on it, on seeds that took no part")
    if writing.cut + state["cut"]:
        warnings.append(f"{writing.cut + state['cut']} rewritings were cut at the text encoder's limit")
    if evaluator.dropped:
        warnings.append(f"{evaluator.dropped} pictures were dropped: the model drew NaN, or a scorer had no answer")
    nothing = "" if chosen["id"] != initial["id"] else "no instruction did better in the search than the initial one"
    judged = _judged(context, scores["learned_initial"], found.higher_is_better, prompts, nothing)
    outcome: LearnOutcome = {
        "verdict": judged,
        "improved": judged["kind"] == BETTER,
        "objective": evaluator.objective.name,
        "higher_is_better": dict(found.higher_is_better),
        "initial": initial,
        "best": chosen,
        "suffix": state["suffix"],
        "scores": scores,
        "prompts": _shown(found, groups, prompts),
        "stopped": "",
        "warnings": [],
    }
    return outcome, warnings


def _judged(
    context: Context, scores: Mapping[str, ScoreRow], higher: Mapping[str, bool], prompts: Sequence[BatchPrompt], nothing: str
) -> Verdict:
    """The verdict on the learned instruction against the initial one. `nothing`: why there is nothing to compare, if so."""
    strange = sum(bool(undrawable(context.card, prompt.text)) for prompt in prompts)
    reason = f"its vocabulary does not know what {strange} of {len(prompts)} held-out prompts are about"
    return verdict(
        scores,
        higher,
        context.evaluator.objective.name,
        unit=PROMPTS,
        undrawable=reason if 2 * strange > len(prompts) else "",
        nothing=nothing,
        missing=missing_evidence(context),
    )


def _compared(found: Evaluation, scorer: str, groups: list[str], pair: tuple[str, str], count: int, seed: int) -> ScoreRow:
    """Means of two groups and their paired difference, resampling whole prompts; `n` counts prompts."""
    table = found.values[scorer].reshape(len(groups), count, -1)
    before, after = (table[groups.index(name)] for name in pair)
    clusters = np.broadcast_to(np.arange(count)[:, None], before.shape)
    return score_row(before, after, clusters, seed)


def _shown(found: Evaluation, groups: dict[str, list[Conditioning]], prompts: list[BatchPrompt]) -> list[dict[str, Any]]:
    """The texts and drawings of each prompt by group, for the report."""
    ids = found.drawings.reshape(len(groups), len(prompts), -1)
    return [
        {
            "prompt": prompt.text,
            "texts": {name: groups[name][place].to_json() for name in groups},
            "drawings": {name: [str(key) for key in ids[row, place]] for row, name in enumerate(groups)},
        }
        for place, prompt in enumerate(prompts)
    ]
