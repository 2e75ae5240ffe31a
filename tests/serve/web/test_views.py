"""What the page's components are given: thumbnails beside prompts, and nothing that was written as markup."""

from __future__ import annotations

import pytest

pytest.importorskip("gradio", reason="the extra `serve` is not installed")

from limner.serve.web.views import hits_table, picture_grid, prompt_of

EVIL = '"><script>alert(1)</script>'


def test_a_prompt_that_was_drawn_has_its_picture_and_others_have_none() -> None:
    hits = [{"id": id, "text": "a castle", "highlights": [(2, 8)], "source": EVIL} for id in ("drawn", "other")]
    table = hits_table(hits, {"drawn": "ab12"})
    assert table.count("<img") == 1 and 'src="/v1/images/ab12.png"' in table
    assert "a <mark>castle</mark>" in table and "<script" not in table


def test_the_grid_names_its_pictures_by_their_prompts() -> None:
    grid = picture_grid([("ab12", EVIL), ("cd34", "a cat")])
    assert grid.index("ab12") < grid.index("cd34") and 'alt="a cat"' in grid and "<script" not in grid


def test_the_prompt_shown_is_that_of_the_picture_asked_for_else_what_was_accepted_else_the_best() -> None:
    rows = [{"number": 1, "text": "a cat", "negative": ""}, {"number": 2, "text": "a cat, 8k", "negative": "blurry"}]
    payload = {"images": rows, "accepted": None}
    assert [prompt_of(payload), prompt_of(payload, 2), prompt_of(payload, 3)] == ["a cat", "a cat, 8k\nNegative: blurry", ""]
    payload["accepted"] = {"result": {"conditioning": {"text": "a cat, bokeh"}}}
    assert [prompt_of(payload), prompt_of(payload, 1)] == ["a cat, bokeh", "a cat"]
