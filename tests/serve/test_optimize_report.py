"""The report of a learned instruction: the evidence first and as measured, the search as what it is, and no text as markup."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agents.offline import OfflineChat
from graph.learning import LearningPlan, LearningSettings
from graph.optimize_heldout import COMPARISONS
from graph.optimize_state import ArmRow, OptimizeState, SuffixRow
from graph.state import Context, ScoreRow
from promptdb.errors import BadInput
from promptdb.images import image_hash
from promptdb.records import Conditioning, Drawing, Instruction, SamplerSettings
from promptdb.trials import Arm, Standing, Trial, Trials
from serve.optimize_report import render_optimize, write_optimize
from tests.doubles import FakeImageModel, FakeScorer, hashed_value, value_of
from tests.graph.stage import stage
from tests.serve.test_report import Page, contrast
from tools.budget import Budget
from tools.stats import paired_bootstrap

WORTH = {"sharp": 0.5, "vivid": 0.1, "masterpiece": 0.2}
DEVELOPMENT = ["a cat", "a dog", "a bird"]
HELDOUT = [f"an animal of kind {number}" for number in range(8)]
SUFFIX: SuffixRow = {"positive": "vivid colors", "negative": "grain", "pulls": 24}


def liked(drawing: Drawing) -> float:
    """Noise of [0, 0.2), and what each word is worth."""
    return 0.2 * hashed_value(drawing) + sum(worth for word, worth in WORTH.items() if word in drawing.conditioning.text)


@dataclass(frozen=True)
class Made:
    """An arm of the tests. `adds`: what it puts behind a prompt. `fates`: (iteration, rank number, fate); it is pulled in each of these."""

    text: str
    adds: str
    parent: int | None = None
    finding: str = ""
    fates: tuple[tuple[int, float | None, str], ...] = ()

    @property
    def id(self) -> str:
        return Instruction(self.text).id

    def written(self, prompt: str) -> Conditioning:
        return Conditioning(f"{prompt}, {self.adds}", "blurry")


FIRST = Made("Write it well.", "4k", fates=((0, 0.3, "kept"), (1, 0.1, "dropped")))
SHARP = Made("Write it sharply.", "sharp focus", 0, "Blur costs points.", ((0, None, "born"), (1, 0.9, "kept"), (2, 0.8, "kept")))
LOUD = Made("Write it loud.", "loud", 0, "Quiet words are weak.", ((0, None, "rejected"),))
VIVID = Made("Write it sharply and vividly.", "vivid colors", 1, "", ((1, None, "born"), (2, 0.9, "kept")))
ARMS = (FIRST, SHARP, LOUD, VIVID)


def finished(
    folder: Path,
    arms: Sequence[Made] = ARMS,
    best: int = 1,
    heldout: Sequence[str] = HELDOUT,
    development: Sequence[str] = DEVELOPMENT,
    suffix: SuffixRow | None = SUFFIX,
    model: FakeImageModel | None = None,
    improved: bool = True,
    professional: Sequence[str] = ("masterpiece", "oil painting"),
    **how: Any,
) -> tuple[Context, OptimizeState]:
    """A run as it stands after its last node, with real pictures and records."""
    made = stage(folder, model or FakeImageModel(liked), heldout_seeds=2, budget=Budget(images=10_000), images=10_000, **how)
    context = replace(made, learning=LearningSettings(iterations=3), plan=LearningPlan(400, 400, 64, len(heldout)))
    trials = Trials(context.db, "run-1")
    parents = [None if arm.parent is None else arms[arm.parent].id for arm in arms]
    born = [-1 if arm.parent is None else min((fate[0] for fate in arm.fates), default=0) for arm in arms]
    trials.add_arms(Arm(Instruction(arm.text, up, arm.finding), at) for arm, up, at in zip(arms, parents, born, strict=True))
    for arm in arms:
        for iteration, value, fate in arm.fates:
            pull(context, iteration, arm.id, {prompt: arm.written(prompt) for prompt in development})
            trials.add_standings([Standing(iteration, arm.id, None, 6, value, fate)])
    for place, word in enumerate(professional):
        pull(context, 0, f"professional-{place}", {prompt: Conditioning(f"{prompt}, {word}") for prompt in development})
    rows: list[ArmRow] = [
        {"id": arm.id, "text": arm.text, "parent": up, "finding": arm.finding, "born": at}
        for arm, up, at in zip(arms, parents, born, strict=True)
    ]
    groups = {
        "plain": [Conditioning(prompt) for prompt in heldout],
        "initial": [arms[0].written(prompt) for prompt in heldout],
        "learned": [arms[best].written(prompt) for prompt in heldout],
    }
    if suffix:
        groups["suffix"] = [Conditioning(f"{prompt}, {suffix['positive']}", suffix["negative"]) for prompt in heldout]
    everything = [conditioning for group in groups.values() for conditioning in group]
    found = context.evaluator.evaluate(everything, list(heldout) * len(groups), context.settings.heldout)
    ids = found.drawings.reshape(len(groups), len(heldout), -1)
    tables = {name: dict(zip(groups, values.reshape(len(groups), len(heldout), -1), strict=True)) for name, values in found.values.items()}
    state: OptimizeState = {
        "run": "run-1",
        "prompts": [{"text": text, "pins": []} for text in development],
        "heldout": [{"text": text, "pins": []} for text in heldout],
        "shared": development == heldout,
        "iteration": 2,
        "winner": arms[best].id,
        "dropped": {"refusal": 3, "preamble": 1},
        "outcome": {
            "improved": improved,
            "objective": context.evaluator.objective.name,
            "higher_is_better": dict(found.higher_is_better),
            "initial": rows[0],
            "best": rows[best],
            "suffix": suffix,
            "scores": {
                name: {scorer: compared(table[before], table[after]) for scorer, table in tables.items()}
                for name, (before, after) in COMPARISONS.items()
                if {before, after} <= groups.keys()
            },
            "prompts": [
                {
                    "prompt": prompt,
                    "texts": {name: group[place].to_json() for name, group in groups.items()},
                    "drawings": {name: ids[row, place].tolist() for row, name in enumerate(groups)},
                }
                for place, prompt in enumerate(heldout)
            ],
            "stopped": "all 3 iterations are done",
            "warnings": ["2 rewritings were cut"],
        },
    }
    return context, state


def pull(context: Context, iteration: int, arm: str, written: dict[str, Conditioning]) -> None:
    seeds, name, count = context.settings.search, context.evaluator.objective.name, len(written)
    asked = [*map(Conditioning, written), *written.values()]
    values = context.evaluator.evaluate(asked, [*written, *written], seeds, [name]).values[name]
    Trials(context.db, "run-1").add_trials(
        [
            Trial(iteration, arm, prompt, seed, conditioning, known(values[count + row, column]), known(values[row, column]))
            for row, (prompt, conditioning) in enumerate(written.items())
            for column, seed in enumerate(seeds)
        ]
    )


def known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def compared(before: np.ndarray, after: np.ndarray) -> ScoreRow:
    both = ~np.isnan(before + after)
    if not both.any():
        return {"before": None, "after": None, "delta": None, "ci95": None, "n": 0}
    found = paired_bootstrap((after - before)[both], np.broadcast_to(np.arange(len(before))[:, None], both.shape)[both])
    ends = [found.lo, found.hi] if found.n > 1 else None
    means = float(before[both].mean()), float(after[both].mean())
    return {"before": means[0], "after": means[1], "delta": found.mean, "ci95": ends, "n": found.n, "p": found.p}


def page_of(folder: Path, **how: Any) -> tuple[Page, Context, OptimizeState]:
    context, state = finished(folder, **how)
    return Page(render_optimize(context, state)), context, state


def section(page: Page, start: str, end: str) -> str:
    """What is shown between two headings."""
    return page.text.split(start, 1)[1].split(end, 1)[0]


def shown(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB")


def test_the_page_asks_nobody_for_anything(tmp_path: Path) -> None:
    context, state = finished(tmp_path)
    html = render_optimize(context, state)
    page = Page(html)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert page.pictures and all(value.startswith("data:image/") for value in page.pictures)
    assert not [value for name, value in page.attributes if name in ("href", "srcset", "action", "data", "poster")]
    assert "url(" not in html and "@import" not in html and "://" not in re.sub(r"data:image/[^\"]*", "", html)
    assert ("content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in page.attributes


def test_it_is_readable_in_dark_and_light(tmp_path: Path) -> None:
    html = render_optimize(*finished(tmp_path))
    blocks = re.findall(r":root \{(.*?)\}", html, re.DOTALL)
    assert len(blocks) == 2 and "prefers-color-scheme: dark" in html
    for colours in (dict(re.findall(r"(--[\w-]+): (#\w{6})", block)) for block in blocks):
        assert min(contrast(colours[name], colours["--card"]) for name in ("--lead", "--mark", "--quiet", "--ink")) >= 4.5


def test_an_improvement_is_told_with_its_interval_against_initial_and_plain(tmp_path: Path) -> None:
    page, _, state = page_of(tmp_path)
    head = section(page, "An instruction learned from 3 prompts", "The instruction")
    assert "Improved" in head and "No improvement" not in page.text
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
    page, _, _ = page_of(tmp_path, best=2, improved=False)  # loud words are worth nothing
    assert "No improvement found" in page.text and "Improved" not in page.text
    assert "That does not rule out no gain, so the initial instruction stays." in page.text
    assert "Winner of the search, not adopted" in page.text and "the initial one, since no other was shown to be better" in page.text


def test_a_winner_that_is_worse_is_called_worse(tmp_path: Path) -> None:
    page, _, _ = page_of(tmp_path, arms=(replace(FIRST, adds="sharp"), replace(SHARP, adds="4k")), improved=False)
    assert "The winner of the search is worse, so the initial instruction stays." in page.text


def test_where_the_initial_instruction_won_there_is_nothing_beside_it(tmp_path: Path) -> None:
    page, _, _ = page_of(tmp_path, best=0, improved=False)
    assert "No instruction did better in the search than the initial one, which stays." in page.text
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
    page, _, _ = page_of(tmp_path, best=2, improved=False)
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


def test_prompts_are_shown_as_both_instructions_wrote_them(tmp_path: Path) -> None:
    context, state = finished(tmp_path)
    part = render_optimize(context, state).split("<h2>What becomes of a prompt</h2>")[1].split("<h2>")[0]
    assert part.count('class="sample"') == 6 and "The first 6 of 8 held-out prompts" in part and "not picked by their result" in part
    assert re.findall(r"<ins>(.*?)</ins>", part)[:2] == ["4k", "sharp focus"] and part.count("Negative:</span> blurry") == 12


def test_held_out_pictures_stand_in_columns_to_the_pixel(tmp_path: Path) -> None:
    page, context, state = page_of(tmp_path)
    cells = [row["drawings"][group][0] for row in state["outcome"]["prompts"] for group in ("plain", "initial", "learned", "suffix")]
    assert [shown(uri).tobytes() for uri in page.pictures[: len(cells)]] == [context.evaluator.image(key).tobytes() for key in cells]
    part = section(page, "Held-out pictures", "How the search went")
    assert all(f"{value_of(context.evaluator.image(key)):.4g}" in part for key in cells)
    assert f"Seed {context.settings.heldout[0]}, the first held-out one" in part and "not shown" not in part


def test_of_many_held_out_prompts_twelve_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    page, _, _ = page_of(tmp_path, heldout=[f"prompt {number}" for number in range(20)], suffix=None)
    part = section(page, "Held-out pictures", "How the search went")
    assert "8 more prompts were measured and are not shown" in part and "prompt 11" in part and "prompt 12" not in part


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


def test_dropped_pictures_leave_a_marked_gap(tmp_path: Path) -> None:
    context = stage(tmp_path / "seeds", heldout_seeds=2)
    bad = [context.settings.heldout[0], context.settings.search[0]]
    page, _, _ = page_of(tmp_path, model=FakeImageModel(liked, nan_seeds=bad))
    assert page.pictures == [] and page.words.count("dropped") == 4 * 8 + 3 * 3 * 2
    assert "Improved" in page.text and "+0." in section(page, "Scores on 8", "What becomes")  # the other seed is measured


def test_a_run_without_any_picture_is_still_a_page(tmp_path: Path) -> None:
    every = [*stage(tmp_path / "seeds", heldout_seeds=2).settings.heldout, 0, 1]
    page, _, _ = page_of(tmp_path, model=FakeImageModel(liked, nan_seeds=every), improved=False)
    assert "too few prompts to say anything" in page.text and "No arm has a usable picture." in page.text
    assert not re.search(r"\bnan\b", page.text, re.IGNORECASE)


def test_one_prompt_alone_has_no_interval(tmp_path: Path) -> None:
    page, _, _ = page_of(tmp_path, development=["a cat"], heldout=["a cat"], improved=False)
    assert "An instruction learned from 1 prompt " in page.text and "Scores on 1 held-out prompt " in page.text
    assert "too few prompts to say anything" in page.text and "95 % interval +" not in page.text and not re.search(r"\bnan\b", page.text)


def test_nothing_that_was_written_becomes_markup(tmp_path: Path) -> None:
    evil = '<script>alert("x")</script> & <img src=x onerror=y> {{ 7*7 }}'
    arms = (replace(FIRST, text=f"First {evil}", adds=f"{evil} 1"), replace(SHARP, text=f"Second {evil}", adds=f"{evil} 2", finding=evil))
    suffix: SuffixRow = {"positive": f"{evil} 3", "negative": f"{evil} 4", "pulls": 1}
    context, state = finished(tmp_path, arms=arms, suffix=suffix, heldout=[f"{evil} 5", f"{evil} 6"], development=[f"{evil} 7"])
    state["outcome"]["warnings"] = [f"{evil} 8"]
    state["outcome"]["stopped"] = f"{evil} 9"
    context.chat.name = '<i>model</i>"'
    page = Page(render_optimize(context, state))
    assert not {"script", "i", "b"} & set(page.tags) and page.tags.count("img") == len(page.pictures)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert f"by: {evil}" in page.text and "<i>model</i>" in page.text and "{{ 7*7 }}" in page.text
    assert all(f"{evil} {number}" in page.text for number in (3, 4, 5, 7, 8, 9))


def test_the_offline_stand_in_is_called_no_language_model(tmp_path: Path) -> None:
    context, state = finished(tmp_path)
    page = Page(render_optimize(replace(context, chat=OfflineChat()), state))
    assert "It is no language model" in page.text and "offline stand-in, no language model" in page.text
    assert "offline" not in Page(render_optimize(context, state)).text and "scripted" in Page(render_optimize(context, state)).text


def test_cost_is_told_by_kind(tmp_path: Path) -> None:
    context, state = finished(tmp_path)
    usage = context.chat.usage
    usage.prompt_tokens, usage.completion_tokens, usage.cost_usd, usage.rejected = 12_345, 678, 0.25, 9
    page = Page(render_optimize(context, state))
    part = page.text.split("What it cost, and with what")[1]
    used = context.evaluator.budget.used()
    assert f"{used['images']} of 10000 allowed" in part and f"{used['unet_rows']:,}" in part
    assert "12,345 in, 678 out" in part and "0.2500 USD" in part and "9 thrown away" in part
    # each of 3 prompts on 2 seeds: plain, 4 arms, 2 professionals; each of 8 prompts on 2 seeds: 4 groups
    assert "42 asked for, 400 planned" in part and "24 asked for, 400 planned" in part and "64 asked for, 64 planned" in part
    assert "all 3 iterations are done" in part and "3 of 3, 3 prompts each" in part and "4 in all" in part and "ucb" in part


def test_large_pictures_are_shown_smaller(tmp_path: Path) -> None:
    model = FakeImageModel(liked, settings=SamplerSettings(steps=2, width=640, height=512))
    page, _, _ = page_of(tmp_path, model=model, heldout=HELDOUT[:2], development=DEVELOPMENT[:1])
    assert page.pictures and all(uri.startswith("data:image/webp") for uri in page.pictures)
    assert {shown(uri).size for uri in page.pictures} == {(320, 256)}


def test_the_page_is_written_whole_or_refused_in_one_line(tmp_path: Path) -> None:
    context, state = finished(tmp_path, heldout=HELDOUT[:2])
    path = write_optimize(context, state, tmp_path / "report")
    assert path == tmp_path / "report" / "report.html" and list(path.parent.iterdir()) == [path]
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match="--out"):
        write_optimize(context, state, tmp_path / "file" / "run")
