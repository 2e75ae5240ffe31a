"""A skip that nobody foresaw fails the run; one that is foreseen, or a test that is expected to fail, does not."""

from __future__ import annotations

import pytest

TESTS = """
import pytest

@pytest.mark.skip(reason={reason!r})
def test_marked(): ...

def test_inside():
    pytest.skip({reason!r})

@pytest.mark.xfail
def test_known():
    assert False

def test_passes(): ...
"""
MODULE = "import pytest\npytest.importorskip('no_such_module', reason={reason!r})\ndef test(): ...\n"
FORESEEN = "the extra `minilm` is not installed"


def run(pytester: pytest.Pytester, source: str) -> pytest.RunResult:
    pytester.makepyfile(source)
    return pytester.runpytest_inprocess("-p", "tests.unexpected_skips", "-p", "no:cacheprovider")


def test_a_foreseen_skip_passes(pytester: pytest.Pytester) -> None:
    result = run(pytester, TESTS.format(reason=FORESEEN))
    result.assert_outcomes(passed=1, skipped=2, xfailed=1)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*unexpected*")


@pytest.mark.parametrize("reason", ["needs a font", f"{FORESEEN}, nor is a font", "unconditional skip"])
def test_another_skip_fails_the_run_which_says_where_and_why(pytester: pytest.Pytester, reason: str) -> None:
    result = run(pytester, TESTS.format(reason=reason))
    result.assert_outcomes(passed=1, skipped=2, xfailed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*unexpected skips*", f"*.py::test_marked: {reason}", f"*.py::test_inside: {reason}"])


@pytest.mark.parametrize(
    ("reason", "code"), [(FORESEEN, pytest.ExitCode.NO_TESTS_COLLECTED), ("needs a font", pytest.ExitCode.TESTS_FAILED)]
)
def test_a_module_that_is_skipped_counts_as_a_test_does(pytester: pytest.Pytester, reason: str, code: pytest.ExitCode) -> None:
    assert run(pytester, MODULE.format(reason=reason)).ret == code


def test_a_run_that_fails_anyhow_keeps_its_exit_status(pytester: pytest.Pytester) -> None:
    assert run(pytester, "import pytest\n@pytest.mark.skip(reason='x')\ndef test(): ...\nno_such_name").ret == pytest.ExitCode.INTERRUPTED
