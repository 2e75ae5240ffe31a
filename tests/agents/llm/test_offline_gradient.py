"""The stand-in learns: what its findings say can be read back, put into an instruction and obeyed when it writes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from limner.agents.guard import holds
from limner.agents.instruction_directives import Directives, read, rest
from limner.agents.instructions.modifier import offspring
from limner.agents.instructions.text_gradient import Gradient, Row, contrast, pairs
from limner.agents.keywords import keywords
from limner.agents.llm.base import Message
from limner.agents.llm.offline import ALL_RULES, OfflineChat
from limner.agents.rewriter import DEFAULT_INSTRUCTION, Rewrites, rewrite

OFFLINE = OfflineChat(ALL_RULES)
THINGS = ("cat", "boat", "lamp", "tree")


def rows(manner: str, score: float, negative: str = "") -> list[Row]:
    return [Row(f"a {thing}", f"a {thing}, {manner}" if manner else f"a {thing}", negative, score) for thing in THINGS]


def learned(low: list[Row], high: list[Row], instruction: str = DEFAULT_INSTRUCTION, n: int = 3) -> Gradient:
    return contrast(OFFLINE, instruction, pairs(low, high), n, seed=1)


def told(gradient: Gradient) -> list[Directives]:
    return [read(finding.improvement) for finding in gradient.findings]


def test_what_scores_tell_ends_up_in_what_is_written() -> None:
    """Rows to findings to instruction to prompt, on an object that was in none of the rows."""
    gradient = learned(rows("faded", 0.2), rows("sharp focus", 0.5, "blurry"))
    improvements = [finding.improvement for finding in gradient.findings]
    instruction = DEFAULT_INSTRUCTION
    for improvement in improvements:
        ((instruction, finding),) = offspring(OFFLINE, instruction, [improvement], 1).children
        assert finding == improvement
    assert read(instruction) == Directives(("sharp focus",), ("faded",), ("blurry",))
    assert rest(instruction) == DEFAULT_INSTRUCTION
    found = rewrite(OFFLINE, "a bridge", [], 1, instruction)[0].conditioning
    assert (found.text, found.negative) == ("a bridge, sharp focus", "blurry")


def test_the_most_telling_words_come_first() -> None:
    low = rows("", 0.2)
    high = [
        Row("a cat", "a cat, mist, glow", "", 0.9),
        Row("a boat", "a boat, haze, glow", "", 0.3),
        Row("a lamp", "a lamp, haze", "", 0.3),
    ]
    assert told(learned(low, high, n=1))[0].add == ("glow", "mist")


def test_without_better_rows_nothing_is_found() -> None:
    worse = contrast(OFFLINE, DEFAULT_INSTRUCTION, list(zip(rows("glow", 0.5), rows("faded", 0.2), strict=True)))
    assert worse.findings == () and worse.dropped == {"no answer": 1}


def test_what_the_instruction_says_already_is_not_found_again() -> None:
    low, high = rows("", 0.2), rows("glow, mist", 0.5)
    assert told(learned(low, high, f'{DEFAULT_INSTRUCTION} Add "Glow".')) == [Directives(add=("mist",))]


def test_the_words_of_an_object_are_no_finding() -> None:
    low = [Row("a red cat", "a red cat", "", 0.2)]
    assert told(learned(low, [Row("a red cat", "a red cat, cat, red cat, glow", "", 0.5)])) == [Directives(add=("glow",))]


def test_a_keyword_that_cannot_be_quoted_does_not_spoil_its_neighbours() -> None:
    quoted = '"untitled", “still”, glow'
    (finding,) = told(learned(rows("", 0.2), rows(quoted, 0.5)))
    assert finding == Directives(add=("glow",))


WORD = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12)


@given(st.lists(WORD, max_size=6).map(", ".join), st.lists(WORD, max_size=6).map(", ".join), st.integers(0, 3))
def test_whatever_the_rows_hold_every_finding_is_a_directive_and_nothing_else(weak: str, strong: str, seed: int) -> None:
    contrasts = pairs(rows(weak, 0.2, strong), rows(strong, 0.5, weak))
    for finding in contrast(OFFLINE, DEFAULT_INSTRUCTION, contrasts, seed=seed).findings:
        assert read(finding.improvement) and not rest(finding.improvement)


def written(instruction: str, description: str = "a cat", n: int = 5) -> list[tuple[list[str], str]]:
    facts: dict[str, Any] = {"description": description, "exemplars": [], "n": n, "pins": [], "instruction": instruction}
    return [(keywords(item.positive), item.negative) for item in OFFLINE.ask([Message("user", "", facts)], Rewrites).variants]


def test_every_first_variant_obeys_a_person_s_english() -> None:
    english = 'Be brief, please. Use "glow" and “soft light”. Avoid "8k". Put "blurry", "text" into the negative prompt. Thank you!'
    assert written(english)[0] == (["a cat", "glow", "soft light"], "blurry, text")


def test_an_order_that_contradicts_the_prompt_or_changes_its_subject_is_not_followed() -> None:
    assert written('Add "oil painting", "glow".', "a photo of a cat")[0][0] == ["a photo of a cat", "glow"]
    assert written('Add "blue background", "glow".')[0][0] == ["a cat", "glow"]
    assert written('Put "blurry", "text" into the negative list.', "a blurry cat")[0][1] == "text"
    assert all(holds(", ".join(tags), "a cat") for tags, _ in written('Leave out "cat", "a cat".'))


def test_an_instruction_without_orders_changes_nothing() -> None:
    plain = written("")
    for text in (DEFAULT_INSTRUCTION, "Add light. Avoid mistakes.", 'Say "cheese".'):
        assert written(text) == plain


def test_the_same_question_has_the_same_answer() -> None:
    low, high = rows("faded, dull, flat, grain", 0.2), rows("glow, mist, haze, bloom, dew", 0.5, "text, logo, blurry, frame")
    assert learned(low, high, n=5) == learned(low, high, n=5)
    assert len(told(learned(low, high, n=5))) == 5


def test_an_instruction_without_orders_cannot_be_varied() -> None:
    made = offspring(OFFLINE, DEFAULT_INSTRUCTION, [], 2)
    assert made.children == () and made.dropped == {"no answer": 2}
