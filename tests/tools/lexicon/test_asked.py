"""Lists asked of a chat model: parsed, asked again, kept, and done without where they are garbage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from limner.promptdb.store import PromptDB
from limner.tools.lexicon.asked import QUESTIONS, Answer, ask_lexicon, parse


class NoWords:
    def synonyms(self, word: str) -> tuple[str, ...]:
        return ("from the file",)

    def antonyms(self, word: str) -> tuple[str, ...]:
        return ()


class Answers:
    """A chat model that gives the same lines to every question."""

    def __init__(self, *lines: str, valid: bool = True) -> None:
        self.lines, self.valid, self.asked = list(lines), valid, 0

    def __call__(self, question: str, schema: type[Answer], seed: int) -> Answer | None:
        self.asked += 1
        return schema.model_validate({"lines": self.lines}) if self.valid else None


@pytest.fixture
def db(tmp_path: Path) -> Iterator[PromptDB]:
    with PromptDB.open(tmp_path / "limner.db") as opened:
        yield opened


def test_lines_are_parsed_and_phrases_kept() -> None:
    assert parse(["1. Dog -> hound, Domestic Dog, dog,, hound", "- big → large"], "A big dog") == {
        "dog": ("hound", "domestic dog"),
        "big": ("large",),
    }


@pytest.mark.parametrize(
    "line", ["", "->", "dog", "dog ->", "cat -> feline", "dog -> <b>x</b>", "dog -> a word that explains itself at length"]
)
def test_lines_of_another_form_are_dropped(line: str) -> None:
    assert parse([line], "a dog") == {}


def test_at_most_five_words_are_taken() -> None:
    assert len(parse(["dog -> a b, c, d, e, f, g, h"], "dog")["dog"]) == 5


def test_what_was_asked_once_is_not_asked_again(db: PromptDB) -> None:
    ask = Answers("dog -> hound, canine")
    first = ask_lexicon("a dog", ask, "model", db, NoWords())
    asked = ask.asked
    again = ask_lexicon("a dog", ask, "model", db, NoWords())
    assert ask.asked == asked == 2  # synonyms and antonyms
    assert again.synonyms("Dog") == first.synonyms("dog") == ("hound", "canine")


@pytest.mark.parametrize(("ask", "questions"), [(Answers("I cannot help with that."), QUESTIONS), (Answers(valid=False), 1)])
def test_garbage_falls_back_to_the_file_after_a_bounded_number_of_questions(ask: Answers, questions: int, db: PromptDB) -> None:
    """No valid answer at all ends the questions at once: `ask` has repeated it already."""
    found = ask_lexicon("a dog", ask, "model", db, NoWords())
    assert found.synonyms("dog") == ("from the file",)
    assert (found.failed, ask.asked) == (2, 2 * questions)


def test_thin_answers_are_asked_again_and_the_fullest_taken(db: PromptDB) -> None:
    ask = Answers("dog -> hound")
    assert ask_lexicon("a dog", ask, "model", db, NoWords()).synonyms("dog") == ("hound",)
    assert ask.asked == 2 * QUESTIONS


def test_long_prompts_are_asked_in_chunks(db: PromptDB) -> None:
    ask = Answers("dog -> hound, canine")
    ask_lexicon("dog " * 250, ask, "model", db, NoWords())
    assert ask.asked == 4  # two equal chunks share an answer, the shorter third has its own; both kinds


def test_an_empty_prompt_asks_nothing(db: PromptDB) -> None:
    ask = Answers()
    ask_lexicon("", ask, "model", db, NoWords())
    assert ask.asked == 0
