"""What a person says, and what the request is afterwards: understood by rules, and carried out.

Each of FIRST, SECOND and THIRD was written after the rules as they stood and then used to mend them; before, 33, 34 and 35 of its 40
were right. MENDED are those that were found wrong while talking to the page. UNMENDED was written last, and no rule was changed for it: 38.
"""

from __future__ import annotations

import pytest

from limner.agents.chat.actions import Situation
from limner.agents.chat.commands import parse
from limner.graph.chat.state import Topic, first_topic
from limner.graph.chat.topic import Step, apply

REQUEST = "a red car on a beach"
CLAUSES = {"pins": [], "triggers": [], "traits": [], "bans": []}
WITHOUT_PICTURES = ("change", "remove", "pin", "unpin", "trait", "trigger", "ban")  # wishes that a topic without pictures bears

# (said, the kind that is among the wishes, the request afterwards or "" where it is left as it was)
FIRST = [
    ("take it, it's lovely", "accept", ""),
    ("yes, accept the second", "accept", ""),
    ("we can stop here, number 1 is it", "accept", ""),
    ("save picture 3", "accept", ""),
    ("I like 3 the most", "pick", ""),
    ("let's work with picture one", "pick", ""),
    ("the third, please", "pick", ""),
    ("some more options please", "more", ""),
    ("more pictures like number 2", "more", ""),
    ("keep the car and the beach but make it sunset", "change", "a red car on a beach at sunset"),
    ("keep the red car, replace the beach by a city street", "change", "a red car on a city street"),
    ("change the setting to a jungle", "change", "a red car with a jungle in the background"),
    ("set the background to mountains", "change", "a red car with mountains in the background"),
    ("could the car be green?", "change", "a green car on a beach"),
    ("a yellow one instead of red", "change", "a yellow car on a beach"),
    ("turn the car into a boat", "change", "a red boat on a beach"),
    ("make the car tiny", "change", "a red tiny car on a beach"),
    ("add a palm tree", "change", "a red car on a beach, a palm tree"),
    ("add two birds in the sky", "change", "a red car on a beach, two birds in the sky"),
    ("put it under water", "change", "a red car under water"),
    ("same thing but in the rain", "change", "a red car on a beach in the rain"),
    ("less light", "change", "a red car on a beach, less light"),
    ("without people please", "remove", "a red car on a beach"),
    ("remove the beach from the picture", "remove", "a red car"),
    ("pin the word red", "pin", ""),
    ("the word car has to stay", "pin", ""),
    ("don't touch the car", "pin", ""),
    ("ban the words blurry and dull", "ban", ""),
    ("never say trending on artstation", "ban", ""),
    ("you may use bokeh again", "allow", ""),
    ("undo that please", "undo", ""),
    ("back to turn 1", "undo", ""),
    ("go two steps back", "undo", ""),
    ("as a comic", "style", ""),
    ("draw it as pixel art", "style", ""),
    ("watercolor style please", "style", ""),
    ("try dpo-diff with 30 pictures", "solve", ""),
    ("search harder, 50 images at most", "solve", ""),
    ("don't draw more than 100 pictures in total", "cap", ""),
    ("let me compare 1 and 3 blind", "compare", ""),
]
SECOND = [
    ("that's the one, thank you", "accept", ""),
    ("I'm happy with picture 2", "accept", ""),
    ("finalize it", "accept", ""),
    ("okay, the fourth one it is", "pick", ""),
    ("continue from image 2", "pick", ""),
    ("number 3 is the nicest", "pick", ""),
    ("draw a few more like the first one", "more", ""),
    ("try again", "more", ""),
    ("other versions please", "more", ""),
    ("keep the beach, but make the car white", "change", "a white car on a beach"),
    ("keep it as it is but add a lighthouse", "change", "a red car on a beach, a lighthouse"),
    ("change the beach into a snowy field", "change", "a red car on a snowy field"),
    ("change the colour of the car to black", "change", "a black car on a beach"),
    ("swap the car with a motorcycle", "change", "a red motorcycle on a beach"),
    ("I'd prefer a forest instead of the beach", "change", "a red car in a forest"),
    ("make it winter", "change", "a red car on a beach in winter"),
    ("I want it at dawn", "change", "a red car on a beach at dawn"),
    ("set it in a desert", "change", "a red car in a desert"),
    ("have the car be blue", "change", "a blue car on a beach"),
    ("include a small dog", "change", "a red car on a beach, a small dog"),
    ("make the beach bigger", "change", "a red car on a big beach"),
    ("brighter please", "change", "a red car on a beach, brighter"),
    ("more dramatic", "change", "a red car on a beach, more dramatic"),
    ("take the beach away", "remove", "a red car"),
    ("I don't want any beach", "remove", "a red car"),
    ("lock the word car", "pin", ""),
    ("the car must stay red", "pin", ""),
    ("make sure the car is visible", "trait", ""),
    ("avoid the word neon", "ban", ""),
    ("do not use masterpiece any more", "ban", ""),
    ("oh no, go back", "undo", ""),
    ("revert the last change", "undo", ""),
    ("return to turn 3", "undo", ""),
    ("make it look like a pencil sketch", "style", ""),
    ("switch the style to neon", "style", ""),
    ("run the df-prompt solver with 40 images", "solve", ""),
    ("optimize the prompt with at most 60 pictures", "solve", ""),
    ("my budget is 150 images", "cap", ""),
    ("compare 2 with 4", "compare", ""),
    ("how much is left?", "status", ""),
]
THIRD = [
    ("wonderful, that's it", "accept", ""),
    ("accept number 4 please", "accept", ""),
    ("I am done", "accept", ""),
    ("picture two looks good, use that", "pick", ""),
    ("I choose the last one", "pick", ""),
    ("I'd go with 3", "pick", ""),
    ("4 is better", "pick", ""),
    ("can I see more?", "more", ""),
    ("show similar pictures to number 2", "more", ""),
    ("give me different ones", "more", ""),
    ("keep the car where it is but change the beach to a parking lot", "change", "a red car on a parking lot"),
    ("replace red with silver", "change", "a silver car on a beach"),
    ("change the red car to a green truck", "change", "a green truck on a beach"),
    ("can you paint the car orange?", "change", "an orange car on a beach"),
    ("make the background a mountain range", "change", "a red car with a mountain range in the background"),
    ("put the car in a garage", "change", "a red car in a garage"),
    ("add some clouds", "change", "a red car on a beach, some clouds"),
    ("give the car a roof rack", "change", "a red car on a beach, a roof rack"),
    ("at sunset", "change", "a red car on a beach at sunset"),
    ("make it foggy", "change", "a red car on a beach, foggy"),
    ("make the car look old", "change", "a red old car on a beach"),
    ("I want a bus instead of the car", "change", "a red bus on a beach"),
    ("no palm trees", "remove", "a red car on a beach"),
    ("get rid of the people", "remove", "a red car on a beach"),
    ("please keep the word beach in the prompt", "pin", ""),
    ("always include red car", "pin", ""),
    ("unpin red", "unpin", ""),
    ("the sea should be visible", "trait", ""),
    ("I never want to see the word bokeh", "ban", ""),
    ("exclude hdr", "ban", ""),
    ("take that back", "undo", ""),
    ("I preferred it before", "undo", ""),
    ("go back to the beginning", "undo", ""),
    ("use an oil painting style", "style", ""),
    ("make it a comic", "style", ""),
    ("in neon style", "style", ""),
    ("use auto with 100 images", "solve", ""),
    ("spend 20 more pictures on it", "solve", ""),
    ("limit the whole thing to 80 pictures", "cap", ""),
    ("start a blind vote", "compare", ""),
]
MENDED = [
    ("keep the car, change the background to snow", "change", "a red car in the snow"),
    ("keep the car but change the background to a forest", "change", "a red car with a forest in the background"),
    ("change the background to snow", "change", "a red car in the snow"),
    ("change the background to desert", "change", "a red car with a desert background"),
    ("make the background snow", "change", "a red car in the snow"),
    ("make the background white", "change", "a red car with a white background"),
    ("make the background a bit darker", "change", "a red car on a beach, dark background"),
    ("put it in the snow instead", "change", "a red car in the snow"),
    ("make the beach a desert", "change", "a red car in a desert"),
    ("make it at night", "change", "a red car on a beach at night"),
    ("I want the car blue", "change", "a blue car on a beach"),
    ("make the car bigger", "change", "a red big car on a beach"),
    ("make the car much older", "change", "a red old car on a beach"),
    ("make the lighting softer", "change", "a red car on a beach, soft lighting"),
    ("make the picture brighter", "change", "a red car on a beach, brighter"),
    ("make the colors more vivid", "change", "a red car on a beach, vivid colors"),
    ("second one but at night", "change", "a red car on a beach at night"),
    ("more like 2 but in winter", "change", "a red car on a beach in winter"),
    ("change it to a cat", "change", "a cat on a beach"),
    ("make it a cat", "change", "a cat on a beach"),
    ("turn it into a night scene", "change", "a red car on a beach, a night scene"),
    ("turn it into a watercolor", "style", "a red car on a beach"),
    ("change the time to night", "change", "a red car on a beach at night"),
    ("change the weather to rain", "change", "a red car on a beach in the rain"),
    ("keep everything but make it night", "change", "a red car on a beach at night"),
    ("change the time of day to sunset", "change", "a red car on a beach at sunset"),
    ("change the background to palm trees", "change", "a red car with palm trees in the background"),
    ("change the background to grass", "change", "a red car with a grass background"),
    ("the background should be a city", "change", "a red car with a city in the background"),
    ("background: forest", "change", "a red car with a forest background"),
    ("I want a cat instead", "describe", ""),
    ("make a new one: a dog in the park", "describe", ""),
    ("something completely different: an owl", "describe", ""),
    ("show me the prompt", "status", ""),
    ("give me the final prompt", "status", ""),
    ("which prompt was used?", "status", ""),
    ("make the second one darker", "pick", "a red car on a beach, darker"),
    ("make number 2 blue", "change", "a blue car on a beach"),
    ("it's too dark", "change", "a red car on a beach, bright"),
    ("too blurry", "change", "a red car on a beach, sharp focus"),
    ("the car is too small", "change", "a red big car on a beach"),
    ("zoom out", "change", "a red car on a beach, wide shot"),
    ("from above", "change", "a red car on a beach, from above"),
    ("delete everything", "unclear", ""),
]
UNMENDED = [
    ("ok this is what I had in mind", "accept", ""),
    ("I'll take number 2", "accept", ""),
    ("yes! accept", "accept", ""),
    ("let's go with the first", "pick", ""),
    ("option 3 please", "pick", ""),
    ("I like the look of number 4", "pick", ""),
    ("base it on image 1", "pick", ""),
    ("show me some more", "more", ""),
    ("more in the direction of 3", "more", ""),
    ("reroll", "more", ""),
    ("keep the composition but change the car to a tractor", "change", "a red tractor on a beach"),
    ("replace the beach with a racetrack", "change", "a red car on a racetrack"),
    ("can you turn the red into yellow?", "change", "a yellow car on a beach"),
    ("paint it black", "change", "a black car on a beach"),
    ("the car should be purple", "change", "a purple car on a beach"),
    ("move it to a forest", "change", "a red car in a forest"),
    ("set the time to dusk", "change", "a red car on a beach at dusk"),
    ("make it rain", "change", "a red car on a beach in the rain"),
    ("I want snow in the background", "change", ""),
    ("add a surfer and a dog", "change", "a red car on a beach, a surfer and a dog"),
    ("put a hat on the car", "change", ""),
    ("make the beach empty", "change", "a red car on an empty beach"),
    ("it looks too dull", "change", "a red car on a beach, vivid colors"),
    ("a bit sharper please", "change", ""),
    ("there should be no people", "remove", ""),
    ("drop the beach", "remove", "a red car"),
    ("red must stay", "pin", ""),
    ("pin beach and car", "pin", ""),
    ("never use the word cinematic", "ban", ""),
    ("ban 4k", "ban", ""),
    ("make sure there is a horizon", "trait", ""),
    ("undo the last two changes", "undo", ""),
    ("go back to how it was", "undo", ""),
    ("give it a comic look", "style", ""),
    ("I'd like it as an oil painting", "style", ""),
    ("use the auto method with a budget of 50 images", "solve", ""),
    ("improve it further", "solve", ""),
    ("at most 120 pictures", "cap", ""),
    ("blind test between 1 and 2", "compare", ""),
    ("what have we spent?", "status", ""),
]


def topic() -> Topic:
    return {**first_topic("miniature", 200, {**CLAUSES, "pins": ["red"]}, 0), "request": REQUEST}


def done(said: str) -> tuple[list[str], str]:
    """The kinds of the wishes understood, and the request afterwards."""
    step, wishes = Step(topic()), parse(said, Situation(request=REQUEST, shown=4))
    for wish in wishes:
        if wish.kind in WITHOUT_PICTURES:
            step = apply(step, wish, lambda action: None)
    return [wish.kind for wish in wishes], step.topic["request"]


@pytest.mark.parametrize(("said", "kind", "after"), [*FIRST, *SECOND, *THIRD, *MENDED])
def test_what_is_said_is_what_is_done(said: str, kind: str, after: str) -> None:
    kinds, request = done(said)
    assert kind in kinds
    assert request == (after or REQUEST)


def test_at_least_85_of_100_that_no_rule_was_mended_with_are_understood() -> None:
    wrong = []
    for said, kind, after in UNMENDED:
        kinds, request = done(said)
        if kind not in kinds or (after and request != after):
            wrong.append((said, kinds, request))
    assert len(UNMENDED) == 40 and len(wrong) <= 6, wrong


@pytest.mark.parametrize("said", ["the fourth one looks odd", "the beach is too small", "make sure"])
def test_a_remark_never_takes_the_place_of_the_request(said: str) -> None:
    assert "describe" not in [wish.kind for wish in parse(said, Situation(request=REQUEST, shown=4))]
