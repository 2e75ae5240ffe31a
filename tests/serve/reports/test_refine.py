"""The report: one file that needs nothing else, tells the truth about what was found, and lets nothing that people wrote become markup."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from limner.agents.llm.offline import OfflineChat
from limner.graph.runner import refine_state, stream_refine
from limner.graph.settings import Settings
from limner.graph.state import Context, RefineState
from limner.promptdb.errors import BadInput
from limner.promptdb.images import drawing_of, read_provenance
from limner.promptdb.records import SamplerSettings
from limner.serve.reports.refine import render_refine, word_diff, write_refine
from tests.doubles import FakeImageModel, FakeScorer, hashed_value, value_of
from tests.graph.stage import likes, refined, run_of, stage


class Page(HTMLParser):
    """What a page shows and what it asks for."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self._inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" not in self._inside:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def pictures(self) -> list[str]:
        return [value for name, value in self.attributes if name == "src"]


def page_of(folder: Path, **how: Any) -> tuple[Page, Context, RefineState]:
    context = stage(folder, **how)
    state, _ = refined(context)
    return Page(render_refine(context, state)), context, state


def test_the_page_asks_nobody_for_anything(tmp_path: Path) -> None:
    context = stage(tmp_path)
    state, _ = refined(context)
    html = render_refine(context, state)
    page = Page(html)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert all(value.startswith("data:image/") for value in page.pictures) and page.pictures
    assert not [value for name, value in page.attributes if name in ("href", "srcset", "action", "data", "poster")]
    assert "url(" not in html and "@import" not in html and "://" not in re.sub(r"data:image/[^\"]*", "", html)
    assert ("content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in page.attributes


def test_it_is_readable_in_dark_and_light(tmp_path: Path) -> None:
    context = stage(tmp_path)
    html = render_refine(context, refined(context)[0])
    assert "prefers-color-scheme: dark" in html and ("content", "light dark") in Page(html).attributes
    light, dark = (dict(re.findall(r"(--[\w-]+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", html, re.DOTALL))
    assert light.keys() == dark.keys()
    for colours in (light, dark):
        for back in ("--page", "--card"):
            assert contrast(colours["--ink"], colours[back]) >= 7
            assert min(contrast(colours[name], colours[back]) for name in ("--quiet", "--gain", "--loss", "--mark")) >= 4.5


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_every_held_out_picture_stands_there_to_the_pixel(tmp_path: Path) -> None:
    page, context, state = page_of(tmp_path)
    ids = [*state["outcome"]["before"], *state["outcome"]["after"]]
    assert len(page.pictures) == 16
    for uri, key in zip(page.pictures, ids, strict=True):
        shown = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB")
        assert shown.tobytes() == context.evaluator.image(key).tobytes()


def test_large_pictures_are_shown_smaller_and_kept_exact_beside(tmp_path: Path) -> None:
    model = FakeImageModel(likes("sharp"), settings=SamplerSettings(steps=2, width=640, height=512))
    context = stage(tmp_path, model, heldout_seeds=2)
    state, _ = refined(context)
    files = write_refine(context, state, tmp_path / "report")
    page = Page(files.report.read_text(encoding="utf-8"))
    assert all(uri.startswith("data:image/webp") for uri in page.pictures)
    assert Image.open(files.before[0]).size == (640, 512)


def test_an_improvement_is_told_with_its_interval_and_every_scorer(tmp_path: Path) -> None:
    page, _, state = page_of(tmp_path)
    row = state["outcome"]["scores"]["liking"]
    assert "Better on 8 of 8 fresh seeds by liking." in page.text
    assert f"{row['delta']:+.3g}" in page.text and f"{row['ci95'][0]:+.3g} to {row['ci95'][1]:+.3g}" in page.text
    for words in ("8 held-out seeds", "likeness", "truth", "judge, kept out of every search", "objective"):
        assert words in page.text
    assert "sharp focus" in page.text and "blurry" in page.text


def test_no_improvement_is_told_as_such(tmp_path: Path) -> None:
    page, _, _ = page_of(tmp_path, model=FakeImageModel(hashed_value))
    assert "No difference found (smallest that could have been seen: " in page.text and "Your prompt is returned unchanged" in page.text
    assert "Best candidate, not adopted" in page.text and "Better on" not in page.text


def test_without_any_candidate_the_users_pictures_are_still_shown(tmp_path: Path) -> None:
    page, _, _ = page_of(tmp_path, variants=())
    assert len(page.pictures) == 8 and "the server is away" in page.text
    assert "Cannot judge: no candidate was left to compare with your prompt." in page.text


def test_dropped_pictures_leave_a_marked_gap(tmp_path: Path) -> None:
    bad = Settings().heldout[:3]
    page, _, _ = page_of(tmp_path, model=FakeImageModel(likes("sharp"), nan_seeds=bad))
    assert len(page.pictures) == 2 * 5 and page.words.count("dropped") == 2 * 3


def test_nothing_that_was_written_becomes_markup(tmp_path: Path) -> None:
    evil = '<script>alert("x")</script> & <img src=x onerror=y> {{ 7*7 }}'
    context = stage(tmp_path, variants=[(f"{evil} a, sharp focus", '"><b>bad</b>')])
    context.chat.name = '<i>model</i>"'
    list(stream_refine(context, run_of(context, prompt=evil)))
    page = Page(render_refine(context, refine_state(context, "run-1")))
    assert not {"script", "i", "b"} & set(page.tags) and page.tags.count("img") == len(page.pictures)
    assert evil in page.text and "<i>model</i>" in page.text


def test_the_offline_stand_in_is_named(tmp_path: Path) -> None:
    context = stage(tmp_path)
    state, _ = refined(context)
    stand_in = Context(OfflineChat(), context.evaluator, context.db, context.images, context.settings)
    assert "offline stand-in" in Page(render_refine(stand_in, state)).text
    assert "offline" not in Page(render_refine(context, state)).text


def test_path_cost_and_warnings_are_there(tmp_path: Path) -> None:
    page, context, _ = page_of(tmp_path, pins=("apple",))
    for node in ("retrieve", "rewrite", "search", "heldout"):
        assert node in page.text
    used = context.evaluator.budget.used()
    assert f"{used['images']} of 64 allowed" in page.text and f"{used['unet_rows']:,}" in page.text
    assert "no solver" in page.text and "apple" in page.text and "scripted" in page.text


def test_better_is_on_the_right_whatever_the_direction(tmp_path: Path) -> None:
    loss = FakeScorer("loss", lambda image, text: 1 - value_of(image), higher_is_better=False)
    page, _, _ = page_of(tmp_path, scorers=[loss, FakeScorer("liking")])
    means = [float(value) for name, value in page.attributes if name == "cx"][8::9]  # after the dots of 8 seeds
    assert len(means) == 2 and all(place > 100 for place in means)


def test_the_files_beside_say_how_they_were_made(tmp_path: Path) -> None:
    context = stage(tmp_path)
    state, _ = refined(context)
    files = write_refine(context, state, tmp_path / "report")
    assert [path.name for path in files.before] == [f"before-{seed}.png" for seed in context.settings.heldout]
    for path, key in zip([*files.before, *files.after], [*state["outcome"]["before"], *state["outcome"]["after"]], strict=True):
        said = read_provenance(path)
        assert drawing_of(said).id == key and said["run"] == "run-1"
        assert set(said["scores"]) == {"liking", "likeness", "truth"}
    assert sorted(path.name for path in files.report.parent.iterdir() if path.suffix not in (".png", ".html")) == []


def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    context = stage(tmp_path)
    state, _ = refined(context)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match="--out"):
        write_refine(context, state, tmp_path / "file" / "run")


PIECES = ["a", "red", "Red,", "apple", "apple,", "sharp", "focus,", "4k", "-", "(x:1.2)"]
WORDS = st.lists(st.sampled_from(PIECES), max_size=9).map(" ".join)


@given(before=WORDS, after=WORDS)
def test_a_diff_holds_the_second_text_whole_and_loses_nothing_of_the_first(before: str, after: str) -> None:
    pieces = word_diff(before, after)
    assert " ".join(piece.text for piece in pieces if piece.kind != "removed") == after
    kept = [word for piece in pieces if piece.kind != "added" for word in piece.text.split()]
    assert [_letters(word) for word in kept] == [_letters(word) for word in before.split()]


def _letters(word: str) -> str:
    return re.sub(r"\W", "", word).lower()


def test_a_diff_says_what_is_new_and_what_is_gone() -> None:
    pieces = [(piece.kind, piece.text) for piece in word_diff("a small red apple", "a red apple, sharp focus")]
    assert pieces == [("same", "a"), ("removed", "small"), ("same", "red apple,"), ("added", "sharp focus")]
    assert word_diff("A cat", "a cat,") and all(piece.kind == "same" for piece in word_diff("A cat", "a cat,"))
