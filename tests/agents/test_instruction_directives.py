"""Directives are read from plain English, merged, and obeyed by the offline stand-in."""

from __future__ import annotations

import pytest

from limner.agents.instruction_directives import Directives, read, rest
from limner.agents.instructions.modifier import NewInstruction
from limner.agents.instructions.modifier import messages as modify
from limner.agents.instructions.text_gradient import Findings, Row
from limner.agents.instructions.text_gradient import messages as gradient
from limner.agents.llm.base import NoAnswer
from limner.agents.llm.server import open_chat
from limner.agents.llm.settings import ChatSettings
from limner.agents.rewriter import DEFAULT_INSTRUCTION, Exemplar, rewrite
from limner.tools.budget import Budget

OFFLINE = open_chat(ChatSettings.from_env({}), Budget())
EXEMPLARS = [Exemplar(f"a {thing}", f"a {thing}, 8k, elegant", "blurry") for thing in ("boat", "lamp", "tree")]


def text_of(instruction: str, prompt: str = "a cat") -> tuple[str, str]:
    found = rewrite(OFFLINE, prompt, EXEMPLARS, 1, instruction)[0].conditioning
    return found.text, found.negative


def test_every_kind_is_read_and_written_back() -> None:
    text = 'Be brief. Please add "sharp focus", "warm light" and "mist". Avoid "8k" or "4k". Put “blurry” into the negative list. Thanks.'
    found = read(text)
    assert found == Directives(("sharp focus", "warm light", "mist"), ("8k", "4k"), ("blurry",))
    assert read(found.text()) == found
    assert rest(text) == "Be brief. Please Thanks."
    assert not read("Add light, and leave out nothing.")


@pytest.mark.parametrize("said", ["Do not add", "Never use", "Don't include", "Avoid using", "Please never add"])
def test_what_is_forbidden_is_not_added(said: str) -> None:
    assert read(f'Be brief. {said} "8k".') == Directives(leave=("8k",))


def test_later_directives_win() -> None:
    first = Directives(add=("mist",), leave=("8k",), negate=("blurry",))
    assert first.merged(Directives(add=("8k", "blurry"), leave=("Mist",))) == Directives(("8k", "blurry"), ("Mist",), ())


def test_the_stand_in_obeys() -> None:
    assert text_of(DEFAULT_INSTRUCTION) == ("a cat, 8k, elegant", "blurry")
    assert text_of('Add "warm light". Leave out "8k". Put "dull" into the negative list.') == ("a cat, warm light, elegant", "dull, blurry")
    assert text_of('Leave out "blurry".')[1] == ""


def test_the_stand_in_adds_nothing_that_contradicts_the_prompt() -> None:
    assert "day" not in text_of('Add "daylight".', "a cat at night")[0]


def test_findings_name_what_strong_rows_have_and_weak_ones_lack() -> None:
    low = Row("a cat", "a cat, 8k", "", 0.2), Row("a dog", "a dog, 8k", "", 0.2)
    high = Row("a cat", "a cat, warm light", "", 0.4), Row("a dog", "a dog, warm light, elegant", "blurry", 0.3)
    asked = gradient(DEFAULT_INSTRUCTION, list(zip(low, high, strict=True)), 3)
    said = [finding.improvement for finding in OFFLINE.ask(asked, Findings).findings]
    assert said == ['Add "warm light", "elegant".', 'Put "blurry" into the negative list.', 'Leave out "8k".']
    backwards = gradient(DEFAULT_INSTRUCTION, list(zip(high, low, strict=True)), 3)
    with pytest.raises(NoAnswer):
        OFFLINE.ask(backwards, Findings)


def test_an_improvement_becomes_a_directive_and_without_one_a_directive_is_dropped() -> None:
    old = f'{DEFAULT_INSTRUCTION} Add "mist".'
    asked = modify(old, "", 'Add "warm light". Leave out "mist".', 0)
    assert OFFLINE.ask(asked, NewInstruction).instruction == f'{DEFAULT_INSTRUCTION} Add "warm light". Leave out "mist".'
    assert OFFLINE.ask(modify(old, "", "", 1), NewInstruction).instruction == DEFAULT_INSTRUCTION
    for asked in (modify(DEFAULT_INSTRUCTION, "", "", 1), modify(old, "", "", 1, "paraphrase")):
        with pytest.raises(NoAnswer):
            OFFLINE.ask(asked, NewInstruction)
