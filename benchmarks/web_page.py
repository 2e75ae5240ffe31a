"""The web page: how soon it answers, and what watching an `optimize` job costs the server beside the job itself.

    python -m benchmarks.web_page [--loads 5] [--seconds 40]

A server in this process on a free port of this machine, in a folder that is gone afterwards, and Debian's chromium through playwright as
the browser of a person who watches. Seconds are wall time, from the navigation until a tab that was clicked has opened. The cost is CPU
time of this process: of every look at the job, by the thread that takes it, and of an open page for which there is nothing new, both in
parts of the CPU time that the job takes meanwhile. Claims: interactive within 2 s, at most 3 % for the live view.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from limner.graph.settings import Settings
from limner.serve.http.app import build_app
from limner.serve.service.requests import OptimizeAsk
from limner.serve.service.service import Offer, Service

CHROMIUM = "/usr/bin/chromium"
LOOKS = ("red", "blue", "small", "big", "old", "white")
PROMPTS = [f"a {look} {thing}" for look in LOOKS for thing in ("cat", "dog", "car")]
JOB = {"prompts": PROMPTS, "budget": 2000, "iterations": 100, "batch_size": 4}
SETTLED = 5.0  # seconds that a page is left alone first: it still asks for its last pieces
REST = 10.0  # seconds over which an open page without news is measured


class Looks:
    """CPU seconds of all calls of a function, by the threads that made them."""

    def __init__(self) -> None:
        self.seconds, self.calls = 0.0, 0

    def counted(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def look(*arguments: Any) -> Any:
            started = time.thread_time()
            try:
                return work(*arguments)
            finally:
                self.seconds += time.thread_time() - started
                self.calls += 1

        return look


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=40)
    options = parser.parse_args()
    if not Path(CHROMIUM).exists():
        raise SystemExit(f"there is no {CHROMIUM}; nothing was measured")
    with tempfile.TemporaryDirectory() as out, _served(Path(out)) as (url, service), _browser() as browser:
        times = []
        for _ in range(options.loads):
            page, seconds = _opened(browser, url)
            times.append(seconds)
            page.close()
        page, _ = _opened(browser, url)
        marks, views = Looks(), Looks()
        service.job_mark = marks.counted(service.job_mark)  # type: ignore[method-assign]
        service.job_view = views.counted(service.job_view)  # type: ignore[method-assign]
        time.sleep(SETTLED)
        resting = _cpu_over(REST) / REST
        job = service.start_job("bench", OptimizeAsk.model_validate(JOB))
        page.reload(wait_until="domcontentloaded")  # it looks at the newest job
        page.get_by_role("tab", name="Optimize").click()
        page.locator("#grid img").first.wait_for(timeout=300_000)
        marks.seconds = views.seconds = marks.calls = views.calls = 0
        taken = _cpu_over(options.seconds)
        if service.jobs is not None:
            service.jobs.halt(job.id, "stopped")
    looking = marks.seconds + views.seconds + resting * options.seconds
    each = 1000 * views.seconds / max(1, views.calls)
    print(f"page interactive       {statistics.median(times):6.2f} s, the median of {options.loads}, {max(times):.2f} at worst (claim: 2)")
    print(f"an open page at rest   {100 * resting:6.2f} % of a core")
    print(f"looks at the job       {marks.calls}, of which {views.calls} saw something new and took {each:.1f} ms each")
    print(f"live view to the job   {100 * looking / (taken - looking):6.2f} % of its CPU time over {options.seconds:g} s (claim: 3)")


def _cpu_over(seconds: float) -> float:
    """CPU seconds of this process meanwhile."""
    before = time.process_time()
    time.sleep(seconds)
    return time.process_time() - before


def _opened(browser: Any, url: str) -> tuple[Any, float]:
    """The page with its tab for jobs open, and the seconds from the navigation until then."""
    page = browser.new_page()
    started = time.perf_counter()
    page.goto(f"{url}/", wait_until="domcontentloaded")
    page.get_by_role("tab", name="Optimize").click()
    page.locator("#prompts textarea").wait_for()
    return page, time.perf_counter() - started


@contextmanager
def _browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield launched
        finally:
            launched.close()


@contextmanager
def _served(out: Path) -> Iterator[tuple[str, Service]]:
    import uvicorn

    app = build_app(Offer(Settings(out=str(out))))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", app.state.service
        finally:
            server.should_exit = True
            thread.join(30)


if __name__ == "__main__":
    main()
