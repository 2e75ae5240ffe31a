"""What an optimization tried is kept once, whatever runs again after a kill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from limner.promptdb.records import Conditioning, Instruction
from limner.promptdb.store import PromptDB
from limner.promptdb.trials import Arm, Standing, Trial, Trials


@pytest.fixture
def db(tmp_path: Path) -> Iterator[PromptDB]:
    with PromptDB.open(tmp_path / "limner.db") as db:
        yield db


def trial(iteration: int, arm: str, seed: int, value: float | None = 0.5) -> Trial:
    return Trial(iteration, arm, "a cat", seed, Conditioning(f"a cat, {arm}", "blurry"), value, 0.25)


def test_arms_come_back_in_the_order_they_were_made_with_their_first_parent(db: PromptDB) -> None:
    trials = Trials(db, "run")
    first, child = Arm(Instruction("write well"), -1), Arm(Instruction("write sharply", "p", "blur hurts"), 0)
    trials.add_arms([first, child])
    trials.add_arms([Arm(Instruction("write sharply", "q", "another reason"), 3)])
    assert trials.arms() == [first, child]
    assert Trials(db, "another run").arms() == []


def test_trials_are_found_by_arm_and_iteration_and_kept_once(db: PromptDB) -> None:
    trials = Trials(db, "run")
    rows = [trial(0, "a", 1), trial(0, "b", 1, None), trial(1, "a", 1), trial(1, "a", 2)]
    for _ in range(2):
        trials.add_trials(rows)
    assert trials.trials() == rows
    assert trials.trials("a") == [rows[0], rows[2], rows[3]]
    assert trials.trials(iteration=0) == rows[:2]
    assert trials.trials("a", 0) == rows[:1]


def test_a_repeated_standing_replaces_the_first(db: PromptDB) -> None:
    trials = Trials(db, "run")
    trials.add_standings([Standing(0, "a", 0.1, 2, 0.5, "born"), Standing(0, "b", None, 0, 0.7, "kept")])
    trials.add_standings([Standing(0, "a", 0.2, 4, 0.9, "kept")])
    assert trials.standings() == [Standing(0, "a", 0.2, 4, 0.9, "kept"), Standing(0, "b", None, 0, 0.7, "kept")]
