"""What may become an instruction: general advice in any wording, and nothing bound to one picture."""

from __future__ import annotations

import pytest

from limner.agents.guard import MOST_CHARACTERS, MOST_WORDS, check_instruction

PARENT = "Turn the description below into better prompts."


def kind(text: str, *subjects: str, seen: tuple[str, ...] = (), parent: str = PARENT) -> str:
    return check_instruction(text, parent, seen, subjects).kind or "fine"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        ("N/A", "empty"),
        ("I'm sorry, but I can't help with that.", "refusal"),
        ("Sure! Here is the new instruction: name the light.", "preamble"),
        ("The improved instruction is: name the light.", "preamble"),
        ("To improve the prompt,", "empty"),
        ("Name the light.\n```", "markup"),
    ],
)
def test_what_is_no_instruction_is_refused(text: str, expected: str) -> None:
    assert kind(text) == expected


@pytest.mark.parametrize("parent", ["Write.", PARENT, PARENT * 20])
def test_the_limit_is_exact_whatever_the_parent_s_length(parent: str) -> None:
    assert kind(" ".join(["word"] * MOST_WORDS), parent=parent) == "fine"
    assert kind(" ".join(["word"] * (MOST_WORDS + 1)), parent=parent) == "over-long"
    assert kind("光" * MOST_CHARACTERS, parent=parent) == "fine"
    assert kind("光" * (MOST_CHARACTERS + 1), parent=parent) == "over-long"


@pytest.mark.parametrize(
    "text",
    [
        "As an expert prompt engineer, name the light and the medium.",
        "To improve the image, name the light and the medium.",
        "- Name the light.\n- Name the medium.",
        "You write prompts. Keep them short.",
    ],
)
def test_ways_in_which_instructions_begin_are_no_preambles(text: str) -> None:
    assert kind(text) == "fine"


def test_the_same_demands_in_another_order_are_a_copy_and_one_other_demand_is_none() -> None:
    old = 'Write a prompt. Add "warm light", "mist".'
    assert kind('Write a prompt. Add "mist", "warm light".', seen=(old,)) == "duplicate"
    assert kind('Write a prompt. Add "warm light", "fog".', seen=(old,)) == "fine"
    assert kind('Write a prompt. Leave out "warm light", "mist".', seen=(old,)) == "fine"


def test_a_copy_of_any_earlier_instruction_is_found() -> None:
    seen = ("Name the light of the scene.", "Name the medium first, in two words.", "Say what the picture is for.")
    assert [kind(text.upper(), seen=seen) for text in seen] == ["duplicate"] * 3


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("Describe the spines of the cactus.", "A cactus"),
        ("Say how waterfalls move.", "A waterfall"),
        ("Mention the hot-air balloon and its colours.", "Hot air balloon"),
        ("Place the surfers on the beach.", "Beach with surfers"),
        ("Make the cat's fur shine.", "a photo of a cat, sharp focus"),
        ("Show the tennis ball in flight.", "A man in a hat is getting ready to hit a tennis ball."),
    ],
)
def test_advice_about_one_picture_is_refused(text: str, subject: str) -> None:
    assert kind(text, "an old harbour", subject) == "one subject"
    assert kind(text, "an old harbour") == "fine"


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("Write in the style of a master, and name the medium.", "a portrait in the style of Monet"),
        ("Ask for a photo of high quality.", "a photo of a cat"),
        ('Add "sharp focus", "8k".', "a castle, sharp focus, 8k"),
        ("Put it on the left of the scene.", "an apple on the left of the table"),
        ("Name the light and the background.", "light in the background"),
        ("Keep it simple.", ""),
    ],
)
def test_words_that_any_picture_may_need_are_no_subject(text: str, subject: str) -> None:
    assert kind(text, subject) == "fine"


def test_what_the_parent_says_of_a_subject_a_child_may_say_too() -> None:
    parent = "Describe the cactus."
    assert kind("Describe the cactus in warm light.", "A cactus", parent=parent) == "fine"
    assert kind("Describe the cactus and the yacht.", "A cactus", "A luxury yacht", parent=parent) == "fine"
    assert kind("Describe the cactus and the luxury yacht.", "A cactus", "A luxury yacht", parent=parent) == "one subject"
