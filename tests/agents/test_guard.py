"""What must not become a prompt, and what must never be held against one."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from limner.agents.guard import check, clean, holds, is_refusal, key

ORIGINAL = "a red cat on a chair"
GOOD = "a red cat on a chair, sharp focus, warm light"
TEXT = st.text(max_size=200)


def kind(text: str, original: str = ORIGINAL, **options: object) -> str | None:
    verdict = check(text, original, **options)
    assert verdict.ok == (verdict.kind is None)
    assert bool(verdict.reason) != verdict.ok and "\n" not in verdict.reason
    return verdict.kind


def test_a_plain_rewrite_passes():
    assert kind(GOOD, pins=["red cat"], token_limit=lambda text: (len(text.split()), 77), seen={key(ORIGINAL)}) is None


@pytest.mark.parametrize(
    "refusal",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, I cannot assist with this request.",
        "I am very sorry, but as a responsible assistant I must decline.",
        "Sorry, but I can't create that image.",
        "I cannot generate prompts of real people.",
        "Unfortunately, I can't provide that.",
        "As an AI language model, I am not able to draw cats.",
        "As an AI, I don't have feelings about cats.",
        "I'm unable to fulfill this request.",
        "I must decline to write this.",
        "This request violates our content policy.",
        "a red cat. I won't create anything more explicit.",
        "That would go against my guidelines.",
        "My apologies, but this is not something I do.",
        "抱歉，我无法帮助你。",
        "Lo siento, no puedo ayudar con eso.",
        "Es tut mir leid, dabei kann ich nicht helfen.",
        "\"I'm sorry, I can't do that.\"",
    ],
)
def test_refusals_are_told(refusal):
    assert is_refusal(refusal)
    assert kind(refusal) == "refusal"


@pytest.mark.parametrize(
    "preamble",
    [
        "Sure, here is a refined prompt: a red cat",
        "Sure! a red cat on a chair, best quality",
        "Certainly! Here's the improved version of your prompt.",
        "Of course, here are three variants",
        "Here is the refined prompt: a red cat",
        "Here's a more detailed description of the red cat",
        "To refine the prompt about a red cat, add more details.",
        "To improve the given prompt, consider the lighting",
        "The refined prompt is: a red cat",
        "Below is a keyword list for the red cat",
        "I have rewritten the prompt to be more vivid",
        "Let me refine this for you: a red cat",
        "As a prompt engineer, I suggest: a red cat",
        "Okay, let's make it better: a red cat",
    ],
)
def test_preambles_are_told(preamble):
    assert kind(preamble) == "preamble"


@pytest.mark.parametrize(
    "harmless",
    [
        "portrait of a woman saying sorry, rain, neon lights",
        "I cannot believe it is not butter, product photo",
        "great white shark, underwater, sharp focus",
        "Great Italian villa on a hill",
        "certain death, dark fantasy, highly detailed",
        "an AI robot painting a picture, as an oil painting",
        "here be dragons, old map, parchment",
        "a letter to the editor, vintage",
        "sure-footed goat on a cliff, golden hour",
        "ok hand sign emoji, flat design",
        "let there be light, cathedral, volumetric rays",
        "thank you card with flowers",
        "the new version of an old house, architecture",
        "content creator in a studio",
        "I, robot, chrome, studio light",
    ],
)
def test_ordinary_prompts_are_not_mistaken_for_talk(harmless):
    assert kind(harmless) is None


@pytest.mark.parametrize("empty", ["", "  \n", "...", ", , ,", "-", "N/A", "None", "null", "undefined"])
def test_empties_and_placeholders_are_told(empty):
    assert kind(empty) == "empty"


def test_an_emoji_is_a_prompt():
    assert kind("🐈🪑") is None


def test_duplicates_are_told_whatever_case_blanks_and_marks():
    seen = {key(GOOD)}
    assert kind("A red  cat on a chair; sharp focus, WARM light.", seen=seen) == "duplicate"
    assert kind("a red cat on a chair, warm light, sharp focus", seen=seen) is None


def test_the_same_prompt_with_another_negative_is_no_duplicate():
    seen = {key(GOOD, "blurry")}
    assert kind(GOOD, seen=seen, negative="blurry") == "duplicate"
    assert kind(GOOD, seen=seen, negative="cropped") is None


def test_over_long_texts_are_told_by_tokens_and_by_length():
    assert kind(GOOD, token_limit=lambda text: (78, 77)) == "over-long"
    assert kind(GOOD, token_limit=lambda text: (77, 77)) is None
    assert kind("cat, " * 1000) == "over-long"
    assert kind(" ".join(["red cat"] * 400), original=" ".join(["cat"] * 100)) is None, "ten times a long original is still allowed"


def test_a_lost_pin_is_told_and_only_whole_words_count():
    assert kind("a red dog", pins=["cat"]) == "lost pin"
    assert kind("a category of things", pins=["cat"]) == "lost pin"
    assert kind("a RED   Cat", pins=["red cat"]) is None
    assert kind("a cat that is red", pins=["red cat"]) == "lost pin"
    assert kind("a red cat", pins=["red cat", "chair"]) == "lost pin"
    assert kind("a red cat", pins=["", "  "]) is None


@pytest.mark.parametrize(
    ("text", "pin"),
    [
        ("a café, night", "CAFÉ"),
        ("a cafe\u0301, night", "caf\u00e9"),
        ("Straße im Regen", "STRASSE"),
        ("一只猫在椅子上", "猫"),
        ("cat🐈on a chair", "🐈"),
        ("a 3d render", "3D"),
        ("a c++ logo (flat)", "c++"),
    ],
)
def test_pins_hold_in_any_script(text, pin):
    assert holds(text, pin)


@pytest.mark.parametrize(
    "left_over",
    [
        "a red cat ```json",
        "a red cat, sharp focus. Negative prompt: blurry, dull",
        "a red cat, Negative: blurry",
        '{"positive": "a red cat"',
        "</example> a red cat",
        "**a red cat** on a chair",
        "# A red cat",
    ],
)
def test_markup_that_cleaning_cannot_mend_is_told(left_over):
    assert kind(clean(left_over)) == "markup"


@pytest.mark.parametrize(
    "wrapped",
    [
        GOOD,
        f'"{GOOD}"',
        f"“{GOOD}”",
        f"'{GOOD}'",
        f"`{GOOD}`",
        f"```\n{GOOD}\n```",
        f"```text\n{GOOD}```",
        f"Prompt: {GOOD}",
        f"Positive: {GOOD}",
        f"positive prompt: {GOOD}",
        f"**Positive prompt:** {GOOD}",
        f'Refined prompt: "{GOOD}"',
        f'```\nPrompt: "{GOOD}"\n```',
        f"<think>what would look\ngood?</think>\n{GOOD}",
        f"\ufeff{GOOD}\u200b\x00",
        f"  {GOOD}\r\n",
    ],
)
def test_harmless_wrapping_is_taken_off(wrapped):
    assert clean(wrapped) == GOOD


def test_the_label_of_the_other_list_is_not_taken_off():
    assert clean("Negative prompt: blurry", "negative") == "blurry"
    assert kind(clean("Negative prompt: blurry")) == "markup"


@pytest.mark.parametrize("untouched", ['"a" and "b"', "it's the cat's", "family 👨\u200d👩\u200d👧 portrait", "two\nlines", "ratio: 3:2"])
def test_what_belongs_to_the_text_stays(untouched):
    assert clean(untouched) == untouched


def test_the_users_own_phrases_are_not_held_against_a_rewrite():
    assert kind("I'm sorry, vintage card, roses", original="I'm sorry card") is None
    assert kind('a sign saying "I can\'t do this", neon', original='a sign saying "I can\'t do this"') is None
    assert kind("a poster with **stars**, flat", original="a poster with **stars**") is None


@given(TEXT)
@example('```\n"Prompt: `x`"\n```')
@example("prompt:prompt:")
@example("<think></think>" * 3)
def test_cleaning_twice_changes_nothing_more(text):
    assert clean(clean(text)) == clean(text)


@given(TEXT, st.sampled_from(["", '"', "`", "```\n", "Prompt: "]))
def test_cleaning_only_takes_away_and_leaves_something_storable(text, before):
    cleaned = clean(before + text)
    cleaned.encode()
    assert len(cleaned) <= len(before + text)
    assert "\x00" not in cleaned


@given(TEXT)
def test_a_text_is_a_fair_rewrite_of_itself(text):
    """Every phrase of the user's is allowed, so nothing but emptiness can speak against the user's own words."""
    assert check(text, text).kind in (None, "empty")


@given(TEXT, st.data())
def test_any_words_of_a_text_are_held_by_it(text, data):
    words = clean(text).split()
    assume(words)
    start = data.draw(st.integers(0, len(words) - 1))
    stop = data.draw(st.integers(start + 1, len(words)))
    assert holds(" ".join(words), " ".join(words[start:stop]))


@given(TEXT, TEXT)
def test_a_text_once_seen_is_a_duplicate(text, negative):
    assume(check(text, text, negative=negative).ok)
    assert check(text, text, seen={key(text, negative)}, negative=negative).kind == "duplicate"


@given(st.text(), st.text(), st.lists(st.text(max_size=10), max_size=3))
def test_checking_never_fails_and_always_gives_one_line(text, original, pins):
    verdict = check(text, original, pins, lambda text: (len(text), 50))
    assert verdict.ok or (verdict.reason and len(verdict.reason.splitlines()) == 1)
