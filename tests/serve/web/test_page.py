"""The web page in a real browser: three turns to an accepted picture, a vote, a job that is watched and stopped, texts that are no markup.

Needs playwright and Debian's chromium; skipped where either is absent. SCREENSHOTS names a folder for pictures of the page.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the extra `serve` is not installed")
pytest.importorskip("playwright", reason="the extra `serve-test` is not installed")

from playwright.sync_api import Page, expect, sync_playwright

from tests.serve.live_server import serving, tiny_settings

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE = 120_000  # milliseconds
EVIL = '<img src=x onerror="window.hacked=1"> ![x](http://127.0.0.1:9/leak)'

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no /usr/bin/chromium")]


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


def opened(browser: Any, url: str, width: int = 1280) -> tuple[Page, list[str]]:
    """The page, and the addresses outside of this machine that it asked for."""
    page = browser.new_context(viewport={"width": width, "height": 900}).new_page()
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


def test_from_a_wish_to_an_accepted_picture_and_a_job_stopped_and_resumed(
    browser: Any, tiny: Path, tmp_path: Path, screenshots: Path
) -> None:
    settings = tiny_settings(tiny, tmp_path, budget=200)
    with serving(settings, page=True) as url:
        page, elsewhere = opened(browser, url)
        say(page, "a red cat")
        page.locator("#shown img").first.wait_for()
        settled(page)
        page.screenshot(path=screenshots / "chat.png")
        say(page, "pin cat")
        expect(page.locator("#talk")).to_contain_text("cat", timeout=PATIENCE)
        page.wait_for_timeout(500)
        settled(page)
        page.locator("#accept").click()
        expect(page.locator("#talk")).to_contain_text("fresh seeds", timeout=PATIENCE)
        settled(page)
        page.screenshot(path=screenshots / "accepted.png")
        page.locator("#compare").click()
        page.locator("#vote-left").wait_for()
        page.screenshot(path=screenshots / "vote.png")
        page.locator("#vote-left").click()
        page.locator("#vote-left").wait_for(state="hidden")
        page.get_by_role("tab", name="Optimize").click()
        page.locator("#prompts textarea").fill("a cat\na dog\na red cat\na blue dog\na photo of a cat\na photo of a dog")
        page.locator("#budget input").fill("200")
        page.locator("#start").click()
        page.locator("#live svg .curve").first.wait_for()
        page.screenshot(path=screenshots / "optimize.png")
        page.locator("#job-stop").click()
        expect(page.locator("#live")).to_contain_text("stopped", timeout=PATIENCE)
        assert elsewhere == []
    with serving(settings, page=True) as url:
        page, _ = opened(browser, url)
        page.get_by_role("tab", name="Optimize").click()
        expect(page.locator("#job input")).not_to_have_value("", timeout=PATIENCE)
        page.locator("#job-resume").click()
        expect(page.locator("#live")).to_contain_text("done", timeout=PATIENCE)
        page.locator("#export").click()
        expect(page.locator("#preset")).to_contain_text("instruction", timeout=PATIENCE)


def test_what_people_wrote_is_text_on_a_phone_too(browser: Any, tiny: Path, tmp_path: Path, screenshots: Path) -> None:
    with serving(tiny_settings(tiny, tmp_path, budget=200), page=True) as url:
        page, elsewhere = opened(browser, url, width=390)
        say(page, EVIL)
        settled(page)
        expect(page.locator("#talk")).to_contain_text(EVIL, timeout=PATIENCE)
        assert page.locator("#talk img[src*=leak], #talk img[src=x]").count() == 0
        page.screenshot(path=screenshots / "phone.png")
        page.get_by_role("tab", name="Prompts").click()
        page.locator("#query textarea, #query input").first.fill("castle <b>night</b>")
        page.keyboard.press("Enter")
        page.locator("#found mark").first.wait_for()
        assert page.evaluate("window.hacked") is None and elsewhere == []
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390 + 1
