"""Who comes first: hits by words, rankings put together, hits that differ, and which of two rows with the same prompt is kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from limner.promptdb.files.ingest import import_file
from limner.promptdb.records import Prompt
from limner.promptdb.search.fusion import diverse, fused
from limner.promptdb.search.search import keyword
from limner.promptdb.store import PromptDB

OTHERS = [f"a picture of thing {number}" for number in range(20)]
KNIGHTS = [f"a knight of land {number}" for number in range(6)]


@pytest.mark.parametrize(
    ("query", "first", "second"),
    [
        # A word often is worth up to 2.2 times the word once, and a rare one more than a common one; yet all of the words come first.
        ("castle knight", "a knight before the castle on a hill", "castle castle castle castle"),
        ("knight castle", "a knight before the castle on a hill", "castle castle castle castle"),
        ("castle", "castle castle castle castle", "a knight before the castle on a hill"),
        ("castle knight", "castle castle castle castle", "a knight of land 3"),
        ("castle hill knight", "a knight before the castle on a hill", "the moat of a castle"),
        ("castle", "the moat of a castle", "the castle of a great many other words that say nothing of what it is"),
    ],
)
def test_of_two_prompts_the_one_with_more_of_the_query_comes_first(query: str, first: str, second: str) -> None:
    with PromptDB.open(":memory:") as db:
        db.add_prompts(Prompt(text) for text in dict.fromkeys([*OTHERS, *KNIGHTS, second, first]))
        found = [hit.prompt.text for hit in keyword(db, query, 50)]
    assert found.index(first) < found.index(second)


@pytest.mark.parametrize(
    ("rankings", "order"),
    [
        (["abc"], "abc"),
        (["abc", "abc"], "abc"),
        (["abc", "cba"], "acb"),  # 1/60 + 1/62 is more than 2/61
        (["ab", "cb"], "bac"),  # in both, though first in neither
        (["ab", ""], "ab"),
        (["a", "b"], "ab"),
        (["abcd", "dxyz", "dxyz"], "dxyzabc"),
        ([], ""),
    ],
)
def test_rankings_are_fused_by_rank(rankings: Sequence[str], order: str) -> None:
    scores = fused(rankings)
    assert "".join(sorted(scores, key=lambda item: -scores[item])) == order
    for item, score in scores.items():
        assert score == pytest.approx(sum(1 / (60 + ranking.index(item)) for ranking in rankings if item in ranking))


A, B, C = np.eye(3)
NEAR_A = np.array([0.8, 0.6, 0.0])


@pytest.mark.parametrize(
    ("rows", "relevance", "count", "share", "order"),
    [
        ([A, A, B, C], [1.0, 0.9, 0.5, 0.0], 4, 0.7, [0, 2, 1, 3]),  # the same again comes behind the different
        ([A, A, B], [1.0, 0.9, 0.0], 3, 0.7, [0, 1, 2]),  # but not behind the irrelevant
        ([A, NEAR_A, B, C], [1.0, 0.9, 0.5, 0.0], 4, 0.7, [0, 1, 2, 3]),  # 0.63 - 0.24 beats 0.35
        ([A, NEAR_A, B, C], [1.0, 0.8, 0.6, 0.0], 4, 0.7, [0, 2, 1, 3]),  # 0.56 - 0.24 does not beat 0.42
        ([A, B, A, C], [1.0, 0.9, 0.6, 0.0], 4, 0.4, [0, 1, 3, 2]),  # likeness to any that was taken, not to the last alone
        ([A, A, B], [1.0, 0.9, 0.5], 3, 1.0, [0, 1, 2]),
        ([A, A, B], [0.5, 1.0, 0.9], 3, 1.0, [1, 2, 0]),
        ([A, A, B], [1.0, 0.9, 0.5], 3, 0.0, [0, 2, 1]),
        ([A, A, B], [3.0, 3.0, 3.0], 3, 0.7, [0, 2, 1]),
        ([A, A, B, C], [0.3, 0.2, 0.15, 0.1], 2, 0.7, [0, 2]),  # relevance is scaled to 1, 0.5, 0.25, 0: 0.35 - 0.3 against 0.175
        ([A, B, C], [0.1, 0.2, 0.3], 2, 0.7, [2, 1]),
        ([A, B], [1.0, 0.0], 9, 0.7, [0, 1]),
        ([A, B], [1.0, 0.0], 0, 0.7, []),
        ([A], [0.0], 1, 0.7, [0]),
        ([], [], 3, 0.7, []),
    ],
)
def test_each_next_hit_is_the_best_that_is_unlike_those_before(
    rows: list[np.ndarray], relevance: list[float], count: int, share: float, order: list[int]
) -> None:
    assert diverse(np.array(rows).reshape(-1, 3), relevance, count, share) == order


FIRST = {"text": "a cat, oil", "subject": "a cat", "negative": "blurry", "source": "lexica", "nsfw": 0.1}
LAST = {"text": "A  cat, OIL", "subject": "a dog", "negative": "text", "source": "mine", "nsfw": 0.9}


@pytest.mark.parametrize("files", [[[FIRST, LAST]], [[FIRST], [LAST]], [[FIRST, "a bird"], [LAST, FIRST]]])
def test_of_rows_with_the_same_prompt_the_first_is_kept(tmp_path: Path, files: list[list[object]]) -> None:
    with PromptDB.open(":memory:") as db:
        for number, rows in enumerate(files):
            path = tmp_path / f"{number}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            import_file(db, path)
        kept = [prompt for prompt in db.prompts() if prompt.text.startswith("a cat")]
    assert kept == [Prompt("a cat, oil", "lexica", "a cat", "blurry", 0.1)]


def test_a_prompt_added_again_changes_nothing() -> None:
    with PromptDB.open(":memory:") as db:
        for source in ("lexica", "mine"):
            db.add_prompts([Prompt("a cat", source)])
        assert list(db.prompts()) == [Prompt("a cat", "lexica")]


def test_scores_by_words_are_bm25_times_the_share_of_the_query_that_is_held() -> None:
    """k1 = 1.2, b = 0.3, lengths in words, weights ln((N - n + 0.5) / (n + 0.5)), reckoned anew here; for all words, k1 + 1 times their
    weights on top."""
    library = ["red castle", "red red red knight here", "blue castle over the wide sea and far away", *OTHERS]
    with PromptDB.open(":memory:") as db:
        db.add_prompts(Prompt(text) for text in library)
        found = {hit.prompt.text: hit.score for hit in keyword(db, "red castle", 50)}
    lengths = {text: len(text.split()) + 1 for text in library[:3]}  # an empty subject counts as a word
    mean, weight = np.mean(list(lengths.values())), np.log((len(library) - 2 + 0.5) / 2.5)

    def expected(text: str) -> float:
        counts = [text.split().count(word) for word in ("red", "castle")]
        norm = 1.2 * (0.7 + 0.3 * lengths[text] / mean)
        whole = 2 * weight * 2.2 if all(counts) else 0
        return whole + sum(count > 0 for count in counts) / 2 * sum(weight * count * 2.2 / (count + norm) for count in counts)

    assert found == pytest.approx({text: expected(text) for text in library[:3]})
    assert list(found) == sorted(found, key=lambda text: -found[text])
