"""The web page in a real browser: three turns to an accepted picture, a vote, a job that is watched and stopped, texts that are no markup.

Needs playwright and Debian's chromium; skipped where chromium is absent. SCREENSHOTS names a folder for pictures of the page.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the extra `serve` is not installed")
pytest.importorskip("playwright", reason="the extra `serve-test` is not installed")

from playwright.sync_api import Page, expect, sync_playwright

from tests.serve.live_server import serving, tiny_settings

CHROMIUM = Path("/usr/bin/chromium")
LOOKS = ("red", "blue", "small", "big", "old", "white")
PATIENCE = 120_000  # milliseconds, on a machine with other work
EVIL = '<img src=x onerror="window.hacked=1"> ![x](http://127.0.0.1:9/leak)'

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed")]


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(os.environ.get("SCREENSHOTS", "") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield launched
        launched.close()


def opened(browser: Any, url: str, width: int = 1280, scheme: str = "light", shifts: bool = False) -> tuple[Page, list[str]]:
    """The page, and the addresses outside of this machine that it asked for. `shifts`: count layout shifts in `window.shifted`."""
    page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
    if shifts:
        page.add_init_script(
            "window.shifted = 0; new PerformanceObserver(list => list.getEntries().forEach(entry => "
            "{ if (!entry.hadRecentInput) window.shifted += entry.value })).observe({type: 'layout-shift', buffered: true})"
        )
    elsewhere: list[str] = []
    page.on("request", lambda request: None if request.url.startswith((url, "data:", "blob:")) else elsewhere.append(request.url))
    page.set_default_timeout(PATIENCE)
    page.goto(f"{url}/", wait_until="domcontentloaded")
    page.get_by_text("Say what the picture should show").wait_for()
    return page, elsewhere


def say(page: Page, text: str) -> None:
    page.locator("#said textarea").fill(text)
    page.locator("#send").click()


def settled(page: Page) -> None:
    """Until the turn has ended: the status then tells what was spent."""
    page.wait_for_function("() => /pictures drawn/.test(document.querySelector('#status textarea').value)", timeout=PATIENCE)


def photographed(page: Page, path: Path) -> None:
    """A picture of the whole page, once all of its own pictures are there."""
    seen = "[...document.querySelectorAll('img')].filter(image => image.offsetParent).every(image => image.complete && image.naturalWidth)"
    page.wait_for_function(f"() => {seen}", timeout=PATIENCE)
    page.screenshot(path=path, full_page=True)


def test_from_a_wish_to_an_accepted_picture_and_a_job_stopped_and_resumed(
    browser: Any, tiny: Path, tmp_path: Path, screenshots: Path
) -> None:
    settings = tiny_settings(tiny, tmp_path, budget=200)
    with serving(settings, page=True) as url:
        page, elsewhere = opened(browser, url)
        say(page, "a red cat")
        page.locator("#shown img").first.wait_for()
        settled(page)
        photographed(page, screenshots / "chat.png")
        page.reload()
        page.locator("#shown img").first.wait_for()
        photographed(page, screenshots / "opened_again.png")
        say(page, "pin cat")
        expect(page.locator("#talk")).to_contain_text("cat", timeout=PATIENCE)
        page.wait_for_timeout(500)
        settled(page)
        page.locator("#shown button.thumbnail-item, #shown .grid-container button").first.click()
        page.wait_for_function("() => /picture 1, beside/.test(document.querySelector('#status textarea').value)", timeout=PATIENCE)
        expect(page.locator("#beside img")).to_have_count(2)
        expect(page.locator("#words textarea")).to_have_value(re.compile("a red cat"))
        page.wait_for_timeout(500)
        photographed(page, screenshots / "chosen.png")
        page.locator("#accept").click()
        expect(page.locator("#talk")).to_contain_text("fresh seeds", timeout=PATIENCE)
        settled(page)
        photographed(page, screenshots / "accepted.png")
        page.locator("#compare").click()
        page.locator("#vote-left").wait_for()
        photographed(page, screenshots / "vote.png")
        page.locator("#vote-left").click()
        page.locator("#vote-left").wait_for(state="hidden")
        page.get_by_role("tab", name="Optimize").click()
        # So many that the job is not over at once.
        page.locator("#prompts textarea").fill("\n".join(f"a {look} {thing}" for look in LOOKS for thing in ("cat", "dog", "car", "tree")))
        page.locator("#budget input").fill("2000")
        page.locator("#start").click()
        page.locator("#live svg .curve").first.wait_for()
        before = page.locator("#live svg").inner_html()
        page.wait_for_function("before => document.querySelector('#live svg').innerHTML != before", arg=before, timeout=PATIENCE)
        page.locator("#grid img").first.wait_for()
        photographed(page, screenshots / "optimize.png")
        page.locator("#job-stop").click()
        expect(page.locator("#live")).to_contain_text("stopped", timeout=PATIENCE)
        assert elsewhere == []
    with serving(settings, page=True) as url:
        page, _ = opened(browser, url)
        page.get_by_role("tab", name="Optimize").click()
        expect(page.locator("#job input")).not_to_have_value("", timeout=PATIENCE)
        expect(page.locator("#live")).to_contain_text("stopped", timeout=PATIENCE)
        page.locator("#job-resume").click()
        expect(page.locator("#live")).to_contain_text("done", timeout=PATIENCE)
        page.locator("#export").click()
        expect(page.locator("#preset")).to_contain_text("instruction", timeout=PATIENCE)
        photographed(page, screenshots / "exported.png")
        page.get_by_role("tab", name="Runs").click()
        page.locator("#run input").click()
        page.get_by_role("option").filter(has_text="optimize").first.click()
        expect(page.locator("#run-document")).to_contain_text("instruction", timeout=PATIENCE)
        page.locator("#run-pictures img").first.wait_for()
        photographed(page, screenshots / "runs.png")


def test_a_df_prompt_is_a_timeline_while_it_is_typed_and_drawn_beside_its_words(
    browser: Any, tiny: Path, tmp_path: Path, screenshots: Path
) -> None:
    with serving(tiny_settings(tiny, tmp_path, budget=200), page=True) as url:
        page, elsewhere = opened(browser, url, scheme="dark")
        page.get_by_role("tab", name="DF-Prompt").click()
        expect(page.locator("#df-bars rect")).to_have_count(3, timeout=PATIENCE)
        field = page.locator("#df-text textarea")
        field.fill("a cat, [red:0.5->0:2], [blue:0.5-1:0.5]")
        expect(page.locator("#df-bars")).to_contain_text("blue", timeout=PATIENCE)
        red, blue = (page.locator(f"#df-bars svg[aria-label^={word}] rect") for word in ("red", "blue"))
        assert float(red.get_attribute("height") or 0) == 4 * float(blue.get_attribute("height") or 0)
        assert float(red.get_attribute("x") or 0) == float(blue.get_attribute("width") or 0) > 0 == float(blue.get_attribute("x") or 0)
        page.locator("#df-draw").click()
        page.wait_for_function("() => /2 pictures drawn/.test(document.querySelector('#df-note textarea').value)", timeout=PATIENCE)
        expect(page.locator("#df-picture img")).to_have_count(2)
        photographed(page, screenshots / "editor.png")
        field.fill("a cat, [red:0.5]")
        expect(page.locator("#df-bars [role=alert]")).to_contain_text("character 8", timeout=PATIENCE)
        excerpt, caret = page.locator("#df-bars pre").inner_text().split("\n")[:2]
        assert excerpt[caret.index("^")] == "["
        photographed(page, screenshots / "editor_error.png")
        assert elsewhere == []


def test_every_control_is_reached_by_the_keyboard_and_nothing_jumps(browser: Any, tiny: Path, tmp_path: Path) -> None:
    with serving(tiny_settings(tiny, tmp_path, budget=200), page=True) as url:
        page, _ = opened(browser, url, shifts=True)
        reached = set()
        for _ in range(60):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.closest('[id]')?.id || ''"))
            if {"said", "send", "accept", "more", "compare", "undo"} <= {name.removeprefix("component-") for name in reached}:
                break
        assert {"send", "accept", "more", "compare", "undo"} <= reached
        page.wait_for_timeout(500)
        assert page.evaluate("window.shifted") < 0.1


def test_what_people_wrote_is_text_on_a_phone_too(browser: Any, tiny: Path, tmp_path: Path, screenshots: Path) -> None:
    with serving(tiny_settings(tiny, tmp_path, budget=200), page=True) as url:
        page, elsewhere = opened(browser, url, width=390)
        say(page, EVIL)
        settled(page)
        expect(page.locator("#talk")).to_contain_text(EVIL, timeout=PATIENCE)
        assert page.locator("#talk img[src*=leak], #talk img[src=x]").count() == 0
        photographed(page, screenshots / "phone.png")
        page.get_by_role("tab", name="Prompts").click()
        page.locator("#query textarea, #query input").first.fill("castle <b>night</b>")
        page.keyboard.press("Enter")
        page.locator("#found mark").first.wait_for()
        assert page.evaluate("window.hacked") is None and elsewhere == []
        for name in ("Chat", "Optimize", "DF-Prompt", "Runs", "Prompts"):
            page.get_by_role("tab", name=name, exact=True).click()
            page.wait_for_timeout(300)
            page.screenshot(path=screenshots / f"phone_{name}.png", full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390 + 1
