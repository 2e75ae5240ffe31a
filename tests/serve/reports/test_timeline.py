"""The report of a DF-Prompt: bars and strip, and what they may cost."""

from __future__ import annotations

from pathlib import Path

from limner.promptdb.records import Conditioning
from limner.serve.reports.refine import render_refine
from limner.serve.reports.timeline import THICK, WIDTH, timeline
from limner.tools.prompt_language.parse import read
from limner.tools.solvers.df_prompt.sliding import PLACES
from limner.tools.solvers.df_prompt.solver import DfPrompt
from tests.doubles import FakeImageModel, FakeScorer
from tests.graph.stage import refined, stage
from tests.serve.reports.test_refine import Page
from tests.tools.solvers.df_prompt.test_solver import likes_late_sharpness

VARIANTS = [("a red apple, sharp focus, golden hour", "blurry")]


def test_each_word_is_a_bar_as_long_as_it_acts_and_as_thick_as_it_weighs() -> None:
    found = timeline(read("a cat, [red:0.5-1:1.5], [never:0.5-0.5:1]", "[blurry:0-0.25:0.5]"))
    bars = {row["words"]: (row["x"], row["width"], row["thickness"], row["negative"]) for row in found["rows"]}
    assert bars["a cat"] == (0, WIDTH, THICK, False)
    assert bars["red"] == (0, WIDTH / 2, 1.5 * THICK, False)
    assert bars["blurry"] == (WIDTH * 0.75, WIDTH / 4, THICK / 2, True)
    assert bars["never"][1] == 0
    assert found["prompt"] == "a cat, [red:0.5-1:1.5], [never:0.5-0.5:1]"
    assert timeline(Conditioning("a cat", "blurry")) == {}


def test_a_refined_df_prompt_is_told_with_bars_and_a_strip_within_the_budget(tmp_path: Path) -> None:
    context = stage(tmp_path, FakeImageModel(likes_late_sharpness), variants=VARIANTS, solvers={"df-prompt": DfPrompt}, images=64)
    state, _ = refined(context, method="df-prompt")
    outcome = state["outcome"]
    assert outcome["improved"] and outcome["result"]["origin"] == "df-prompt"
    assert len(outcome["strip"]) == PLACES and context.evaluator.budget.spent["images"] <= 64
    page = Page(render_refine(context, state))
    assert "Which words act when" in page.text and "sharp focus" in page.text and "Thickness is weight" in page.text
    assert "0 % to 50 %" in page.text and len(page.pictures) == 16 + PLACES
    assert page.tags.count("rect") >= 3


def test_a_plain_result_has_neither(tmp_path: Path) -> None:
    context = stage(tmp_path, scorers=[FakeScorer("liking")])
    state, _ = refined(context)
    page = Page(render_refine(context, state))
    assert "strip" not in state["outcome"] and "Which words act when" not in page.text


def test_words_are_escaped(tmp_path: Path) -> None:
    context = stage(
        tmp_path,
        FakeImageModel(likes_late_sharpness),
        [("a red apple, <b>sharp</b> focus", "")],
        solvers={"df-prompt": DfPrompt},
        images=64,
    )
    html = render_refine(context, refined(context, method="df-prompt")[0])
    assert "<b>" not in html and "&lt;b&gt;sharp" in html
