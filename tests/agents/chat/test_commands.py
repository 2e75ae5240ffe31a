"""Understanding by rules. The rules were written without these utterances. FIRST and SECOND were then used to mend them (32 and 30 of 40
were right before); THIRD was written after that, and no rule was changed for it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.agents.chat import edits
from limner.agents.chat.actions import Action, Situation
from limner.agents.chat.commands import parse

SHOWN = Situation(request="a red car on a beach", shown=4, checkpoints=["miniature"])
EMPTY = Situation()
VOTING = Situation(request="a red car on a beach", shown=4, comparing=True)

FIRST: list[tuple[str, dict[str, Any]]] = [
    # accept
    ("That's exactly what I wanted!", {"kind": "accept"}),
    ("great, we're done here", {"kind": "accept"}),
    ("ok, I'll accept the third picture", {"kind": "accept", "image": 3}),
    ("number four is perfect, thanks", {"kind": "accept", "image": 4}),
    ("this one is good enough", {"kind": "accept"}),
    # pick
    ("let's continue with the second image", {"kind": "pick", "image": 2}),
    ("I prefer number 3", {"kind": "pick", "image": 3}),
    ("go with #4", {"kind": "pick", "image": 4}),
    ("the last one looks best", {"kind": "pick", "image": 4}),
    ("hmm, take the first", {"kind": "pick", "image": 1}),
    # more
    ("could you give me some more like the third?", {"kind": "more", "image": 3}),
    ("show me other variations", {"kind": "more"}),
    ("please redraw that", {"kind": "more"}),
    # keep and change
    ("keep the car but swap the beach for a desert", {"kind": "change", "old": "beach", "new": "desert"}),
    ("change the car's colour to green", {"kind": "change", "new": "green", "aspect": "colour"}),
    ("I'd like the background to be a snowy mountain", {"kind": "change", "aspect": "place"}),
    ("replace the beach with a busy street please", {"kind": "change", "old": "beach"}),
    ("put a surfboard on the roof", {"kind": "change"}),
    ("make it a little darker", {"kind": "change"}),
    ("paint the car yellow and keep the rest", {"kind": "change", "new": "yellow", "aspect": "colour"}),
    ("there shouldn't be any people", {"kind": "remove", "words": ["people"]}),
    ("get rid of the beach", {"kind": "remove", "words": ["beach"]}),
    # pin, trait, trigger
    ("always keep the words red car", {"kind": "pin", "words": ["red car"]}),
    ('please never drop "vintage chrome"', {"kind": "pin", "words": ["vintage chrome"]}),
    ("the trigger word is sks_style", {"kind": "trigger", "words": ["sks_style"]}),
    ("make sure I can see the headlights", {"kind": "trait", "words": ["headlights"]}),
    # ban
    ("stop using masterpiece", {"kind": "ban", "words": ["masterpiece"]}),
    ("no more neon or bokeh", {"kind": "ban", "words": ["neon", "bokeh"]}),
    ("I don't want to see the word 8k again", {"kind": "ban", "words": ["8k"]}),
    ("masterpiece is fine again", {"kind": "allow", "words": ["masterpiece"]}),
    # undo
    ("oops, take that back", {"kind": "undo"}),
    ("return to how it was three steps ago", {"kind": "undo", "steps": 3}),
    ("can we go back to turn 2?", {"kind": "undo", "turn": 2}),
    # style and checkpoint
    ("render it as a watercolor painting", {"kind": "style"}),
    ("how about a pixel art look?", {"kind": "style", "text": "pixel art"}),
    ("switch to the model sd-turbo", {"kind": "checkpoint", "text": "sd-turbo"}),
    # budget
    ("run the dpo-diff solver using 50 images", {"kind": "solve", "method": "dpo-diff", "images": 50}),
    ("spend another 80 pictures improving it", {"kind": "solve", "images": 80}),
    ("don't use more than 150 images in total", {"kind": "cap", "images": 150}),
    ("my budget is 90 pictures", {"kind": "cap", "images": 90}),
]


SECOND: list[tuple[str, dict[str, Any]]] = [
    # accept
    ("Perfect, that's the one", {"kind": "accept"}),
    ("yes, I'm happy with it", {"kind": "accept"}),
    ("the second picture is exactly right", {"kind": "accept", "image": 2}),
    ("let's finish with this", {"kind": "accept"}),
    ("accept picture one", {"kind": "accept", "image": 1}),
    # pick
    ("picture 3 please", {"kind": "pick", "image": 3}),
    ("I like the fourth one most", {"kind": "pick", "image": 4}),
    ("choose option two", {"kind": "pick", "image": 2}),
    ("work on the first one", {"kind": "pick", "image": 1}),
    ("number 2 looks better", {"kind": "pick", "image": 2}),
    # more
    ("make a few more in the spirit of number 1", {"kind": "more", "image": 1}),
    ("once more please", {"kind": "more"}),
    ("similar to the second, please", {"kind": "more", "image": 2}),
    # keep and change
    ("keep the beach, but turn the car into a bicycle", {"kind": "change", "old": "car", "new": "bicycle"}),
    ("the car should be blue instead", {"kind": "change", "new": "blue", "aspect": "colour"}),
    ("move it to a rainy city street", {"kind": "change"}),
    ("I want a truck instead of the car", {"kind": "change", "old": "car", "new": "truck"}),
    ("same picture, but at sunset", {"kind": "change"}),
    ("also add a palm tree on the left", {"kind": "change"}),
    ("make the scene more cheerful", {"kind": "change"}),
    ("everything as it is but with a purple sky", {"kind": "change"}),
    ("take out the beach", {"kind": "remove", "words": ["beach"]}),
    # pin, trait, trigger
    ("the phrase red car has to stay in", {"kind": "pin", "words": ["red car"]}),
    ("pin 'golden wheels' and 'beach'", {"kind": "pin", "words": ["golden wheels", "beach"]}),
    ("my LoRA trigger is zwx cat", {"kind": "trigger", "words": ["zwx cat"]}),
    ("the wheels must be visible", {"kind": "trait", "words": ["wheels"]}),
    # ban
    ("please avoid the words trending on artstation", {"kind": "ban", "words": ["trending on artstation"]}),
    ("never write hdr again", {"kind": "ban", "words": ["hdr"]}),
    ("ban bokeh, lens flare and grain", {"kind": "ban", "words": ["bokeh", "lens flare", "grain"]}),
    ("you may use hdr again", {"kind": "allow", "words": ["hdr"]}),
    # undo
    ("undo the last two changes", {"kind": "undo", "steps": 2}),
    ("I liked it better before", {"kind": "undo"}),
    ("back to round 1 please", {"kind": "undo", "turn": 1}),
    # style and checkpoint
    ("I'd prefer an oil painting", {"kind": "style", "text": "oil painting"}),
    ("do it in the style of a comic book", {"kind": "style", "text": "comic book"}),
    ("try the checkpoint runs/miniature-neon", {"kind": "checkpoint", "text": "runs/miniature-neon"}),
    # budget
    ("optimise this with df-prompt, at most 60 images", {"kind": "solve", "method": "df-prompt", "images": 60}),
    ("use 40 images to find something better", {"kind": "solve", "images": 40}),
    ("never draw more than 300 pictures", {"kind": "cap", "images": 300}),
    ("set my limit at 120", {"kind": "cap", "images": 120}),
]


THIRD: list[tuple[str, dict[str, Any]]] = [
    # accept
    ("wonderful, that is what I had in mind", {"kind": "accept"}),
    ("we are finished", {"kind": "accept"}),
    ("accept the last image", {"kind": "accept", "image": 4}),
    ("the first one looks perfect", {"kind": "accept", "image": 1}),
    ("that works for me, thanks", {"kind": "accept"}),
    # pick
    ("number three please", {"kind": "pick", "image": 3}),
    ("I'll go with the second", {"kind": "pick", "image": 2}),
    ("select picture 1", {"kind": "pick", "image": 1}),
    ("image 4 is my favourite", {"kind": "pick", "image": 4}),
    ("start from number two", {"kind": "pick", "image": 2}),
    # more
    ("another round, please", {"kind": "more"}),
    ("can I see more variations of the fourth one?", {"kind": "more", "image": 4}),
    ("something like number 2", {"kind": "more", "image": 2}),
    # keep and change
    ("keep the red car and change the beach into a parking lot", {"kind": "change", "old": "beach", "new": "parking lot"}),
    ("could the car be white?", {"kind": "change", "new": "white", "aspect": "colour"}),
    ("set the scene in a dense jungle", {"kind": "change"}),
    ("a motorcycle rather than a car", {"kind": "change", "old": "car", "new": "motorcycle"}),
    ("same thing but in winter", {"kind": "change"}),
    ("give the car a roof rack", {"kind": "change"}),
    ("make everything a bit softer", {"kind": "change"}),
    ("turn the beach into a harbour but keep the car", {"kind": "change", "old": "beach", "new": "harbour"}),
    ("please remove the car", {"kind": "remove", "words": ["car"]}),
    # pin, trait, trigger
    ("never lose the word red", {"kind": "pin", "words": ["red"]}),
    ("lock red car and beach", {"kind": "pin", "words": ["red car", "beach"]}),
    ('use the trigger token "abcgirl"', {"kind": "trigger", "words": ["abcgirl"]}),
    ("the picture must show two seagulls", {"kind": "trait", "words": ["two seagulls"]}),
    # ban
    ("forbid the word vintage", {"kind": "ban", "words": ["vintage"]}),
    ("don't ever add lens flare", {"kind": "ban", "words": ["lens flare"]}),
    ("exclude artstation and octane", {"kind": "ban", "words": ["artstation", "octane"]}),
    ("unban vintage", {"kind": "allow", "words": ["vintage"]}),
    # undo
    ("revert the last change", {"kind": "undo"}),
    ("go back one step", {"kind": "undo", "steps": 1}),
    ("return to turn number 3", {"kind": "undo", "turn": 3}),
    # style and checkpoint
    ("switch the style to anime", {"kind": "style", "text": "anime"}),
    ("turn this into a charcoal drawing", {"kind": "style", "text": "charcoal drawing"}),
    ("please use model stable-diffusion-2", {"kind": "checkpoint", "text": "stable-diffusion-2"}),
    # budget
    ("improve it using the adapter, 30 pictures at most", {"kind": "solve", "method": "adapter"}),
    ("run everything with a budget of 100 images", {"kind": "solve", "method": "auto", "images": 100}),
    ("do not spend more than 75 images", {"kind": "cap", "images": 75}),
    ("increase the budget to 250", {"kind": "cap", "images": 250}),
]


def right(actions: list[Action], wanted: dict[str, Any]) -> bool:
    return any(all(getattr(action, name) == value for name, value in wanted.items()) for action in actions)


@pytest.mark.parametrize("utterances", [FIRST, SECOND, THIRD], ids=["first", "second", "third"])
def test_at_least_85_of_100_paraphrases_are_understood(utterances: list[tuple[str, dict[str, Any]]]) -> None:
    assert len(utterances) == 40
    wrong = {said: parse(said, SHOWN) for said, wanted in utterances if not right(parse(said, SHOWN), wanted)}
    assert len(wrong) <= 6, wrong


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("pin red car and in watercolor style", [{"kind": "pin", "words": ["red car"]}, {"kind": "style", "text": "watercolor"}]),
        ("I'd rather have it at night", [{"kind": "change", "new": "at night"}]),
        ("go back, that was better before", [{"kind": "undo"}]),
        ("the car has to stay red", [{"kind": "pin", "words": ["red car"]}]),
        ("the car must stay blue", [{"kind": "change", "new": "blue", "aspect": "colour"}]),
        ("let the optimizer try with 30 images", [{"kind": "solve", "method": "auto", "images": 30}]),
        ("paint it like van gogh", [{"kind": "style", "text": "in the style of van gogh"}]),
        ("I'm happy with number 3", [{"kind": "accept", "image": 3}]),
        ("which prompts do you know about castles", [{"kind": "find", "text": "castles"}]),
    ],
)
def test_what_was_once_asked_back_or_taken_for_something_else(said: str, wanted: list[dict[str, Any]]) -> None:
    found = parse(said, SHOWN)
    assert len(found) == len(wanted) and all(right([action], expected) for action, expected in zip(found, wanted, strict=True)), found


@pytest.mark.parametrize("place", ["at night", "in the rain", "in the early morning"])
def test_an_hour_takes_nothings_place(place: str) -> None:
    assert edits.moved("a red car on a beach", place) == f"a red car on a beach {place}"
    assert edits.moved("a red car on a beach", "in a forest") == "a red car in a forest"
    assert edits.moved(f"a red car on a beach {place}", "in a forest") == f"a red car in a forest {place}"
    assert edits.moved(f"a red car {place}", "in a forest") == f"a red car {place} in a forest"


@pytest.mark.parametrize("said", ["blub", "flurb the gnarl", "what?", "42 maybe or so", "hm", "...", "that thing there you know", "🙂"])
def test_what_no_rule_knows_is_asked_back_never_guessed(said: str) -> None:
    (action,) = parse(said, SHOWN)
    assert action.kind == "unclear" and action.text


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("a red car on a beach", "a red car on a beach"),
        ("Please draw me a fox in the snow.", "a fox in the snow"),
        ("I'd like a picture of two cats", "two cats"),
        ("cyberpunk alley, rain, neon signs", "cyberpunk alley, rain, neon signs"),
    ],
)
def test_the_first_thing_said_is_what_to_draw(said: str, wanted: str) -> None:
    (action,) = parse(said, EMPTY)
    assert (action.kind, action.text) == ("describe", wanted)


@pytest.mark.parametrize("said", ["make me a picture", "something nice", "an image please", "hi"])
def test_a_wish_without_a_subject_is_asked_back(said: str) -> None:
    assert parse(said, EMPTY)[0].kind == "unclear"


@pytest.mark.parametrize(
    ("said", "choice"),
    [
        ("A", "left"),
        ("the right one", "right"),
        ("b is better", "right"),
        ("no difference", "tie"),
        ("I prefer the first", "left"),
        ("2", "right"),
    ],
)
def test_in_a_blind_vote_the_same_words_are_votes(said: str, choice: str) -> None:
    (action,) = parse(said, VOTING)
    assert (action.kind, action.choice) == ("vote", choice)


def test_several_wishes_in_one_turn_are_all_heard() -> None:
    kinds = [action.kind for action in parse("use 2, ban neon and 8k, and make it blue", SHOWN)]
    assert kinds == ["pick", "ban", "change"]


@given(st.text(max_size=300))
def test_anything_typed_gives_at_least_one_action_and_always_the_same(said: str) -> None:
    for situation in (EMPTY, SHOWN, VOTING):
        assert parse(said, situation) and parse(said, situation) == parse(said, situation)
