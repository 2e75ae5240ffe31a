"""What the report of a learned instruction tells of the search: curves, the tree of arms, who led when; never as a result."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from limner.graph.state import Context
from limner.promptdb.images import image_hash
from limner.promptdb.records import Conditioning, Instruction
from limner.promptdb.trials import Arm, Trials
from limner.serve.reports.optimize import render_optimize
from limner.tools.stats import paired_bootstrap
from tests.serve.reports.finished_run import DEVELOPMENT, FIRST, HELDOUT, LOUD, SHARP, VIVID, Made, finished, page_of, section, shown
from tests.serve.reports.test_refine import Page


def test_every_point_of_a_curve_is_a_mean_gain_with_its_interval(tmp_path: Path) -> None:
    page, context, _ = page_of(tmp_path)
    gains = [row.value - row.plain for row in Trials(context.db, "run-1").trials(SHARP.id, 1) if row.value and row.plain]
    by_prompt = np.array(gains).reshape(3, 2).mean(axis=1)  # trials come in the order of prompts, two seeds each
    reach = 4.302653 * by_prompt.std(ddof=1) / math.sqrt(3)  # Student's t with 2 degrees of freedom
    mean = by_prompt.mean()
    assert f"#1 winner 2 {mean:+.4g} {mean - reach:+.3g} to {mean + reach:+.3g} 3" in page.text
    assert f"#1, iteration 2: {mean:+.4g} ({mean - reach:+.3g} to {mean + reach:+.3g})" in page.text


def test_higher_gains_are_drawn_higher_and_arms_differ_in_more_than_colour(tmp_path: Path) -> None:
    html = render_optimize(*finished(tmp_path))
    drawing = html.split('role="img" aria-label="Gain over')[1].split("</svg>")[0]
    points = re.findall(r"<title>(.*?), iteration (\d): (\S+) .*?</title>.*?(<(?:circle|rect|path) class=\"point\".*?/>)", drawing)
    assert len(points) == 2 + 3 + 1 + 2 + 1
    assert {name: re.findall(r"<(\w+)", mark)[0] for name, _, _, mark in points} == {
        "#0": "rect",
        "#1": "circle",
        "#2": "circle",
        "#3": "circle",
        "professional prompts": "path",
    }
    assert {re.findall(r' r="(\S+?)"', mark)[0] for name, _, _, mark in points if name == "#1"} == {"5"}
    levels = [
        (float(gain), float(re.findall(r' cy="(\S+?)"', mark)[0])) for name, _, gain, mark in points if "circle" in mark and name != "#0"
    ]
    assert [y for _, y in sorted(levels)] == sorted((y for _, y in levels), reverse=True)
    assert drawing.index('<g class="other">') < drawing.index('<g class="professional">') < drawing.index('<g class="learned">')
    numbers = re.findall(r'<text x="\S+" y="\S+" text-anchor="middle">(#\d)</text>', drawing)
    assert sorted(numbers) == ["#0", "#1", "#2", "#3"]


def test_search_numbers_are_called_no_result(tmp_path: Path) -> None:
    page, _, _ = page_of(tmp_path)
    assert "the same that chose the winner: it shows how the winner was found, and none of it is a result" in page.text
    before = page.text.index("none of it is a result")
    assert all(page.text.index(words) > before for words in ("winner of the search", "Which instruction came from which"))


def test_the_tree_puts_each_child_below_its_parent_with_the_text_gradient(tmp_path: Path) -> None:
    context, state = finished(tmp_path)
    html = render_optimize(context, state)
    rows = re.findall(r"<li style=\"--depth: (\d+)\".*?<details(.*?)>.*?</li>", html, re.DOTALL)
    assert rows == [("0", " open"), ("1", " open"), ("2", ""), ("1", "")]
    tree = section(Page(html), "Which instruction came from which", "What the leading instruction drew")
    order = [tree.index(f"#{number} ") for number in (0, 1, 3, 2)]
    assert order == sorted(order)
    assert "from #0 by: Blur costs points." in tree and "from #0 by: Quiet words are weak." in tree
    assert "#3 kept in iteration 3" in tree and "from #1 as a variant, without a finding" in tree
    assert "#0 initial dropped in iteration 2" in tree and "#1 winner kept in iteration 3" in tree and "#2 rejected in iteration 1" in tree
    assert tree.count("6 pulls") == 4
    whole = paired_bootstrap(*_pulls(context, SHARP.id))
    assert f"{whole.mean:+.4g} ({whole.lo:+.3g} to {whole.hi:+.3g}), 6 pulls" in tree


def _pulls(context: Context, arm: str) -> tuple[list[float], list[str]]:
    rows = [row for row in Trials(context.db, "run-1").trials(arm) if row.value is not None and row.plain is not None]
    return [(row.value or 0) - (row.plain or 0) for row in rows], [row.prompt for row in rows]


def test_arms_without_a_known_parent_are_roots_in_the_order_they_were_made(tmp_path: Path) -> None:
    context, state = finished(tmp_path, heldout=HELDOUT[:2], development=DEVELOPMENT[:1])
    orphans = [Arm(Instruction(f"Orphan {number}.", "0" * 24, "Nobody knows."), 2) for number in range(2)]
    Trials(context.db, "run-1").add_arms(orphans)
    tree = section(Page(render_optimize(context, state)), "Which instruction came from which", "What the leading instruction drew")
    assert re.findall(r"#(\d) (?:initial |winner )?(?:\w+ in iteration|not ranked)", tree) == ["0", "1", "3", "2", "4", "5"]
    assert tree.count("not ranked 0 pulls Orphan") == 2 and "Nobody knows" not in tree


def test_a_chain_of_a_hundred_arms_is_shown_whole(tmp_path: Path) -> None:
    chain = [
        Made(f"Instruction {at}.", f"word{at}", at - 1 if at else None, f"Finding {at}.", ((at // 5, 0.5, "kept"),)) for at in range(100)
    ]
    page, _, _ = page_of(tmp_path, arms=chain, best=99, development=DEVELOPMENT[:1], heldout=HELDOUT[:2])
    numbers = [int(number) for number in re.findall(r"#(\d+)(?: winner)?(?: initial)? kept in iteration", page.text)]
    assert numbers == list(range(100)) and all(f"by: Finding {at}." in page.text for at in range(1, 100))
    depths = {int(re.findall(r"--depth: (\d+)", value)[0]) for name, value in page.attributes if "--depth" in value}
    assert max(depths) == 12 and page.tags.count("details") == 100 + 1


def test_sixty_arms_of_one_iteration_stay_inside_the_drawing(tmp_path: Path) -> None:
    arms = [FIRST, *(Made(f"Instruction {at}.", f"word{at}", 0, f"Finding {at}.", ((0, 0.5, "kept"),)) for at in range(1, 60))]
    html = render_optimize(*finished(tmp_path, arms=arms, development=DEVELOPMENT[:2], heldout=HELDOUT[:2]))
    drawing = html.split('role="img" aria-label="Gain over')[0].rsplit('<svg class="curves" width="', 1)[1]
    width = int(drawing.split('"')[0])
    places = [float(x) for x in re.findall(r'class="end" x1="(\S+?)"', html)]
    assert len(places) == 60 + 1 + 1 and min(places) > 62 and max(places) < width
    assert len(set(places)) == len(places)


def test_iterations_show_what_their_leading_instruction_drew_beside_the_plain_prompt(tmp_path: Path) -> None:
    page, context, _ = page_of(tmp_path)
    part = page.text.split("What the leading instruction drew")[1]
    assert "Iteration 1 #0 " in part and "Iteration 2 #1, the winner" in part and "Iteration 3 #3 " in part  # by rank, not by score
    keys = [
        context.evaluator.drawing(asked, context.settings.search[0]).id
        for arm in (FIRST, SHARP, VIVID)
        for prompt in sorted(DEVELOPMENT)
        for asked in (Conditioning(prompt), arm.written(prompt))
    ]
    assert [image_hash(shown(uri)) for uri in page.pictures[-len(keys) :]] == [image_hash(context.evaluator.image(key)) for key in keys]


def test_an_iteration_that_ranked_nobody_has_no_leader(tmp_path: Path) -> None:
    page, _, _ = page_of(tmp_path, arms=(FIRST, SHARP, replace(LOUD, fates=((5, None, "rejected"),))), heldout=HELDOUT[:2])
    assert re.findall(r"Iteration (\d)", page.text.split("What the leading instruction drew")[1]) == ["1", "2", "3"]


def test_of_many_iterations_some_are_shown_from_first_to_last(tmp_path: Path) -> None:
    long = replace(FIRST, fates=tuple((at, 0.5, "kept") for at in range(30)))
    page, _, _ = page_of(tmp_path, arms=(long, SHARP), development=DEVELOPMENT[:1], heldout=HELDOUT[:2])
    part = page.text.split("What the leading instruction drew")[1]
    turns = [int(number) for number in re.findall(r"Iteration (\d+)", part)]
    assert len(turns) == 8 and turns[0] == 1 and turns[-1] == 30 and "22 more iterations are not shown" in part
