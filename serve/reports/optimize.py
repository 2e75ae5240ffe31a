"""The report of a learned instruction: one self-contained HTML file.

Builds the data of templates/optimize.html from a run. Results come first, all of them from held-out prompts and seeds; how the search went
follows, marked as no result.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from limner.graph.optimize.heldout import COMPARISONS
from limner.graph.optimize.state import OptimizeState
from limner.graph.state import Context, LearnOutcome
from limner.graph.verdict import is_gain
from limner.promptdb.records import Conditioning
from limner.promptdb.trials import Trial, Trials
from limner.serve.reports import page
from limner.serve.reports.curves import curves_view
from limner.serve.reports.refine import word_diff
from limner.serve.reports.search import Search, tree_view
from limner.tools.evaluation import Evaluation

GROUPS = {"plain": "Plain", "initial": "Initial", "learned": "Learned", "suffix": "Fixed suffix"}
SAID = {
    "learned_initial": "learned against initial",
    "learned": "learned against plain",
    "initial": "initial against plain",
    "suffix": "fixed suffix against plain",
    "learned_suffix": "learned against fixed suffix",
}
SHOWN, DIFFED = 12, 6  # held-out prompts with pictures, and with their texts
ITERATIONS, PROMPTS = 8, 4  # iterations with pictures, and prompts of each
LONGEST = 320  # pixels of a large picture: there are many


def write_optimize(context: Context, state: OptimizeState, folder: Path) -> Path:
    """Writes the page into `folder`, complete or not at all, and returns its path. Raises BadInput where it cannot be written."""
    path = folder / "report.html"
    page.write_text(path, render_optimize(context, state))
    return path


def render_optimize(context: Context, state: OptimizeState) -> str:
    """Returns the page. The template engine escapes all texts by people and models."""
    trials = Trials(context.db, state["run"])
    outcome = state["outcome"]
    search = Search(
        trials.arms(), trials.trials(), trials.standings(), outcome["best"]["id"], outcome["higher_is_better"][outcome["objective"]]
    )
    return page.render("optimize.html", _view(context, state, search, HeldOut(context, outcome)))


@dataclass(frozen=True)
class HeldOut:
    """The held-out comparison, read again for its single pictures and scores."""

    context: Context
    outcome: LearnOutcome

    @cached_property
    def groups(self) -> list[str]:
        """The measured ones of GROUPS, in that order."""
        return [name for name in GROUPS if name != "suffix" or self.outcome["suffix"]]

    @cached_property
    def found(self) -> Evaluation:
        """The scores; rows are the prompts of each group, one group after the other."""
        prompts = self.outcome["prompts"]
        texts = [Conditioning.from_json(row["texts"][group]) for group in self.groups for row in prompts]
        references = [row["prompt"] for _ in self.groups for row in prompts]
        return self.context.evaluator.known(texts, references, self.context.settings.heldout, list(self.outcome["scores"]["learned"]))

    def table(self, scorer: str) -> np.ndarray:
        """Returns scores (group, prompt, seed)."""
        return self.found.values[scorer].reshape(len(self.groups), len(self.outcome["prompts"]), len(self.found.seeds))

    def by_prompt(self, scorer: str, comparison: str) -> np.ndarray:
        """Returns the mean difference of each prompt with a usable pair of pictures."""
        before, after = (self.table(scorer)[self.groups.index(group)] for group in COMPARISONS[comparison])
        rows = (row[~np.isnan(row)] for row in after - before)
        return np.array([row.mean() for row in rows if len(row)])


def _view(context: Context, state: OptimizeState, search: Search, heldout: HeldOut) -> dict[str, Any]:
    outcome = state["outcome"]
    initial, best = outcome["initial"], outcome["best"]
    return {
        "run": state["run"],
        "checkpoint": context.evaluator.model.name,
        "chat_model": _chat_model(context),
        "prompts": len(state["prompts"]),
        "improved": outcome["improved"],
        "verdict": outcome["verdict"]["words"],
        "summary": _summary(outcome),
        "warnings": [*_notes(context, state), *outcome["warnings"]],
        "same": best["id"] == initial["id"],
        "initial": initial["text"],
        "diff": word_diff(initial["text"], best["text"]),
        "suffix": outcome["suffix"],
        "share": _share(outcome),
        "objective": outcome["objective"],
        "heldout": len(outcome["prompts"]),
        "groups": [GROUPS[name] for name in heldout.groups],
        "scores": _scores_view(context, outcome, heldout),
        "professional": _professional_view(search),
        "texts": _texts_view(outcome),
        "pictures": _pictures_view(context, outcome, heldout),
        "seed": context.settings.heldout[0],
        "aspect": page.aspect(context),
        "curves": curves_view(search),
        "tree": tree_view(search),
        "iterations": _iterations_view(context, search),
        "left_out": max(0, len(search.leaders()) - ITERATIONS),
        "facts": _facts(context, state, search),
    }


def _chat_model(context: Context) -> str:
    return "offline stand-in, no language model" if context.chat.name == page.OFFLINE else context.chat.name


def _summary(outcome: LearnOutcome) -> str:
    objective, scores = outcome["objective"], outcome["scores"]
    better = "" if outcome["higher_is_better"][objective] else ", lower being better"
    row, plain = scores["learned_initial"][objective], scores["learned"][objective]
    beside = f" Against the plain prompts {page.change(objective, plain, 'held-out prompts')}{better}." if plain["ci95"] else ""
    if outcome["best"]["id"] == outcome["initial"]["id"]:
        return f"The initial instruction stays.{beside}"
    if row["ci95"] is None:
        return "The initial instruction stays."
    against = f"Against the initial instruction {page.change(objective, row, 'held-out prompts')}{better}."
    if outcome["improved"]:
        return against + beside
    return f"{against} The initial instruction stays.{beside}"


def _notes(context: Context, state: OptimizeState) -> list[str]:
    """Returns remarks for the reader that are no errors."""
    texts, outcome = [], state["outcome"]
    objective = outcome["objective"]
    higher = outcome["higher_is_better"][objective]
    if context.chat.name == page.OFFLINE:
        texts.append(
            "No chat model is configured: the offline stand-in wrote prompts and instructions by rules and counts. It is no language "
            "model, and this page is no evidence of what text gradients by one can do."
        )
    if outcome["improved"]:
        rivals = {"learned": "the plain prompts", "learned_suffix": "the best fixed suffix"}
        beaten = {name: is_gain(outcome["scores"][name][objective], higher) for name in rivals if name in outcome["scores"]}
        texts += [f"That the learned instruction beats {rivals[name]} is not shown." for name, gained in beaten.items() if not gained]
    if dropped := {kind: count for kind, count in sorted(state.get("dropped", {}).items()) if count}:
        texts.append(f"Rejected answers of the chat model: {', '.join(f'{count} x {kind}' for kind, count in dropped.items())}.")
    return texts


def _share(outcome: LearnOutcome) -> str:
    """Returns a sentence on how much of the learned instruction's gain a fixed suffix also has; '' where there is no gain."""
    objective, scores = outcome["objective"], outcome["scores"]
    suffix, learned = scores.get("suffix", {}).get(objective), scores["learned"][objective]
    if suffix is None or suffix["delta"] is None or learned["delta"] is None:
        return "No fixed suffix was measured, so it is not known how much of the gain one would give."
    if not is_gain(learned, outcome["higher_is_better"][objective]):
        return "What share of the gain the best fixed suffix keeps cannot be said: the learned instruction's gain over plain is not shown."
    return f"The best fixed suffix keeps {suffix['delta'] / learned['delta']:.0%} of the learned instruction's gain over plain."


def _scores_view(context: Context, outcome: LearnOutcome, heldout: HeldOut) -> list[dict[str, Any]]:
    scores = outcome["scores"]
    views = []
    for scorer in scores["learned"]:
        means = [scores["learned"][scorer]["before"], *(scores[name][scorer]["after"] for name in heldout.groups[1:])]
        rows = {
            name: page.difference_view(context, scorer, scores[name][scorer], heldout.by_prompt(scorer, name))
            for name in SAID
            if name in scores
        }
        differences = [{**row, "said": SAID[name], "p": _p(scores[name][scorer].get("p"))} for name, row in rows.items()]
        views.append({"head": rows["learned"], "means": [page.number(mean) for mean in means], "differences": differences})
    return views


def _p(value: float | None) -> str:
    return "" if value is None else "< 0.001" if value < 0.001 else f"{value:.2g}"


def _professional_view(search: Search) -> dict[str, Any]:
    found = search.professional()
    if found is None:
        return {}
    value, plain, gain = found
    return {
        "value": page.number(value),
        "plain": page.number(plain),
        "gain": page.signed(gain.mean),
        "interval": page.interval([gain.lo, gain.hi]),
        "n": gain.n,
    }


def _texts_view(outcome: LearnOutcome) -> list[dict[str, Any]]:
    """Returns what both instructions made of the first prompts, compared with the plain ones."""
    views = []
    for row in outcome["prompts"][:DIFFED]:
        texts = {group: Conditioning.from_json(row["texts"][group]) for group in ("initial", "learned")}
        views.append(
            {
                "plain": row["prompt"],
                "written": [
                    {"by": GROUPS[group], "diff": word_diff(row["prompt"], text.text), "negative": text.negative}
                    for group, text in texts.items()
                ],
            }
        )
    return views


def _pictures_view(context: Context, outcome: LearnOutcome, heldout: HeldOut) -> list[dict[str, Any]]:
    """Returns the first prompts, each with a picture of every group on the first held-out seed."""
    rows = outcome["prompts"][:SHOWN]
    values = heldout.table(outcome["objective"])
    uris = page.data_uris(context, [row["drawings"][group][0] for row in rows for group in heldout.groups], LONGEST)
    return [
        {
            "prompt": row["prompt"],
            "cells": [
                {"group": GROUPS[group], "image": uris[row["drawings"][group][0]], "score": page.number(float(values[column, place, 0]))}
                for column, group in enumerate(heldout.groups)
            ],
        }
        for place, row in enumerate(rows)
    ]


def _iterations_view(context: Context, search: Search) -> list[dict[str, Any]]:
    """Returns what the leading arm of an iteration drew for its first prompts, beside the plain ones; evenly spread iterations."""
    leaders = list(search.leaders().items())
    chosen = [leaders[place] for place in sorted({round(at) for at in np.linspace(0, len(leaders) - 1, ITERATIONS)})] if leaders else []
    seed = context.settings.search[0]
    shown: dict[tuple[int, str], list[Trial]] = {}
    for iteration, arm in chosen:
        own = [trial for trial in search.trials if (trial.iteration, trial.instruction, trial.seed) == (iteration, arm, seed)]
        shown[iteration, arm] = own[:PROMPTS]

    def drawings(trial: Trial) -> list[str]:
        return [context.evaluator.drawing(asked, seed).id for asked in (Conditioning(trial.prompt), trial.conditioning)]

    uris = page.data_uris(context, [key for rows in shown.values() for trial in rows for key in drawings(trial)], LONGEST)
    return [
        {
            "iteration": iteration + 1,
            "number": search.numbers[arm],
            "learned": arm == search.winner,
            "cells": [
                {
                    "prompt": trial.prompt,
                    "text": trial.conditioning.text,
                    "plain": {"image": uris[drawings(trial)[0]], "score": page.number(trial.plain)},
                    "arm": {"image": uris[drawings(trial)[1]], "score": page.number(trial.value)},
                }
                for trial in rows
            ],
        }
        for (iteration, arm), rows in shown.items()
    ]


def _facts(context: Context, state: OptimizeState, search: Search) -> list[page.Fact]:
    outcome, usage, plan, learning = state["outcome"], context.chat.usage, context.plan, context.learning
    asked = {(trial.conditioning.id, trial.seed) for trial in search.trials}
    asked |= {(Conditioning(trial.prompt).id, trial.seed) for trial in search.trials}
    checked = {key for row in outcome["prompts"] for keys in row["drawings"].values() for key in keys}
    suffix = outcome["suffix"]["pulls"] if outcome["suffix"] else 0
    tokens = [f"{usage.prompt_tokens:,} in, {usage.completion_tokens:,} out"] if usage.prompt_tokens else []
    return [
        *page.spent_facts(context),
        *(("Chat tokens", text) for text in tokens),
        ("Chat answers", f"{usage.repaired} repaired, {usage.rejected} thrown away, {usage.retried} requests repeated"),
        ("Pictures to learn", f"{len(asked)} asked for, {plan.learning} planned"),
        ("Pictures for the suffix", f"{suffix} asked for, {plan.suffix} planned"),
        ("Pictures held out", f"{len(checked)} asked for, {plan.heldout} planned"),
        *page.drawing_facts(context),
        ("Prompts", f"{len(state['prompts'])} learned on, {len(outcome['prompts'])} held out"),
        ("Iterations", f"{state['iteration'] + 1} of {learning.iterations}, {learning.batch_size} prompts each"),
        ("Ended because", outcome["stopped"] or "not said"),
        ("Arms", f"{len(search.arms)} in all, {learning.arms} survive, {learning.children} children at most"),
        ("Selector", "the reference's, --compat maai" if learning.reference_ucb else learning.selector),
        ("Professional prompts", "take part" if learning.professional else "take no part"),
    ]
