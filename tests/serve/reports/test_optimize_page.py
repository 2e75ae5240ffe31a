"""The report of a learned instruction as a page: pictures, cost, nothing from elsewhere, and no text as markup."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from limner.agents.llm.offline import OfflineChat
from limner.graph.state import SuffixRow
from limner.promptdb.errors import BadInput
from limner.promptdb.records import SamplerSettings
from limner.serve.reports.optimize import render_optimize, write_optimize
from tests.doubles import FakeImageModel, value_of
from tests.graph.stage import stage
from tests.serve.reports.finished_run import DEVELOPMENT, FIRST, HELDOUT, SHARP, finished, liked, page_of, section, shown
from tests.serve.reports.test_refine import Page, contrast


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


def test_dropped_pictures_leave_a_marked_gap(tmp_path: Path) -> None:
    context = stage(tmp_path / "seeds", heldout_seeds=2)
    bad = [context.settings.heldout[0], context.settings.search[0]]
    page, _, _ = page_of(tmp_path, model=FakeImageModel(liked, nan_seeds=bad))
    assert page.pictures == [] and page.words.count("dropped") == 4 * 8 + 3 * 3 * 2
    assert "Better on 8 of 8" in page.text and "+0." in section(page, "Scores on 8", "What becomes")  # the other seed is measured


def test_a_run_without_any_picture_is_still_a_page(tmp_path: Path) -> None:
    every = [*stage(tmp_path / "seeds", heldout_seeds=2).settings.heldout, 0, 1]
    page, _, _ = page_of(tmp_path, model=FakeImageModel(liked, nan_seeds=every))
    assert "Cannot judge: liking has a value for none of the held-out prompts" in page.text and "No arm has a usable picture." in page.text
    assert not re.search(r"\bnan\b", page.text, re.IGNORECASE)


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
