"""The fuzzer itself, for a second; `python -m tests.tools.prompt_language.fuzz` goes on for longer."""

from __future__ import annotations

import json
import random

import pytest

from tests.tools.prompt_language import fuzz


def test_a_second_of_it_finds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--seconds", "1", "--seed", "7"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["failed"] is None and told["prompts"] > 0


@pytest.mark.parametrize("source", ["a [red:0-1:1] cat", "a [", "]" * 50, "\\[" * 50, ""])
def test_what_it_checks_holds_for_these(source: str) -> None:
    fuzz.check(source, random.Random(0))
