"""Exemplars: near, well scored, of different things; and scores of runs that flow back."""

from __future__ import annotations

import pytest

from limner.promptdb.records import Prompt
from limner.promptdb.search.exemplars import exemplars
from limner.promptdb.search.filters import Filters
from limner.promptdb.search.merit import SOURCE, Gain, effect, merits, take_up
from limner.promptdb.search.search import keyword
from limner.promptdb.store import PromptDB


def form(subject: str, added: str, **more: float) -> Prompt:
    return Prompt(f"{subject}, {added}", "test", subject, **more)


LIBRARY = [
    form(f"a {colour} {thing}", "oil painting") for thing in ("castle", "tower", "boat") for colour in ("red", "blue", "green", "old")
]


@pytest.fixture
def db():
    with PromptDB.open(":memory:") as opened:
        opened.add_prompts(LIBRARY)
        yield opened


def described(db: PromptDB, prompt: str, count: int) -> list[str]:
    return [item.description for item in exemplars(db, prompt, count)]


def test_the_nearest_comes_first(db: PromptDB) -> None:
    assert described(db, "a blue tower", 3)[0] == "a blue tower"


def test_a_prompt_that_runs_found_good_comes_before_its_equals_and_one_found_bad_not_at_all(db: PromptDB) -> None:
    prompt = "castle"
    before = described(db, prompt, 4)
    worst = next(item for item in LIBRARY if item.subject == before[-1])
    take_up(db, "run-1", "hps", [Gain(worst.id, "shown", 2.0)])
    assert described(db, prompt, 4)[0] == before[-1]
    first = next(item for item in LIBRARY if item.subject == before[0])
    for run in ("run-2", "run-3"):
        take_up(db, run, "hps", [Gain(first.id, "shown", -1.0)])
    assert before[0] not in described(db, prompt, 12)


def test_exemplars_are_of_different_things(db: PromptDB) -> None:
    db.add_prompts(form(f"a castle on hill {number}", "oil painting") for number in range(20))
    found = described(db, "a castle on a hill, a tower, a boat", 3)
    assert len({word for text in found for word in ("castle", "tower", "boat") if word in text}) >= 2


def test_unsafe_and_over_long_prompts_teach_nothing(db: PromptDB) -> None:
    db.add_prompts([form("a zebra", "blood", nsfw=0.9), form("a zebra at night", " ".join(f"word{number}" for number in range(90)))])
    assert not any("zebra" in text for text in described(db, "a zebra", 20))


def test_what_an_earlier_run_made_of_the_same_prompt_is_no_exemplar_for_it_but_for_others(db: PromptDB) -> None:
    take_up(db, "run-1", "hps", [], Prompt("a red zebra, glossy, 8k", SOURCE, "a red zebra"))
    assert "a red zebra" not in described(db, "A red  zebra", 5)
    assert described(db, "a red zebra foal", 1) == ["a red zebra"]


def test_a_run_taken_up_twice_counts_once_and_several_are_averaged(db: PromptDB) -> None:
    gain = Gain(LIBRARY[0].id, "drawn", 1.0)
    for _ in range(2):
        assert take_up(db, "run-1", "hps", [gain, Gain("f" * 24, "shown", 1.0)]) == 1
    take_up(db, "run-2", "clip", [Gain(LIBRARY[0].id, "drawn", 0.0)])
    assert merits(db, [LIBRARY[0].id, LIBRARY[1].id]) == {LIBRARY[0].id: (0.5, 2)}
    assert [hit.prompt for hit in keyword(db, "castle", filters=Filters(min_score=0.4))] == [LIBRARY[0]]


def test_a_gain_is_measured_in_its_own_spread_and_positive_when_better() -> None:
    assert effect(0.2, [0.2 - 0.98, 0.2 + 0.98], 4, True) == pytest.approx(0.2)
    assert effect(0.2, [0.2 - 0.98, 0.2 + 0.98], 4, False) == pytest.approx(-0.2)
    assert effect(1.0, [0.999, 1.001], 100, True) == 5.0
    for nothing in ((0.2, None, 4), (0.2, [0.2, 0.2], 4), (0.2, [0.1, 0.3], 1), (float("nan"), [0.1, 0.3], 4)):
        assert effect(*nothing, higher_is_better=True) is None


def test_prompts_that_show_little_manner_are_taken_only_where_too_few_show_more(db: PromptDB) -> None:
    rich = [form(f"a zebra on hill {number}", "oil painting, soft light, highly detailed") for number in range(2)]
    db.add_prompts([*rich, form("a zebra", "by the river, Africa"), form("a zebra in a field", "grass, Africa")])
    assert {item.prompt.id for item in exemplars(db, "a zebra", 2)} == {item.id for item in rich}
    assert len(exemplars(db, "a zebra", 4)) == 4
