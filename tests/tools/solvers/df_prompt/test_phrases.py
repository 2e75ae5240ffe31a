"""Which phrases of a prompt may come, go and weigh."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.promptdb.records import Conditioning
from limner.tools.solvers.df_prompt.effects import DEFAULT, EARLY, GRID, LATE, hand_rule
from limner.tools.solvers.df_prompt.phrases import movable, with_effects
from tests.tools.prompt_language.prompts import TEXTS, WORDS


def moving(text: str, reference: str = "", pins: tuple[str, ...] = ()) -> list[str]:
    return [phrase.text for phrase in movable(text, reference, pins)]


def test_all_but_the_subject_may_move() -> None:
    assert moving("a cat, sharp focus, by a river\noil painting; 8k") == ["sharp focus", "by a river", "oil painting", "8k"]
    assert moving("a cat") == moving("") == moving(", ,") == []


def test_what_the_user_says_of_the_content_stays_and_the_user_s_modifiers_move() -> None:
    assert moving("a cat, a red hat, sharp focus, golden hour", reference="A cat, a red hat, sharp focus") == ["sharp focus", "golden hour"]


@pytest.mark.parametrize("pin", ["Sharp", "sharp  focus", "focus", "focus, oil"])
def test_pinned_words_never_move(pin: str) -> None:
    assert "sharp focus" not in moving("a cat, sharp focus, oil painting, 8k", pins=(pin,))
    assert moving("a cat, sharp focus, oil painting, 8k", pins=(pin,))[-1] == "8k"


def test_marks_beside_the_commas_stay_outside() -> None:
    assert moving("a cat, (sharp focus)!!, 8k...") == ["sharp focus", "8k"]


def test_the_hand_rule_has_quality_late_and_light_and_artists_early() -> None:
    phrases = movable("a cat, highly detailed, by greg rutkowski, golden hour")
    assert hand_rule(phrases) == ((*LATE, Fraction(3, 4)), (*EARLY, Fraction(1)), DEFAULT)


@given(text=TEXTS | st.lists(WORDS, min_size=1, max_size=6).map(", ".join), data=st.data())
def test_effects_change_no_word(text: str, data: st.DataObject) -> None:
    plain = Conditioning(text)
    phrases = movable(plain.text)
    assert all(plain.text[phrase.start : phrase.end] == phrase.text for phrase in phrases)
    found = with_effects(plain, phrases, [data.draw(st.sampled_from(GRID)) for _ in phrases])
    assert found.text == plain.text
    assert with_effects(found, phrases, [DEFAULT] * len(phrases)) == plain
