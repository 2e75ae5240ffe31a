"""The report of a learned instruction: its evidence comes first and as measured."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from limner.graph.state import SuffixRow
from limner.promptdb.records import Conditioning
from limner.serve.reports.optimize import render_optimize
from tests.doubles import FakeScorer, value_of
from tests.serve.reports.finished_run import DEVELOPMENT, FIRST, SHARP, finished, page_of, section


def test_an_improvement_is_told_with_its_interval_against_initial_and_plain(tmp_path: Path) -> None:
    page, _, state = page_of(tmp_path)
    head = section(page, "An instruction learned from 3 prompts", "The instruction")
    assert "Better on 8 of 8 held-out prompts by liking." in head
    for name in ("learned_initial", "learned"):
        row = state["outcome"]["scores"][name]["liking"]
        lo, hi = row["ci95"] or (0, 0)
        assert f"liking changed by {row['delta']:+.3g} (95 % interval {lo:+.3g} to {hi:+.3g}, 8 held-out prompts)" in head
    assert "2 rewritings were cut" in head and "Rejected answers of the chat model: 1 x preamble, 3 x refusal." in head
    assert "is not shown" not in page.text and "gives the instruction to other tools: the learned one" in page.text


def test_an_improvement_that_beats_no_rival_says_so(tmp_path: Path) -> None:
    strong: SuffixRow = {"positive": "sharp vivid colors", "negative": "", "pulls": 24}
    page, _, _ = page_of(tmp_path, suffix=strong)
    assert "That the learned instruction beats the best fixed suffix is not shown." in page.text
    assert "beats the plain prompts is not shown" not in page.text


def test_no_improvement_is_told_as_such(tmp_path: Path) -> None:
    page, _, _ = page_of(tmp_path, best=2)  # loud words are worth nothing
    assert "No difference found (smallest that could have been seen: " in page.text and "Better on" not in page.text
    assert "The initial instruction stays." in page.text
    assert "Winner of the search, not adopted" in page.text and "the initial one, since no other was shown to be better" in page.text


def test_a_winner_that_is_worse_is_called_worse(tmp_path: Path) -> None:
    page, _, _ = page_of(tmp_path, arms=(replace(FIRST, adds="sharp"), replace(SHARP, adds="4k")))
    assert "Worse on 8 of 8 held-out prompts by liking." in page.text and "The initial instruction stays." in page.text


def test_where_the_initial_instruction_won_there_is_nothing_beside_it(tmp_path: Path) -> None:
    page, _, _ = page_of(tmp_path, best=0)
    assert "Cannot judge: no instruction did better." in page.text and "The initial instruction stays." in page.text
    assert "The initial instruction itself." in page.text and "not adopted" not in page.text


def test_the_learned_instruction_stands_beside_the_initial_one_word_by_word(tmp_path: Path) -> None:
    context, state = finished(tmp_path)
    html = render_optimize(context, state).split("<h2>The instruction</h2>")[1].split("<h2>")[0]
    assert "Write it well." in html and re.findall(r"<(ins|del)>(.*?)</", html) == [("del", "well."), ("ins", "sharply.")]


def test_every_scorer_shows_all_four_groups_and_their_differences(tmp_path: Path) -> None:
    page, context, state = page_of(tmp_path)
    part = section(page, "Scores on 8 held-out prompts", "What becomes of a prompt")
    table = {
        group: np.mean([[value_of(context.evaluator.image(key)) for key in row["drawings"][group]] for row in state["outcome"]["prompts"]])
        for group in ("plain", "initial", "learned", "suffix")
    }
    means = " ".join(f"{table[group]:.4g}" for group in table)  # all scorers of the stage read the same number
    assert f"Plain Initial Learned Fixed suffix liking objective {means} likeness {means}" in part
    assert f"truth judge, kept out of every search {means}" in part
    for before, after, said in [
        ("initial", "learned", "learned against initial"),
        ("plain", "learned", "learned against plain"),
        ("plain", "initial", "initial against plain"),
        ("plain", "suffix", "fixed suffix against plain"),
        ("suffix", "learned", "learned against fixed suffix"),
    ]:
        numbers = f"{table[before]:.4g} {table[after]:.4g} {table[after] - table[before]:+.4g}"
        assert len(re.findall(re.escape(f"{said} {numbers} ") + r"[+-]\S+ to [+-]", part)) == 3
    lo, hi = state["outcome"]["scores"]["suffix"]["likeness"]["ci95"] or (0, 0)
    assert f"{lo:+.3g} to {hi:+.3g}" in part


def test_a_dot_stands_for_each_prompt_and_better_is_on_the_right(tmp_path: Path) -> None:
    loss = FakeScorer("loss", lambda image, text: 1 - value_of(image), higher_is_better=False)
    html = render_optimize(*finished(tmp_path, scorers=[loss, FakeScorer("liking")]))
    lines = re.findall(r'<svg width="200".*?</svg>', html, re.DOTALL)
    assert len(lines) == 2 * 5 and all(line.count('class="dot"') == 8 for line in lines)
    dots = [[float(x) for x in re.findall(r'class="dot" cx="([\d.]+)"', line)] for line in lines]
    assert min(dots[0] + dots[5]) > 100
    means = [float(re.findall(r'class="mean" cx="([\d.]+)"', line)[0]) for line in lines]
    assert means[0] > 150 and means[5] > 150 and means[:5] == pytest.approx(means[5:], abs=0.2)


def test_the_share_that_a_fixed_suffix_keeps_is_that_of_the_gains(tmp_path: Path) -> None:
    page, _, state = page_of(tmp_path)
    scores = state["outcome"]["scores"]
    share = (scores["suffix"]["liking"]["delta"] or 0) / (scores["learned"]["liking"]["delta"] or 1)
    assert 0.05 < share < 0.5
    assert f"The best fixed suffix keeps {share:.0%} of the learned instruction's gain over plain." in page.text
    assert "That suffix is vivid colors , with the negative list grain , found with 24 pictures." in page.text


def test_a_share_of_no_gain_is_not_told(tmp_path: Path) -> None:
    page, _, _ = page_of(tmp_path, best=2)
    assert "cannot be said" in page.text and "fixed suffix keeps" not in page.text.replace("the best fixed suffix keeps cannot", "")


def test_a_loss_that_falls_is_a_gain_everywhere(tmp_path: Path) -> None:
    loss = FakeScorer("loss", lambda image, text: 1 - value_of(image), higher_is_better=False)
    page, _, state = page_of(tmp_path, scorers=[loss, FakeScorer("liking")])
    row = state["outcome"]["scores"]["learned_initial"]["loss"]
    assert (row["delta"] or 0) < 0 and f"loss changed by {row['delta']:+.3g}" in page.text and "lower being better" in page.text
    assert "The best fixed suffix keeps" in page.text and "lower is better" in page.text
    rows = dict(re.findall(r"(#1) winner 2 (\S+)", page.text))
    assert float(rows["#1"]) > 0.3


def test_without_a_suffix_three_groups_are_left(tmp_path: Path) -> None:
    page, _, state = page_of(tmp_path, suffix=None)
    assert "suffix" not in state["outcome"]["scores"] and "Fixed suffix" not in page.text and "against fixed suffix" not in page.text
    assert "No fixed suffix was measured" in page.text
    assert len(page.pictures) == 3 * 8 + 3 * 3 * 2


def test_professional_prompts_are_a_level_on_development_prompts(tmp_path: Path) -> None:
    page, context, _ = page_of(tmp_path, professional=("masterpiece",))
    rows = [
        [value_of(context.evaluator.image(context.evaluator.drawing(asked, seed).id)) for seed in context.settings.search]
        for prompt in DEVELOPMENT
        for asked in (Conditioning(f"{prompt}, masterpiece"), Conditioning(prompt))
    ]
    mean, plain = np.mean(rows[::2]), np.mean(rows[1::2])
    said = f"on 3 development prompts and search seeds: liking {mean:.4g} where the plain prompts have {plain:.4g}, a gain of "
    assert f"{said}{mean - plain:+.4g} (95 % interval" in page.text and "a level to aim at and no comparison" in page.text
    assert "a level to aim at" not in page_of(tmp_path / "without", professional=())[0].text


def test_prompts_are_shown_as_both_instructions_wrote_them(tmp_path: Path) -> None:
    context, state = finished(tmp_path)
    part = render_optimize(context, state).split("<h2>What becomes of a prompt</h2>")[1].split("<h2>")[0]
    assert part.count('class="sample"') == 6 and "The first 6 of 8 held-out prompts" in part and "not picked by their result" in part
    assert re.findall(r"<ins>(.*?)</ins>", part)[:2] == ["4k", "sharp focus"] and part.count("Negative:</span> blurry") == 12


def test_one_prompt_alone_has_no_interval(tmp_path: Path) -> None:
    page, _, _ = page_of(tmp_path, development=["a cat"], heldout=["a cat"])
    assert "An instruction learned from 1 prompt " in page.text and "Scores on 1 held-out prompt " in page.text
    assert "Cannot judge: liking has a value for 1 of the held-out prompts" in page.text and "95 % interval +" not in page.text
    assert not re.search(r"\bnan\b", page.text)
