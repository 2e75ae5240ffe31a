"""The database: adding twice changes nothing, and what was added comes back exactly."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from limner.promptdb.errors import BadInput
from limner.promptdb.records import (
    AdapterSetting,
    Candidate,
    Conditioning,
    Drawing,
    EffectSpan,
    Prompt,
    SamplerSettings,
    Score,
    Vote,
)
from limner.promptdb.store import PromptDB, StoredDrawing

IMAGE, OTHER_IMAGE = "a" * 24, "b" * 24


@pytest.fixture
def db():
    with PromptDB.open(":memory:") as opened:
        yield opened


def drawing(text: str = "a cat", seed: int = 0) -> Drawing:
    return Drawing(Conditioning(text), seed, SamplerSettings(), "weights")


def test_a_prompt_is_added_once_whatever_its_case_and_spacing_and_the_first_stays(db: PromptDB) -> None:
    assert db.add_prompts([Prompt("A cat"), Prompt("a  CAT"), Prompt("a dog")]) == (2, 1)
    assert db.add_prompts(iter([Prompt("a dog", source="other"), Prompt("a bird")])) == (1, 1)
    assert [prompt.text for prompt in db.prompts()] == ["A cat", "a dog", "a bird"]
    assert db.count_prompts() == 3


def test_a_prompt_comes_back_with_every_field(db: PromptDB) -> None:
    prompt = Prompt("a cat, oil on canvas", source="lexica", subject="a cat", negative="blurry", nsfw=0.25)
    db.add_prompts([prompt, Prompt("a dog")])
    assert db.prompt(prompt.id) == prompt
    assert db.prompt("f" * 24) is None
    assert list(db.prompts(source="lexica")) == [prompt]


def test_prompts_are_read_page_by_page_in_order_and_do_not_hold_up_a_writer(db: PromptDB) -> None:
    texts = [f"prompt number {number}" for number in range(2500)]
    assert db.add_prompts(Prompt(text) for text in texts) == (2500, 0)
    reading = db.prompts()
    assert next(reading).text == texts[0]
    db.add_prompts([Prompt("one more")])
    assert [prompt.text for prompt in reading] == [*texts[1:], "one more"]


def test_a_reference_text_is_known_by_its_id_and_is_no_prompt_of_the_library(db: PromptDB) -> None:
    id = db.register_text("A red  cat ")
    assert id == db.register_text("a RED cat") == Prompt("a red cat").id
    assert db.text(id) == "A red  cat"
    assert db.text("f" * 24) is None
    assert db.count_prompts() == 0


def test_a_drawing_comes_back_equal_with_its_circumstances(db: PromptDB) -> None:
    conditioning = Conditioning(
        "a réd cat\nat night",
        "blurry \x00 \u202e",
        spans=(EffectSpan(2, 5, Fraction(1, 3), Fraction(29, 100) + Fraction(1, 3), Fraction(3, 2)),),
        weight_mode="none",
        range_unit="sigma",
        adapter=AdapterSetting("hash", eta=(0.1, 0.9), scale=0.5),
    )
    one = Drawing(conditioning, 2**63 - 1, SamplerSettings("EulerDiscreteScheduler", 30, 5.5, 512, 768, "float16"), "weights")
    db.add_drawing(one, IMAGE, 8, "cuda:0 H200")
    stored = db.stored_drawing(one.id)
    assert stored == StoredDrawing(one, IMAGE, 8, "cuda:0 H200")
    assert stored.drawing.id == one.id
    assert db.stored_drawing("f" * 24) is None


def test_adding_a_drawing_again_changes_nothing(db: PromptDB) -> None:
    db.add_drawing(drawing(), IMAGE, 8, "cpu")
    db.add_drawing(drawing(), OTHER_IMAGE, 1, "cuda")
    assert db.stored_drawing(drawing().id) == StoredDrawing(drawing(), IMAGE, 8, "cpu")
    assert db.stats()["drawing"] == 1


def test_a_dropped_drawing_is_known_to_have_no_image(db: PromptDB) -> None:
    db.add_drawing(drawing(), None, 8, "cpu")
    assert db.stored_drawing(drawing().id) == StoredDrawing(drawing(), None, 8, "cpu")


def test_scores_leave_with_the_image_they_judged_and_stay_with_an_equal_one(db: PromptDB) -> None:
    db.add_drawing(drawing(), IMAGE, 8, "cpu")
    db.add_scores([Score(drawing().id, "r", "clip", "1", 0.5)])
    db.replace_image(drawing(), IMAGE, 4, "cpu")
    assert len(db.scores_of(drawing().id)) == 1
    db.replace_image(drawing(), OTHER_IMAGE, 4, "cpu")
    assert db.scores_of(drawing().id) == []
    assert db.stored_drawing(drawing().id) == StoredDrawing(drawing(), OTHER_IMAGE, 4, "cpu")


def test_any_number_of_drawings_and_scores_is_looked_up_at_once(db: PromptDB) -> None:
    drawings = [drawing(seed=seed) for seed in range(1200)]
    with db.transaction():
        for one in drawings:
            db.add_drawing(one, IMAGE, 8, "cpu")
    db.add_scores(Score(one.id, "r", "clip", "1", float(one.seed)) for one in drawings)
    ids = [*(one.id for one in drawings), *(f"{number:024x}" for number in range(40_000))]
    assert {id: stored.drawing.seed for id, stored in db.stored_drawings(ids).items()} == {one.id: one.seed for one in drawings}
    assert db.scores(ids, "r", "clip", "1") == {one.id: float(one.seed) for one in drawings}


def test_a_score_is_kept_for_each_reference_scorer_and_version(db: PromptDB) -> None:
    scores = [Score("d", reference, scorer, version, 0.5) for reference in "rs" for scorer in ("clip", "hps") for version in "12"]
    db.add_scores(scores)
    db.add_scores([Score("d", "r", "clip", "1", 0.9)])
    assert db.scores_of("d") == scores
    assert db.scores(["d", "e"], "r", "clip", "1") == {"d": 0.5}
    assert db.scores(["d"], "r", "clip", "3") == {}
    assert db.scores([], "r", "clip", "1") == {}


def test_a_numpy_score_comes_back_as_the_same_number(db: PromptDB) -> None:
    db.add_scores([Score("d", "r", "clip", "1", np.float32(0.3))])  # type: ignore[arg-type]
    assert db.scores(["d"], "r", "clip", "1") == {"d": float(np.float32(0.3))}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_refused_with_all_that_came_with_it(db: PromptDB, value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        db.add_scores([Score("d", "r", "clip", "1", 1.0), Score("e", "r", "clip", "1", value)])
    assert db.stats()["score"] == 0


def test_the_best_come_first_compared_to_four_decimals_with_ties_by_id(db: PromptDB) -> None:
    drawings = sorted((drawing(seed=seed) for seed in range(4)), key=lambda one: one.id)
    values = [0.30001, 0.30004, 0.9, 0.1]
    for one, value in zip(drawings, values, strict=True):
        db.add_drawing(one, IMAGE, 8, "cpu")
        db.add_scores([Score(one.id, "r", "clip", "1", value), Score(one.id, "other", "clip", "1", -value)])
    assert db.best("r", "clip", "1", 3) == [(drawings[2], 0.9), (drawings[0], 0.30001), (drawings[1], 0.30004)]
    assert db.best("r", "clip", "1", 1, higher_is_better=False) == [(drawings[3], 0.1)]


def test_lineage_leads_from_the_root_to_the_candidate_within_one_run(db: PromptDB) -> None:
    root, child, grandchild, stranger = (Conditioning(text) for text in ("root", "child", "grandchild", "stranger"))
    proposed = [
        Candidate("run", root, "user"),
        Candidate("run", child, "rewrite", root.id, "more vivid"),
        Candidate("run", stranger, "rewrite", root.id),
        Candidate("run", grandchild, "dpo-diff", child.id),
    ]
    for candidate in proposed:
        db.add_candidate(candidate)
    db.add_candidate(Candidate("run", grandchild, "again", stranger.id))
    db.add_candidate(Candidate("other", grandchild, "user"))
    assert db.candidates("run") == proposed
    assert db.lineage("run", grandchild.id) == [proposed[0], proposed[1], proposed[3]]
    assert db.lineage("other", grandchild.id) == [Candidate("other", grandchild, "user")]
    assert db.lineage("run", "f" * 24) == []


def test_lineage_ends_where_two_candidates_name_each_other(db: PromptDB) -> None:
    one, two = Conditioning("one"), Conditioning("two")
    db.add_candidate(Candidate("run", one, "x", two.id))
    db.add_candidate(Candidate("run", two, "x", one.id))
    assert [candidate.conditioning for candidate in db.lineage("run", one.id)] == [two, one]


def test_a_voter_has_one_vote_on_a_pair_and_the_last_one_counts(db: PromptDB) -> None:
    db.add_vote(Vote("r", "x", "y", "x", "ann"))
    db.add_vote(Vote("r", "x", "y", None, "ann"))
    db.add_vote(Vote("r", "x", "y", "y", "bob"))
    db.add_vote(Vote("s", "x", "y", "y", "bob"))
    assert db.votes("r") == [Vote("r", "x", "y", None, "ann"), Vote("r", "x", "y", "y", "bob")]
    assert len(db.votes()) == 3
    with pytest.raises(BadInput, match="winner"):
        db.add_vote(Vote("r", "x", "y", "z"))


def test_an_answer_is_stored_once(db: PromptDB) -> None:
    assert db.stored_answer("key") is None
    db.add_answer("key", "model", '{"a": 1}')
    db.add_answer("key", "model", '{"a": 2}')
    assert db.stored_answer("key") == '{"a": 1}'


def test_stats_count_every_table_and_the_size(db: PromptDB) -> None:
    db.add_drawing(drawing(), IMAGE, 8, "cpu")
    stats = db.stats()
    assert {table for table, count in stats.items() if count == 1 and table != "schema"} == {"conditioning", "drawing", "image"}
    assert {"prompt", "score", "instruction", "run", "candidate", "vote", "answer"} <= stats.keys()
    assert stats["bytes"] > 4096


def test_a_failed_transaction_leaves_nothing_and_a_failed_inner_one_only_what_was_outside(db: PromptDB) -> None:
    with pytest.raises(RuntimeError), db.transaction():
        db.add_prompts([Prompt("lost")])
        raise RuntimeError
    with db.transaction():
        db.add_prompts([Prompt("kept")])
        with pytest.raises(RuntimeError), db.transaction():
            db.add_prompts([Prompt("lost too")])
            raise RuntimeError
    assert [prompt.text for prompt in db.prompts()] == ["kept"]


def test_many_threads_write_and_read_one_database(tmp_path: Path) -> None:
    with PromptDB.open(tmp_path / "limner.db") as db, ThreadPoolExecutor(8) as pool:

        def work(thread: int) -> int:
            for number in range(30):
                one = drawing(f"thread {thread}", number)
                db.add_drawing(one, IMAGE, 8, "cpu")
                db.add_scores([Score(one.id, "r", "clip", "1", number)])
                db.add_prompts([Prompt(f"shared {number}"), Prompt(f"own {thread} {number}")])
                assert db.stored_drawing(one.id) is not None
            return sum(1 for _ in db.prompts())

        assert all(seen >= 60 for seen in pool.map(work, range(8)))
        assert db.count_prompts() == 30 + 8 * 30
        assert db.stats()["drawing"] == db.stats()["score"] == 8 * 30


def test_text_that_is_not_unicode_is_refused_in_one_line_and_nothing_is_kept(db: PromptDB) -> None:
    with pytest.raises(BadInput, match="not valid Unicode") as refusal:
        db.add_prompts([Prompt("fine"), Prompt("broken \udcff")])
    assert "\n" not in str(refusal.value)
    assert db.count_prompts() == 0


def test_a_seed_over_63_bits_is_refused(db: PromptDB) -> None:
    with pytest.raises(BadInput, match="seed"):
        db.add_drawing(drawing(seed=2**64), IMAGE, 1, "cpu")


def test_a_ten_megabyte_text_is_kept(db: PromptDB) -> None:
    long = "word " * 2_000_000
    db.add_prompts([Prompt(long)])
    assert next(db.prompts()).text == long.strip()
