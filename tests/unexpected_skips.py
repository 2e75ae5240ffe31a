"""A pytest plugin: a run in which a test was skipped for a reason that nobody foresaw has failed, and says which.

A test that needs something of the machine is no test on the next one: what it needs comes with it, or its reason is named here.
"""

from __future__ import annotations

import re

import pytest

FORESEEN = re.compile(
    "the extra `(minilm|ray)` is not installed"
    "|there is no CUDA device"
    "|chromium is not installed"
    "|this user may not mount a small file system"
    "|this root may not become another user"
    "|Debian's wordnet-base is not installed"  # compared with what was made of it
    "|langgraph's dev server is not installed"  # it wants other versions than we do
)


def unforeseen(reporter: pytest.TerminalReporter) -> list[str]:
    """`place: reason` of each test, or module, that was skipped for another reason than those of FORESEEN."""
    found = []
    for report in reporter.stats.get("skipped", ()):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not FORESEEN.fullmatch(reason):
            found.append(f"{report.nodeid}: {reason}")
    return found


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) and unforeseen(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if found := unforeseen(terminalreporter):
        terminalreporter.section("unexpected skips: the run has failed", red=True, bold=True)
        for line in found:
            terminalreporter.line(line)
