"""What a page shows of what is stored: a picture beside the plain one of its seed, pictures of prompts, DF-Prompts as bars."""

from __future__ import annotations

from pathlib import Path

import pytest

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Candidate, Conditioning
from limner.serve.service.pictures import beside_plain, drawn_for, over_time, over_time_view, pictures_of
from tests.graph.stage import stage


def test_a_picture_lies_beside_the_plain_one_of_its_own_seed(tmp_path: Path) -> None:
    context = stage(tmp_path)
    ids = context.evaluator.draw([Conditioning("a cat"), Conditioning("a cat, 8k")], [3, 4])
    stored = context.db.stored_drawings([str(key) for key in ids.ravel()])
    rows = [{"number": place + 1, "drawing": str(key), "image": stored[str(key)].image} for place, key in enumerate(ids[1])]
    payload = {"request": "a cat", "style": "", "images": rows}
    for place, number in enumerate((1, 2)):
        assert beside_plain(context.db, payload, number) == (stored[str(ids[0][place])].image, rows[place]["image"])
    assert beside_plain(context.db, {**payload, "request": "a dog"}, 1) is None
    with pytest.raises(BadInput, match="no picture 3"):
        beside_plain(context.db, payload, 3)


def test_prompts_that_were_drawn_as_they_are_have_a_picture(tmp_path: Path) -> None:
    context = stage(tmp_path)
    key = str(context.evaluator.draw([Conditioning("a cat")], [3])[0][0])
    hits = [{"id": "one", "text": "a cat", "negative": ""}, {"id": "two", "text": "a cat, 8k", "negative": ""}]
    assert pictures_of(context.db, hits) == {"one": context.db.stored_drawings([key])[key].image}


def test_a_run_shows_what_it_tried_and_nothing_of_others(tmp_path: Path) -> None:
    context = stage(tmp_path)
    ids = context.evaluator.draw([Conditioning("a cat"), Conditioning("a cat, 8k"), Conditioning("a dog")], [3])
    stored = context.db.stored_drawings([str(key) for key in ids.ravel()])
    for text in ("a cat", "a cat, 8k"):
        context.db.add_candidate(Candidate("one", Conditioning(text), "user"))
    expected = [(stored[str(key)].image, text) for key, text in ((ids[1][0], "a cat, 8k"), (ids[0][0], "a cat"))]
    assert drawn_for(context.db, "one") == expected
    assert drawn_for(context.db, "two") == []


def test_both_notations_are_the_same_bars_and_the_words_alone_are_a_prompt() -> None:
    low_high, high_low = (over_time(f"a cat, [red:{text}:2]", "", False) for text in ("0-0.5", "0.5->0"))
    assert low_high == high_low and low_high["plain"] == "a cat, red"
    assert [(row["words"], row["weight"], row["when"]) for row in low_high["rows"]] == [
        ("a cat", "1", "always"),
        ("red", "2", "50 % to 100 %"),
    ]


def test_what_cannot_be_read_is_told_with_a_caret_and_no_markup() -> None:
    page = over_time_view("a <b>cat</b>, [red:0.5]", "", False)
    excerpt, caret = page.split("<pre>")[1].split("</pre>")[0].replace("&lt;", "<").replace("&gt;", ">").splitlines()
    assert excerpt[caret.index("^")] == "[" and "<b>" not in page and "character 15" in page
    assert "the prompt is empty" in over_time_view(" ", "", False)
    assert "always" in over_time_view("a cat", "", False)
