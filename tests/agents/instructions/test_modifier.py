"""New instructions: one call for each improvement, texts alone, and nothing unusable becomes one."""

from __future__ import annotations

import pytest

from limner.agents.guard import check_instruction
from limner.agents.instructions.modifier import offspring
from limner.agents.llm.server import ServerChat
from limner.agents.llm.settings import ChatSettings
from limner.tools.budget import Budget
from tests.chat_server import ChatServer, Scripted, answer, refusal, status

INSTRUCTION = "Write a better prompt."


def chat(server: ChatServer) -> ServerChat:
    settings = ChatSettings.from_env({"OPENAI_BASE_URL": server.url, "LIMNER_CHAT_MODEL": "stub"})
    return ServerChat(settings, Budget(), sleep=lambda seconds: None)


def new(text: str) -> Scripted:
    return answer({"instruction": text})


def test_each_improvement_is_one_question_of_its_own_about_texts_alone() -> None:
    improvements = ["Ask for light.", "Name the medium."]
    with ChatServer(
        new("Write a prompt with light."), new("Write a prompt that names its medium."), new("Paint with light in words.")
    ) as server:
        made = offspring(chat(server), INSTRUCTION, improvements, 3)
        asked = [request.text for request in server.requests]
    assert made.children == (
        ("Write a prompt with light.", "Ask for light."),
        ("Write a prompt that names its medium.", "Name the medium."),
        ("Paint with light in words.", "Ask for light."),
    )
    assert improvements[0] in asked[0] and improvements[1] not in asked[0] and improvements[1] in asked[1]
    assert "in other words" in asked[2] and "Write a prompt with light." in asked[2]
    assert all(len(request.body["messages"]) == 2 and "score" not in request.text for request in server.requests)


def test_without_improvements_other_directions_are_asked_for() -> None:
    with ChatServer(*(new(f"Direction {word}, fully other words {word * 2}.") for word in ("one", "two", "six"))) as server:
        made = offspring(chat(server), INSTRUCTION, [], 3)
        assert all("another direction" in request.text for request in server.requests)
    assert len(made.children) == 3 and all(finding == "" for _, finding in made.children)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (new(""), "empty"),
        (new("I'm sorry, but I can't assist with that request."), "refusal"),
        (new("Sure! Here is the improved instruction: write"), "preamble"),
        (new("word " * 201), "over-long"),
        (new("write a better prompt"), "duplicate"),
        (new("Describe the hot air balloon with more light."), "one subject"),
        (refusal(), "no answer"),
        (status(500), "no answer"),
    ],
)
def test_what_is_no_instruction_becomes_no_arm_and_is_counted(reply: Scripted, kind: str) -> None:
    with ChatServer(always=reply) as server:
        made = offspring(chat(server), INSTRUCTION, ["Ask for light."], 1, seen=[INSTRUCTION], subjects=["a hot air balloon at sea"])
    assert made.children == () and made.dropped == {kind: 1}


def test_dropped_arms_are_not_made_again_and_near_copies_count_as_copies() -> None:
    old = "Write a long and vivid prompt that names the light, the medium, the mood and the place of the picture."
    assert check_instruction(old.replace("vivid", "vivid,").upper(), INSTRUCTION, [old]).kind == "duplicate"
    assert check_instruction(old, INSTRUCTION, [old + " Briefly"]).kind == "duplicate"
    assert check_instruction(old + ' Add "warm light".', INSTRUCTION, [old + ' Add "sharp focus".']).ok


def test_what_the_parent_already_says_of_a_subject_is_not_held_against_a_child() -> None:
    parent = "Describe the hot air balloon."
    assert check_instruction("Describe the hot air balloon in warm light.", parent, subjects=["a hot air balloon"]).ok
    assert check_instruction("Describe a cat in warm light.", INSTRUCTION, subjects=["a cat"]).kind == "one subject"


@pytest.mark.parametrize(
    "said",
    [
        "Instruction: Name the light.",
        "Instruction 1: Name the light.",
        "**New instruction:** Name the light.",
        "<instruction>\nName the light.\n</instruction>",
        '"Name the light."',
    ],
)
def test_labels_and_tags_around_an_instruction_are_taken_off(said: str) -> None:
    with ChatServer(new(said)) as server:
        made = offspring(chat(server), INSTRUCTION, ["Ask for light."], 1)
    assert made.children == (("Name the light.", "Ask for light."),)


@pytest.mark.parametrize("said", ["Instruction 1:", "<instruction></instruction>", "**Instruction:** "])
def test_a_label_without_an_instruction_is_empty(said: str) -> None:
    with ChatServer(new(said)) as server:
        made = offspring(chat(server), INSTRUCTION, ["Ask for light."], 1)
    assert made.children == () and made.dropped == {"empty": 1}


def test_siblings_are_no_copies_of_each_other_and_failures_leave_the_rest() -> None:
    """One answer is a copy of its sibling, one question is refused, and so is the paraphrase that would have filled up."""
    replies = (new("Name the light."), new("name the LIGHT"), refusal(), new("Name the medium."), refusal())
    with ChatServer(*replies) as server:
        made = offspring(chat(server), INSTRUCTION, ["one", "two", "three", "four"], 4, seen=[INSTRUCTION])
    assert made.children == (("Name the light.", "one"), ("Name the medium.", "four"))
    assert made.dropped == {"duplicate": 1, "no answer": 2}
